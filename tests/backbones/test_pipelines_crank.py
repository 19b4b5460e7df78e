"""The variance-preserving backbones go through all three stages, by the code that takes the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import config, suite
from harness.executors import InProcess
from harness.plan import make_plan
from harness.store import RunDir, read_json
from tests.backbones.pipeline_folders import tiny_cogvideox, tiny_unet


@pytest.mark.parametrize(("name", "make"), [("cogvideox", tiny_cogvideox), ("unet3d", tiny_unet)])
def test_three_stages(name: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    protocol: dict[str, Any] = {
        "name": "tiny",
        "backbone": {"name": name, "path": str(make(tmp_path / "tiny"))},
        "clip": {"frames": 9, "height": 32, "width": 32, "fps": 8},
        "dataset": {"name": "shapes", "preset": "set-a", "size": 4},
        "train": {"steps": 2, "batch": 2},
        "generate": {"steps": 2, "guidance": 6.0, "batch": 2},
        "prompts": {"dataset": {"name": "shapes", "split": "heldout", "size": 2}},
        "metrics": ["flow/magnitude"],
        "methods": {"base": {}, "tqd": {"time_law": {"k_base": 2, "k_max": 20}}, "dmd": {"times": [1.0, 0.5]}},
    }
    plan = make_plan(config.validate(suite.Suite, protocol, ""), tmp_path / "runs")
    outcomes = InProcess().run(plan, "cpu", lambda *_: None)
    assert [outcome.problems for outcome in outcomes] == [(), (), ()]
    digests, evaluations = set(), []
    for cell in plan.cells:
        run = RunDir(cell.path)
        assert run.done
        (sampled,) = [row for row in run.timings() if row["stage"] == "generate"]
        evaluations.append(sampled["nfe"])
        digests.add(tuple(row["sha256"] for row in run.clips()))
        if cell.trains:
            assert read_json(run / "checkpoint" / "weights.json")["steps"] == 2
    assert evaluations == [4, 4, 2]  # two steps with guidance; two steps without
    assert len(digests) == 3  # training changed the network, and not to the same thing
