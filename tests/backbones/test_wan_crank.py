"""A WanPipeline folder in the real layout goes through all three stages, by the code that takes the real one."""

from __future__ import annotations

from pathlib import Path

from harness import config, suite
from harness.executors import InProcess
from harness.plan import make_plan
from harness.store import RunDir, read_json
from tests.backbones.wan_folders import tiny_wan


def test_three_stages_on_a_tiny_wan(tmp_path: Path) -> None:
    folder = tiny_wan(tmp_path / "tiny")
    protocol = {
        "name": "tiny-wan",
        "backbone": {"name": "wan", "path": str(folder), "max_sequence_length": 32},
        "clip": {"frames": 9, "height": 32, "width": 32, "fps": 8},
        "dataset": {"name": "shapes", "preset": "set-a", "size": 6},
        "train": {"steps": 2, "batch": 2},
        "generate": {"steps": 2, "guidance": 5.0, "shift": 5.0, "batch": 2},
        "prompts": {"dataset": {"name": "shapes", "split": "heldout", "size": 2}},
        "metrics": ["flow/magnitude", "vbench/temporal_flickering"],
        "methods": {"base": {}, "tqd": {}, "ltd": {}},
    }
    plan = make_plan(config.validate(suite.Suite, protocol, ""), tmp_path / "runs")
    outcomes = InProcess().run(plan, "cpu", lambda *_: None)
    assert [outcome.problems for outcome in outcomes] == [(), (), ()]
    digests = set()
    for cell in plan.cells:
        run = RunDir(cell.path)
        assert run.done
        assert [len(rows) for rows in run.scores().values()] == [2, 2]
        (sampled,) = [row for row in run.timings() if row["stage"] == "generate"]
        assert (sampled["nfe"], sampled["frame_nfe"]) == (4, 4 * 3)  # 2 steps with guidance, 9 frames are 3 latent ones
        digests.add(tuple(row["sha256"] for row in run.clips()))
        if cell.trains:
            assert read_json(run / "checkpoint" / "weights.json")["steps"] == 2
    assert len(digests) == 3  # training changed the network, and not to the same thing
