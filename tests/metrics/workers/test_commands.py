"""`mutoscope workers` and its part of `mutoscope doctor`, on a toy environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.commands.workers import build_worker, findings, list_workers, remove_worker
from harness.errors import UserError
from metrics.workers import known
from metrics.workers.environment import find_uv

YAML = """about: nothing much
python: "{}.{}"
requirements: requirements.txt
smoke: import json
extras: {{more: {{about: more of it, requirements: requirements.txt, smoke: import re}}}}
"""


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "metrics" / "toy" / "official_env"
    folder.mkdir(parents=True)
    (folder / "environment.yaml").write_text(YAML.format(*sys.version_info[:2]))
    (folder / "requirements.txt").touch()
    monkeypatch.setattr(known, "_METRICS", tmp_path / "metrics")
    for name, value in {
        "MUTOSCOPE_CACHE": str(tmp_path / "cache"),
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        find_uv()
    except UserError:
        pytest.skip("uv is not installed")


def test_from_missing_to_ready_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = "not built, needed for official engines only (mutoscope workers build toy"
    assert list(findings()) == [
        (None, f"worker toy: {missing})"),
        (None, f"worker toy more: {missing} more)"),
    ]
    assert list_workers() == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["toy", "missing"],
        ["toy", "more"],
    ]

    assert build_worker("toy", ["more"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("$ ") for line in said) == 5  # environment, two installations, two trials
    (folder,) = (path for path in (tmp_path / "cache" / "workers").iterdir() if path.is_dir())
    assert said[-1] == f"toy + more is ready in {folder}"
    assert list(findings()) == [(True, "worker toy: ready"), (True, "worker toy more: ready")]
    assert list_workers() == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"toy: {folder / 'env' / 'bin' / 'python'}"

    (folder / "ready.json").unlink()
    assert next(findings()) == (False, "worker toy: broken (mutoscope workers build toy)")

    assert remove_worker("toy") == 0
    assert remove_worker("toy") == 0
    assert capsys.readouterr().out.splitlines() == ["toy: 1 environment removed", "toy: no environments removed"]
    assert not folder.exists()


def test_an_unknown_name_is_refused() -> None:
    for command in (build_worker, remove_worker):
        with pytest.raises(UserError, match='no worker environment is called "tou"\ndid you mean "toy"'):
            command("tou")
