"""The two-time-scale family on the real crank: counts, a resume in the middle to the same bytes, cache in the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import tests.methods.matching  # noqa: F401  registers the family
from harness import config, suite
from harness.executors import InProcess
from harness.plan import Plan, make_plan
from harness.store import RunDir, read_json
from tests.test_crank import PLUGINS, contents
from tests.toy_plugins import toy_suite

ROWS: dict[str, dict[str, Any]] = {
    "dmd": {"ratio": 3, "times": [1.0, 0.6]},
    "avd": {"ratio": 3, "times": [1.0, 0.6], "extra_losses": {"temporal": {"teacher_steps": 4}}},
}


def plan(root: Path, *rows: str) -> Plan:
    changes = {"methods": ROWS, "train": {"steps": 10, "batch": 4, "accumulate": 2, "snapshot_every": 2}}
    chosen = config.validate(suite.Suite, toy_suite(**changes), "")
    return make_plan(chosen, root, methods=rows, plugins=PLUGINS)


def execute(todo: Plan, tell: Any = lambda *_: None) -> list[str]:
    return [problem for outcome in InProcess().run(todo, "cpu", tell) for problem in outcome.problems]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    root = tmp_path_factory.mktemp("calm")
    assert execute(plan(root)) == []
    return root


def test_every_turn_is_taken_and_both_networks_are_saved(calm: Path) -> None:
    for cell in plan(calm).cells:
        log = RunDir(cell.path).train_log()
        assert [row["step"] for row in log if row["role"] == "student"] == [0, 3, 6, 9]
        assert [row["step"] for row in log if row["role"] == "fake"] == list(range(10))
        assert not any("skipped" in row for row in log)
        assert sorted(read_json(cell.path / "checkpoint" / "weights.json")["files"]) == [
            "fake.safetensors",
            "student.safetensors",
        ]
        (row,) = [row for row in RunDir(cell.path).timings() if row["stage"] == "generate"]
        assert (row["items"], row["nfe"]) == (5, 2)  # two evaluations a clip, no guidance


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(calm: Path, tmp_path: Path) -> None:
    """Cells are killed after step 5, between a snapshot and the next, and between two student turns."""
    for cell in plan(tmp_path).cells:

        def kill(number: int, stage: str, done: int, of: int) -> None:
            if stage == "train" and done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            execute(plan(tmp_path, cell.row), kill)
        with safe_open(cell.path / "checkpoint" / "resume.safetensors", framework="pt") as file:
            assert file.metadata()["step"] == "4"
            names = set(file.keys())
            assert {name.split("/")[1] for name in names if name.startswith("opt/")} == {"student", "fake"}
            if cell.row == "avd":
                cache = file.get_tensor("method/adaptive_regression/cache").tolist()
                visited = [value for value in cache if not math.isnan(value)]
                assert visited
                assert all(0.01 < value < 100 for value in visited)
                assert file.get_tensor("method/temporal/teacher_variance").item() > 0
        assert execute(plan(tmp_path, cell.row)) == []
    assert execute(plan(tmp_path)) == []
    assert contents(tmp_path) == contents(calm)
