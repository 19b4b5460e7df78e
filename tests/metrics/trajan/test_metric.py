"""TRAJAN's metrics on clips, with a small seeded network in place of the shipped and of the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from harness.api import Clip, ClipInfo, FrameChunk, Score, UserError
from harness.judging import Extractor
from metrics.trajan import metric, reconstruction
from metrics.trajan.checkpoint import arrays_of
from metrics.trajan.metric import AverageJaccard, OcclusionAccuracy, PointsWithin, Stillness, TrajanShapes
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.rest import start_at_rest
from metrics.trajan.scoring import MOTION, NUMBERS, RULES
from metrics.trajan.sizes import SMALL
from tests.footage import drifting

torch.set_num_threads(1)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network that expects no motion in place of the shipped one."""
    torch.manual_seed(5)
    net = TrackAutoEncoder(SMALL)
    start_at_rest(net, 5)
    save_file(arrays_of(net), tmp_path / "net.safetensors")
    monkeypatch.setattr(metric, "require_shapes", lambda: tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


class Shown:
    """Features of frames in memory."""

    fps = 8.0

    def __init__(self, frames: np.ndarray, pieces: int = 5) -> None:
        self.frames, self.pieces = frames, pieces

    def get(self, name: str) -> np.ndarray:
        raise KeyError(name)

    def of(self, extractor: Extractor) -> np.ndarray:
        extractor.start(ClipInfo(len(self.frames), *self.frames.shape[1:3], self.fps))
        for first in range(0, len(self.frames), self.pieces):
            extractor.push(FrameChunk(first, self.frames[first : first + self.pieces]))
        return extractor.finish()


def clip(name: str = "a") -> Clip:
    return Clip(name, Path(name), "0")


def footage(frames: int, step: float) -> np.ndarray:
    return drifting(frames, 64, 64, step, 0.0)


def score(frames: np.ndarray, name: str = "a", pieces: int = 5, **options: Any) -> Score:
    judge = TrajanShapes(TrajanShapes.Config(support=24, targets=24, **options))
    return judge.score(clip(name), Shown(frames, pieces))


def test_a_clip_gets_all_numbers(weights: Path) -> None:
    found = score(footage(7, 2.0))
    assert found.value is not None
    assert 0 <= found.value <= 1
    assert set(found.parts) == {*NUMBERS, *MOTION} - {"moving_jaccard"}
    assert found.parts["still"] < 0.5


def test_a_still_clip_is_seen_to_be_still(weights: Path) -> None:
    frames = footage(7, 0.0)
    found = score(frames)
    assert (found.value, found.note) == (None, "moving_jaccard is undefined: nothing moves")
    assert found.parts["still"] == 1
    assert found.parts["mean_path"] < 0.5


def test_numbers_depend_on_the_frames_alone(weights: Path) -> None:
    frames = footage(7, 2.0)
    assert score(frames) == score(frames, "another name", pieces=2)
    other = frames.copy()
    other[0, 0, 0] ^= 1
    assert score(other) != score(frames)


def test_rule_and_resolution_are_read_from_one_extract(weights: Path) -> None:
    frames = footage(7, 2.0)
    found = {
        (rule, resolution): score(frames, rule=rule, resolution=resolution)
        for rule in RULES
        for resolution in ("native", "256")
    }
    narrow, wide = found["colab", "256"], found["colab", "native"]
    assert narrow.parts["average_pts_within_thresh"] < wide.parts["average_pts_within_thresh"]  # 4 times as strict
    assert narrow.parts["occlusion_accuracy"] == wide.parts["occlusion_accuracy"]
    assert narrow.parts["occlusion_accuracy"] > found["visible_and_certain", "256"].parts["occlusion_accuracy"]
    first, second = (TrajanShapes(TrajanShapes.Config(rule=rule)).extractor for rule in RULES)
    assert first is second


def test_a_single_frame_has_no_value(weights: Path) -> None:
    assert score(footage(1, 0.0)) == Score(None, note="a single frame has no tracks")


def test_what_cannot_be_divided_has_no_value(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    numbers = np.zeros(2 * 2 * len(NUMBERS) + len(MOTION))
    row = numbers[len(NUMBERS) : 2 * len(NUMBERS)]  # the colab's rule, in pixels of 256
    row[NUMBERS.index("average_pts_within_thresh")] = np.nan
    monkeypatch.setattr(Shown, "of", lambda self, extractor: numbers)
    found = score(footage(2, 0.0))
    assert found.value == 0  # nothing is visible, but something was claimed to be
    assert "average_pts_within_thresh" not in found.parts
    row[NUMBERS.index("moving_jaccard")] = np.nan
    found = score(footage(2, 0.0))
    assert found.value is None
    assert "nothing moves" in found.note
    assert found.parts["average_jaccard"] == 0


def test_closing_lets_go_of_tracker_and_network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("harness.tracking.Tracker.close", lambda self: closed.append(self.name))
    judge = TrajanShapes(TrajanShapes.Config(support=8, targets=8))
    judge.close()
    assert closed == []  # nothing was opened
    judge.score(clip(), Shown(footage(3, 1.0)))
    assert judge.extractor._network is not None
    judge.close()
    assert closed == ["lk"]
    assert judge.extractor._network is None


def official(**options: Any) -> Any:
    return AverageJaccard.Config(**options)


def test_the_official_metrics_share_one_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.npz").write_bytes(b"any")
    monkeypatch.setattr(metric, "require", lambda folder, unofficial: tmp_path / "file.npz")
    kinds = (AverageJaccard, OcclusionAccuracy, PointsWithin, Stillness)
    extractors = {id(kind(official()).extractors()[0]) for kind in kinds}
    assert len(extractors) == 1
    assert official().support == official().targets == 2048
    numbers = np.arange(2 * 2 * len(NUMBERS) + len(MOTION), dtype=float) / 100
    monkeypatch.setattr(Shown, "of", lambda self, extractor: numbers)
    values = [kind(official()).score(clip(), Shown(np.zeros(0))).value for kind in kinds]
    assert values == [0.0, 0.01, 0.02, len(numbers[: -len(MOTION)]) / 100]
    other = AverageJaccard(official(rule="visible_and_certain", resolution="256"))
    assert other.score(clip(), Shown(np.zeros(0))).value == 3 * len(NUMBERS) / 100


def test_what_is_not_the_published_protocol_is_told() -> None:
    told = AverageJaccard.warning(official())
    assert told.startswith("NOT comparable with TRAJAN's: tracks are of lk")
    assert "near-static clips score high" in told
    told = AverageJaccard.warning(official(tracker={"name": "bootstapir"}))
    assert told == "near-static clips score high: read it beside the share of still tracks"
    changed = {"support": 64, "rule": "visible_and_certain", "resolution": "256", "unofficial_weights": True}
    told = AverageJaccard.warning(official(**changed))
    for words in ("64 support and 2048", "visible_and_certain", "256x256", "weights may be others"):
        assert words in told


def test_the_direction_is_a_setting() -> None:
    assert [AverageJaccard.direction(official(direction=d)) for d in ("higher", "lower", "none")] == [True, False, None]
    assert Stillness.direction(official()) is None


def test_missing_weights_are_told_with_the_command_that_gets_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"track_autoencoder_ckpt.npz is missing\nfetch with .mutoscope weights fetch"):
        AverageJaccard.weights(official(weights=str(tmp_path)))


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(UserError, match="lk"):
        official(tracker={"name": "lkk"})
    with pytest.raises(UserError, match="window"):
        official(tracker={"name": "lk", "windw": 3})


def test_the_identity_names_all_that_decides_numbers(weights: Path) -> None:
    def identity(**options: Any) -> Any:
        return TrajanShapes(TrajanShapes.Config(**options)).extractor.identity

    assert identity() == identity(rule="visible_and_certain") == identity(device="cpu")
    assert identity() != identity(support=8)
    assert identity() != identity(tracker={"name": "lk", "tolerance": 0.75})
    assert identity()["sizes"]["frames"] == 32
    assert reconstruction.Reconstruction.name == "trajan/reconstruction"


def test_the_default_trackers() -> None:
    """`trajan-shapes` takes lk without its patch, by which it tells more; TRAJAN's numbers take it as it is."""
    assert TrajanShapes(TrajanShapes.Config()).extractor.identity["tracker"]["options"]["patch"] == 0
    assert official().tracker == {"name": "lk"}
