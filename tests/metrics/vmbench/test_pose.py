"""OIS by the official script on seeded networks (`transcript_pose.json`, made by record_pose.py)."""

from __future__ import annotations

import json
from pathlib import Path

from harness.api import Score
from metrics.vmbench.metrics import ObjectIntegrity, VMBenchOptions

HEAD, *EXCHANGES = json.loads(Path(__file__).with_name("transcript_pose.json").read_text(encoding="utf-8"))


def test_integrity_of_recorded_answers() -> None:
    """A still picture keeps all limbs and joints, unlike ones none; a single frame has nothing to compare."""
    metric = ObjectIntegrity(VMBenchOptions())
    assert {each["clip"]: metric.read(each["answer"]) for each in EXCHANGES if "answer" in each} == {
        "still": Score(1.0, {"frames": 4}),
        "brightening": Score(0.125, {"frames": 4}),
        "changing": Score(0.0, {"frames": 4}),
    }
    assert {each["clip"]: each["error"]["problem"] for each in EXCHANGES if "error" in each} == {
        "one frame": "vmbench (official): ValueError: frames: 1; below 6 OIS fails on a joint that is seen once"
    }


def test_the_recorded_versions_are_the_pinned_ones() -> None:
    folder = ObjectIntegrity.where().file.parent
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert {name for name, version in HEAD["versions"].items() if f"{name}=={version}" not in pins} == {"python"}
