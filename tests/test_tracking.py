"""The contract of point trackers: what callers may pass, what plugins must answer, what identifies the tracks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.api import Options, Tracker, UserError, register_tracker
from harness.tracking import find_tracker, make_tracker

VIDEO = np.zeros((4, 6, 8, 3), np.uint8)


class Settings(Options):
    reach: float = 2.0
    weights: str = ""
    device: str = "cpu"
    depth: int = 1


class Standing(Tracker):
    """Every point stays where it is."""

    name = "standing"
    version = 3
    Config = Settings
    resolution = (12, 16)
    runtime = frozenset({"weights", "depth"})
    answer: Any = None  # instead of the right one

    @classmethod
    def weights(cls, config: Settings) -> tuple[Path, ...]:
        return (Path(config.weights),) if config.weights else ()

    def follow(self, video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert queries.dtype == np.float32
        if self.answer is not None:
            return self.answer
        shape = (len(queries), len(video))
        return np.broadcast_to(queries[:, None, 1:], (*shape, 2)), np.ones(shape, bool)


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.trackers._classes, "standing", Standing)


def test_a_tracker_is_made_from_its_name_and_options(standing: None) -> None:
    tracker = make_tracker({"name": "standing", "reach": 3.5})
    tracks, visible = tracker.track(VIDEO, np.array([[1, 2.5, 3.0], [0, 7, 5]]))
    assert tracker.config.reach == 3.5
    assert (tracks.dtype, tracks.shape) == (np.float32, (2, 4, 2))
    assert (visible.dtype, visible.shape) == (np.bool_, (2, 4))
    np.testing.assert_array_equal(tracks[0], [[2.5, 3.0]] * 4)


def test_mistakes_in_a_spec_are_named(standing: None) -> None:
    with pytest.raises(UserError, match=r'trajan\.tracker\.name: no tracker is called "standin"') as raised:
        find_tracker({"name": "standin"}, "trajan.tracker")
    assert raised.value.remedy == 'did you mean "standing"?'
    with pytest.raises(UserError, match=r"tracker\.reech: unknown key"):
        make_tracker({"name": "standing", "reech": 1})


@pytest.mark.parametrize(
    ("video", "queries", "problem"),
    [
        (VIDEO[..., 0], [[0, 1, 1]], "was given uint8"),
        (VIDEO.astype(np.float32), [[0, 1, 1]], "was given float32"),
        (VIDEO[:0], [[0, 1, 1]], "was given uint8"),
        (VIDEO, [0, 1, 1], "not finite"),
        (VIDEO, [[0, np.nan, 1]], "not finite"),
        (VIDEO, [[0, 1, 1], [4, 1, 1]], "frame 4 of a clip of 4"),
        (VIDEO, [[-1, 1, 1]], "frame -1"),
        (VIDEO, [[1.5, 1, 1]], "frame 1.5"),
    ],
)
def test_queries_of_no_frame_are_refused(video: np.ndarray, queries: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Standing(Settings()).track(video, np.array(queries, np.float64))


def test_no_queries_cost_nothing() -> None:
    tracker = Standing(Settings())
    tracker.answer = "never asked for"
    tracks, visible = tracker.track(VIDEO, np.zeros((0, 3)))
    assert (tracks.shape, visible.shape) == ((0, 4, 2), (0, 4))


@pytest.mark.parametrize(
    "answer",
    [
        (np.zeros((1, 4, 2)), np.ones((1, 4), np.uint8)),
        (np.zeros((4, 1, 2)), np.ones((1, 4), bool)),
        (np.full((1, 4, 2), np.nan), np.ones((1, 4), bool)),
    ],
)
def test_a_wrong_answer_of_a_plugin_is_an_error(answer: Any) -> None:
    tracker = Standing(Settings())
    tracker.answer = answer
    with pytest.raises(UserError, match='tracker "standing" answered'):
        tracker.track(VIDEO, np.array([[0, 1, 1]]))


def test_identity_is_what_decides_the_tracks(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"weights")
    told = Standing(Settings(weights=str(file), device="cuda", depth=9)).identity
    assert told == {
        "tracker": "standing",
        "version": 3,
        "options": {"reach": 2.0},
        "resolution": [12, 16],
        "weights": [hashlib.sha256(b"weights").hexdigest()],
    }


def test_only_trackers_are_registered() -> None:
    class Nothing:
        name = "nothing"

    with pytest.raises(UserError, match="is not a tracker"):
        register_tracker(Nothing)
