"""Results go by name, version and options; code that changed under them is said, and never mixed in."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.plugin_files import source_digest
from methods.supervised import SupervisedUniform
from tests import guides, toy_plugins
from tests.guides import working_folder  # noqa: F401  the fixture "folder"
from tests.toy_plugins import toy_suite

CODE = '''
from harness.api import Metric, register_method, register_metric
from methods.supervised import SupervisedUniform

@register_method
class Mine(SupervisedUniform):
    """Mine."""
    name = "mine"

    def loss(self, role, batch, step):
        loss, logs = super().loss(role, batch, step)
        return FACTOR * loss, {"factor": FACTOR}

@register_metric
class First(Metric):
    """The first pixel."""
    name = "my/first"

    def score(self, clip, features):
        return float(features.frames[0, 0, 0, 0]) / 255
'''


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a toy suite with the plugin as it is now, as a new process would: what was printed."""

    def call(factor: float, *words: str, another: bool = False) -> str:
        guides.forget(folder)
        (folder / "mine.py").write_text(CODE.replace("FACTOR", str(factor)))
        rows = {"base": {}, "mine": {}}
        metrics = ["my/first"] if not another else ["my/first", "toy/brightness"]
        suite = toy_suite(methods=rows, metrics=metrics, train={"steps": 2, "batch": 2, "snapshot_every": 1})
        Path("toy.yaml").write_text(yaml.safe_dump(suite))
        plugins = ["--plugin", "tests.toy_plugins", "--plugin", "mine.py"]
        code, out, err = guides.call(["run", "toy.yaml", *plugins, *words], monkeypatch, capsys)
        assert code == 0, out + err
        return out

    return call


def factors(folder: Path) -> dict[str, list[float]]:
    """What the loss was multiplied with, by suite folder."""
    logs = sorted((folder / "runs").glob("toy@*/mine@*/seed0/train/metrics.jsonl"))
    return {log.parents[3].name: [json.loads(line)["factor"] for line in log.read_text().splitlines()] for log in logs}


def test_code_that_changed_under_its_results_is_said(run: Any, folder: Path) -> None:
    assert "has changed" not in run(1.0)
    assert "has changed" not in run(1.0)  # nothing to do, nothing to say
    out = run(2.0)
    assert (
        "note: the code of method mine and metric my/first has changed since the results of mine seed 0: raise its "
        "version, or make them again with --fresh" in out
    )
    assert "note: the code of metric my/first has changed since the results of base seed 0" in out
    assert list(factors(folder).values()) == [[1.0, 1.0]]
    assert "has changed" not in run(2.0, "--fresh")
    assert list(factors(folder).values()) == [[2.0, 2.0]]


def test_another_suite_takes_over_the_training_of_the_same_code_only(run: Any, folder: Path) -> None:
    run(1.0)
    run(2.0, another=True)
    assert sorted(factors(folder).values()) == [[1.0, 1.0], [2.0, 2.0]]


def test_what_is_hashed() -> None:
    code = Path(toy_plugins.__file__).read_bytes()
    assert source_digest(toy_plugins.Brightness) == sha256(code).hexdigest()  # what it derives from is ours
    assert source_digest(toy_plugins.TwoRoles) == sha256(code).hexdigest()
    assert source_digest(SupervisedUniform) == ""
