"""A real third-party package, built as a wheel and installed: its method, metric, dataset and suite, end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import guides

PACKAGE = Path(__file__).parent / "plugin_pkg"
BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"  # PEP 517, no network


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the wheel is unpacked in, which is how a wheel without scripts and compiled code is installed."""
    root = tmp_path_factory.mktemp("plugin_pkg")
    shutil.copytree(PACKAGE, root / "source")
    words = [sys.executable, "-c", BUILD, str(root)]
    built = subprocess.run(words, cwd=root / "source", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(root / built.stdout.split()[-1]) as wheel:
        wheel.extractall(root / "site")
    return root / "site"


def mutoscope(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process whose environment has the package."""
    env = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [sys.executable, "-m", "harness.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=PACKAGE.parents[1])


def test_the_wheel_holds_what_was_written(installed: Path) -> None:
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {"flipbook/pairs.py", "flipbook/suite.yaml", "flipbook_plugins-0.3.0.dist-info/entry_points.txt"} <= files


def test_its_plugins_are_listed_with_their_package(installed: Path) -> None:
    done = mutoscope(installed, "list")
    assert done.returncode == 0, done.stderr
    for name, about in {
        "flipbook-pairs": "Fine-tuning that minds every second frame less.",
        "flipbook/return": "1 - mean |last frame - first frame| / 255: 1 for a clip that comes back.",
        "flipbook-squares": "One square a clip, moving to the right; a clip is a pure function of its number.",
    }.items():
        assert any(line.split() == [name, *about.split(), "[flipbook-plugins]"] for line in done.stdout.splitlines())


def test_its_suite_runs_and_its_rows_stand_on_the_board(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a toy backbone, to be quick; the board is read here, where the package is not installed."""
    shared = ["--runs", str(tmp_path), "--workers", "1", "--no-publish"]
    toy = ["--plugin", "tests.toy_plugins", "--set", "backbone.name=toy"]
    done = mutoscope(installed, "run", installed / "flipbook" / "suite.yaml", *shared, *toy)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = {cell.parent.parent.name.split("@")[0]: cell.parent for cell in tmp_path.glob("flipbook@*/*/seed0/DONE")}
    assert set(cells) == {"flipbook-pairs", "pairs-for-all"}
    code, board, _ = guides.call(["board", "--runs", str(tmp_path), "--markdown"], monkeypatch, capsys)
    assert code == 0
    for row, weight in {"flipbook-pairs": 0.8, "pairs-for-all": 0.6}.items():  # three of five frames weigh 1
        steps = [json.loads(line) for line in (cells[row] / "train/metrics.jsonl").read_text().splitlines()]
        assert [step["weight"] for step in steps] == [pytest.approx(weight)] * 2
        (scores,) = (cells[row] / "scores" / "flipbook").glob("return@*.jsonl")
        values = [json.loads(line)["value"] for line in scores.read_text().splitlines()]
        assert len(values) == 4
        assert all(0.5 < value < 1 for value in values)
        assert f"| {row} | {sum(values) / 4:.3f}" in board
