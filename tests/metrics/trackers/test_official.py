"""Trackers run by their official code: what goes to the worker and comes back, with a worker that only pretends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api import Tracker, UserError
from harness.tracking import make_tracker
from metrics.workers import known
from metrics.workers.client import WorkerError

FILES = {"bootstapir": "bootstapir_checkpoint_v2.pt", "cotracker3": "scaled_offline.pth"}
VIDEO = np.arange(3 * 4 * 6 * 3, dtype=np.uint8).reshape(3, 4, 6, 3)
QUERIES = np.array([[0, 1.5, 2.0], [2, 5.0, 0.25]])

# Points go right by one pixel a frame, times what the checkpoint says; the settings show in the first pixel's row.
WORKER = """
import json
from pathlib import Path
import numpy as np

def start(arguments):
    speed = float(Path(arguments["checkpoint"]).read_text())
    Path("arguments.json").write_text(json.dumps(arguments))
    def answer(request):
        video, queries = np.load(request["video"]), np.load(request["queries"])
        Path("request.json").write_text(json.dumps(request))
        if video.max() == 0:
            raise ValueError("nothing to see")
        if video.max() == 1:
            return {}
        t = np.arange(len(video))[None] - queries[:, :1]
        tracks = np.repeat(queries[:, None, 1:], len(video), 1)
        tracks[..., 0] += speed * t
        np.save(request["tracks"], tracks)
        np.save(request["visible"], t >= 0)
        return {}
    return answer
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environments whose Python is this one, and a folder of checkpoints that hold a number."""
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, file in FILES.items():
        folder = tmp_path / "metrics" / "trackers" / f"{name}_env"
        folder.mkdir(parents=True)
        (folder / "environment.yaml").write_text(
            'about: a toy\npython: "3.11"\nrequirements: requirements.txt\nsmoke: import numpy\n'
        )
        (folder / "requirements.txt").write_text("numpy\n")
        (folder / "worker.py").write_text(WORKER)
        monkeypatch.setenv(f"MUTOSCOPE_WORKER_TRACKERS_{name.upper()}", sys.executable)
        (weights / file).write_text("2.0")
    monkeypatch.setattr(known, "_METRICS", tmp_path / "metrics")
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def made(family: Path) -> Iterator[Any]:
    """Trackers with the family's weights, closed at the end."""
    trackers: list[Tracker] = []

    def make(name: str, **options: Any) -> Tracker:
        given = {"weights": str(family / "weights"), "unofficial_weights": True, "device": "cpu", **options}
        trackers.append(make_tracker({"name": name, **given}))
        return trackers[-1]

    yield make
    for tracker in trackers:
        tracker.close()


@pytest.mark.parametrize("name", FILES)
def test_clips_queries_and_tracks_go_through_files(made: Any, name: str) -> None:
    tracker = made(name)
    tracks, visible = tracker.track(VIDEO, QUERIES)
    np.testing.assert_array_equal(tracks[..., 0], [[1.5, 3.5, 5.5], [1.0, 3.0, 5.0]])
    np.testing.assert_array_equal(tracks[..., 1], [[2.0] * 3, [0.25] * 3])
    np.testing.assert_array_equal(visible, [[1, 1, 1], [0, 0, 1]])
    private = tracker._private
    assert private.is_dir()
    tracker.close()
    assert not private.exists()


@pytest.mark.parametrize(
    ("name", "resolution", "options", "sent"),
    [
        ("bootstapir", [256, 256], {"batch_size": 7}, "batch_size"),
        ("cotracker3", [384, 512], {"together": 9}, "together"),
    ],
)
def test_the_worker_is_told_its_checkpoint_and_settings(
    made: Any, family: Path, name: str, resolution: list[int], options: dict[str, int], sent: str
) -> None:
    tracker = made(name, **options)
    tracker.track(VIDEO, QUERIES)
    told = json.loads((tracker._private / "arguments.json").read_text())
    assert told["checkpoint"] == str((family / "weights" / FILES[name]).resolve())
    assert (told["resolution"], told["device"]) == (resolution, "cpu")
    assert json.loads((tracker._private / "request.json").read_text())[sent] == options[sent]


def test_a_failed_clip_is_an_error_and_the_next_one_is_not_its_answer(made: Any) -> None:
    tracker = made("cotracker3")
    tracker.track(VIDEO, QUERIES)
    with pytest.raises(WorkerError, match=r"cotracker3.*nothing to see"):
        tracker.track(np.zeros_like(VIDEO), QUERIES)
    with pytest.raises(UserError, match="left no tracks"):
        tracker.track(np.ones_like(VIDEO), QUERIES)
    assert tracker.track(VIDEO, QUERIES)[0][0, 1, 0] == 3.5


def test_identity_holds_checkpoint_code_settings_and_resolution(made: Any, family: Path) -> None:
    one = made("cotracker3").identity
    assert one["resolution"] == [384, 512]
    assert one["options"] == {"together": 0}
    assert len(one["weights"]) == 4  # the checkpoint, environment.yaml, requirements.txt, worker.py
    assert made("cotracker3", timeout=5.0, device="auto").identity == one
    assert made("cotracker3", together=64).identity != one
    (family / "weights" / FILES["cotracker3"]).write_text("3.0")
    other = made("cotracker3").identity
    assert other["weights"][0] != one["weights"][0]
    assert other["weights"][1:] == one["weights"][1:]
    assert made("bootstapir", batch_size=3).identity == made("bootstapir").identity


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_is_named_with_its_command(
    made: Any, family: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(f"MUTOSCOPE_WORKER_TRACKERS_{name.upper()}")
    tracker = made(name)
    with pytest.raises(UserError, match=f"trackers-{name} environment: missing") as raised:
        tracker.weights(tracker.config)
    assert raised.value.remedy == f"build it with `mutoscope workers build trackers-{name}`"
    (family / "weights" / FILES[name]).unlink()
    with pytest.raises(UserError, match=f"{FILES[name]} is missing") as raised:
        tracker.weights(tracker.config)
    assert f"mutoscope weights fetch trackers --for {name}" in raised.value.remedy


def test_another_checkpoint_is_refused_unless_it_is_wanted(made: Any, family: Path) -> None:
    tracker = made("cotracker3", unofficial_weights=False)
    with pytest.raises(UserError, match=r"not the published file: sha256 .*, expected 2670d456"):
        tracker.weights(tracker.config)


def test_the_shipped_environments_pin_what_they_run() -> None:
    environments = known.known()
    commits = {
        name: [source.commit for source in environments[f"trackers-{name}"].description.sources.values()]
        for name in FILES
    }
    assert commits == {
        "bootstapir": ["c2cbab81cc06092b5f05bfe2da7bfec54e2079c9"],
        "cotracker3": ["82e02e8029753ad4ef13cf06be7f4fc5facdda4d"],
    }
