"""DIS flow and the two metrics on it, against footage whose motion is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from harness import video
from harness.api import Clip, ClipSpec, Score, UserError
from harness.features import FeatureStore
from metrics.flow import DynamicDegree, Magnitude, dis_flow, pairs_needed, stride, top_speed
from tests.footage import drifting


class Shown:
    """Features of frames in memory, without a codec in between."""

    def __init__(self, frames: np.ndarray, fps: float) -> None:
        self.frames, self.fps = frames, fps

    def get(self, name: str) -> np.ndarray:
        assert name == "flow/dis"
        return dis_flow(self.frames)


def magnitude(frames: np.ndarray, fps: float) -> float:
    return _value(Magnitude(Magnitude.Config()).score(Clip("a", Path("a"), "0"), Shown(frames, fps)))


def dynamic(frames: np.ndarray, fps: float) -> Score:
    return DynamicDegree(DynamicDegree.Config()).score(Clip("a", Path("a"), "0"), Shown(frames, fps))


def _value(score: Score) -> float:
    assert score.value is not None
    return score.value


# ---- flow ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 128, 256])
@pytest.mark.parametrize("step", [(1.0, 0.0), (0.0, 2.0), (-2.0, 1.0), (3.0, -2.0), (-4.0, 0.0)])
def test_recovers_a_known_translation(side: int, step: tuple[float, float]) -> None:
    flow = dis_flow(drifting(3, side, side, *step, sigma=3)) * side
    assert flow.shape == (2, side, side, 2)
    assert flow.dtype == np.float32
    error = np.abs(flow.mean((0, 1, 2)) - step).max()
    assert error < 0.05 * np.hypot(*step)  # x right and y down, both signs


def test_still_clip_does_not_move() -> None:
    assert np.abs(dis_flow(drifting(3, 64, 64, 0, 0))).max() == 0


def test_unit_is_the_shorter_side() -> None:
    wide = dis_flow(drifting(2, 100, 200, 5, 0, sigma=3))
    assert float(wide[..., 0].mean()) == pytest.approx(0.05, rel=0.05)


def test_large_frames_are_shrunk() -> None:
    flow = dis_flow(drifting(2, 512, 768, 16, 0, sigma=6))
    assert flow.shape == (1, 256, 384, 2)
    assert float(flow[..., 0].mean()) == pytest.approx(16 / 512, rel=0.05)


def test_the_same_for_any_thread_count_and_neighbourhood() -> None:
    frames = drifting(4, 96, 96, 2, 1)
    whole = dis_flow(frames)
    threads = cv2.getNumThreads()
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            np.testing.assert_array_equal(dis_flow(frames), whole)
    finally:
        cv2.setNumThreads(threads)
    for pair in range(3):  # a pair's flow does not depend on the pairs before it
        np.testing.assert_array_equal(dis_flow(frames[pair : pair + 2])[0], whole[pair])


def test_one_frame_and_tiny_frames() -> None:
    assert dis_flow(drifting(1, 64, 64, 0, 0)).shape == (0, 64, 64, 2)
    with pytest.raises(UserError, match="12 px"):
        dis_flow(np.zeros((2, 8, 64, 3), np.uint8))


# ---- magnitude -------------------------------------------------------------------------------------------------


def test_magnitude_is_speed_in_shorter_sides_per_second() -> None:
    assert magnitude(drifting(4, 128, 128, 3, 4, sigma=3), 8) == pytest.approx(5 * 8 / 128, rel=0.05)
    assert magnitude(drifting(4, 64, 64, 0, 0), 8) == 0


def test_magnitude_is_the_same_at_other_resolutions_and_rates() -> None:
    large = drifting(9, 256, 256, 4, 2, sigma=6)
    small = np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA) for frame in large])
    reference = magnitude(large, 16)
    assert magnitude(small, 16) == pytest.approx(reference, rel=0.05)
    assert magnitude(large[::2], 8) == pytest.approx(reference, rel=0.05)


def test_magnitude_through_the_codec(tmp_path: Path) -> None:
    frames = drifting(6, 128, 128, 3, 0, sigma=3)
    video.write(tmp_path / "a.mp4", frames, 8)
    clip = Clip("a", tmp_path / "a.mp4", "0")
    with FeatureStore().open(clip) as features:
        coded = _value(Magnitude(Magnitude.Config()).score(clip, features))
    assert coded == pytest.approx(magnitude(frames, 8), rel=0.02)


def test_single_frame_is_not_applicable() -> None:
    frames = drifting(1, 64, 64, 0, 0)
    assert Magnitude(Magnitude.Config()).score(Clip("a", Path("a"), "0"), Shown(frames, 8)).value is None
    assert dynamic(frames, 8).value is None
    assert dynamic(drifting(3, 64, 64, 1, 0), 24).value is None  # one kept frame
    assert dynamic(drifting(4, 64, 64, 1, 0), 24).value is not None


# ---- dynamic degree --------------------------------------------------------------------------------------------


def test_constants_of_the_rule() -> None:
    assert [stride(fps) for fps in (4, 8, 12, 16, 20, 24, 30, 60)] == [1, 1, 2, 2, 2, 3, 4, 8]
    assert [pairs_needed(n) for n in (2, 6, 8, 10, 14, 16, 17, 49)] == [1, 2, 2, 2, 4, 4, 4, 12]


def test_top_speed_is_the_mean_of_the_fastest_twentieth() -> None:
    flow = np.zeros((1, 10, 20, 2), np.float32)
    flow[0, 0, :12, 0] = -np.arange(1, 13)
    assert top_speed(flow)[0] == pytest.approx(np.mean(range(3, 13)))  # 10 of 200 pixels


@pytest.mark.parametrize("fps", [8, 24])
def test_threshold_is_six_of_256_px_per_eighth_of_a_second(fps: int) -> None:
    kept = round(fps / 8)
    for speed, expected in [(5.4, 0.0), (6.6, 1.0)]:  # 10 % on either side
        frames = drifting(6 * kept + 1, 256, 256, speed / kept, 0, sigma=4)
        score = dynamic(frames, fps)
        assert (score.value, score.parts["pairs"]) == (expected, 6)
        assert score.parts["median"] == pytest.approx(speed / 256, rel=0.06)


def test_enough_pairs_must_move() -> None:
    moving, still = drifting(17, 64, 64, 3, 0), drifting(1, 64, 64, 0, 0)
    for count, expected in [(3, 0.0), (4, 1.0)]:  # of 17 frames at 8 fps, round(17 / 4) = 4 pairs are needed
        frames = np.concatenate([moving[: count + 1], *[moving[count : count + 1]] * (16 - count)])
        score = dynamic(frames, 8)
        assert (score.parts["moving_pairs"], score.parts["needed_pairs"], score.value) == (count, 4, expected)
    assert dynamic(np.concatenate([still] * 17), 8).value == 0.0


def test_resampled_footage_keeps_its_answer() -> None:
    frames = drifting(40, 256, 256, 3.0, 0, sigma=5)
    small, _ = video.resample(frames, 24, ClipSpec(frames=8, height=64, width=64, fps=8))
    assert dynamic(frames, 24).value == dynamic(small, 8).value == 1.0
    assert magnitude(small, 8) == pytest.approx(magnitude(frames, 24), rel=0.05)
