"""Instance preservation on constructed failures, by hand, and on every motion of the embedded world."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from harness.api import Row, Score
from harness.data import world
from metrics.shapes.instance_preservation import InstancePreservation
from metrics.shapes.instances import components, shrink
from tests.metrics.shapes_clips import BACKGROUND, BLUE, RED, Frames, clip, held_out, squares

STAY = [(26, 26)] * 17
METRIC = InstancePreservation(InstancePreservation.Config())


def outcome(video: np.ndarray, fps: float = 8.0) -> tuple[float, dict[str, int]]:
    """Value, and the events that happened."""
    score = METRIC.score(clip(), Frames(video, fps))
    assert score.value is not None
    return score.value, {k: int(v) for k, v in score.parts.items() if v and k not in ("objects", "intact")}


def test_one_still_square_is_intact() -> None:
    score = METRIC.score(clip(), Frames(squares(STAY)))
    assert score.value == 1.0
    assert score.parts == {"objects": 1, "merged": 0, "split": 0, "vanished": 0, "appeared": 0, "intact": 1}


def test_an_object_deleted_half_way_halves_the_value() -> None:
    assert outcome(squares([*STAY[:8], *[None] * 9])) == (0.5, {"vanished": 1})


def test_an_object_from_nowhere_is_an_appearance() -> None:
    assert outcome(squares([*[None] * 8, *STAY[8:]])) == (0.5, {"appeared": 1})


def test_one_of_two_objects_vanishing_costs_a_third() -> None:
    value, events = outcome(squares([(8, 8)] * 17, [(44, 44)] * 12 + [None] * 5, colours=(RED, BLUE)))
    assert (value, events) == (pytest.approx(2 / 3), {"vanished": 1})


def test_a_duplicate_far_away_is_an_appearance() -> None:
    value, events = outcome(squares([(8, 8)] * 17, [None] * 6 + [(44, 44)] * 11))
    assert (value, events) == (pytest.approx(2 / 3), {"appeared": 1})


def test_a_square_that_comes_apart_is_a_split() -> None:
    left, right = [(20, 26)] * 17, [(32, 26)] * 17
    for k in range(5, 17):
        left[k], right[k] = (20 - min(k - 4, 8), 26), (32 + min(k - 4, 8), 26)
    assert outcome(squares(left, right))[1] == {"split": 1}


def test_two_squares_that_flow_together_are_a_merge() -> None:
    left, right = [(8 + k, 26) for k in range(17)], [(44 - k, 26) for k in range(17)]
    value, events = outcome(squares([*left[:14], *[(20, 26)] * 3], [*right[:14], *[(32, 26)] * 3]))
    assert events == {"merged": 1}
    assert value == pytest.approx(2 / 3)


def test_reversing_time_swaps_merges_with_splits_and_vanishing_with_appearing() -> None:
    gone = squares([*STAY[:8], *[None] * 9])
    assert outcome(gone[::-1]) == (0.5, {"appeared": 1})
    joined = squares([(8 + k, 26) for k in range(17)], [(44 - k, 26) for k in range(17)])
    assert outcome(joined)[1] == {"merged": 1}
    assert outcome(joined[::-1])[1] == {"split": 1}


def test_a_jump_across_the_frame_counts_twice() -> None:
    assert outcome(squares([(8, 8)] * 8 + [(44, 44)] * 9)) == (pytest.approx(1 / 3), {"vanished": 1, "appeared": 1})


def test_leaving_through_the_border_is_no_event() -> None:
    assert outcome(squares([(26 + 3 * k, 26) for k in range(17)]))[0] == 1.0


def test_entering_through_the_border_is_no_event() -> None:
    assert outcome(squares([(26 + 3 * k, 26) for k in range(17)])[::-1])[0] == 1.0


def test_passing_behind_another_object_is_no_event() -> None:
    passer = [(2 + 3 * k, 26) for k in range(17)]
    video = squares(passer, STAY, colours=(RED, BLUE))
    hidden = sum((frame[26:38, :, 0] == RED[0]).sum() < 144 for frame in video)
    assert hidden > 5
    assert outcome(video)[0] == 1.0


@pytest.mark.parametrize(("absent", "value"), [(1, 1.0), (3, 1.0), (6, 1 / 3)])
def test_short_gaps_are_a_flicker_and_long_ones_are_not(absent: int, value: float) -> None:
    assert outcome(squares([*STAY[:5], *[None] * absent, *STAY[5 + absent :]]))[0] == pytest.approx(value)


def test_the_gap_is_in_seconds() -> None:
    path = [STAY[0]] * 12 + [None] * 9 + [STAY[0]] * 12
    assert outcome(squares(path), fps=24.0)[0] == 1.0
    assert outcome(squares(path), fps=8.0)[0] == pytest.approx(1 / 3)


def test_a_flash_of_one_frame_is_no_event() -> None:
    assert outcome(squares(STAY, [None] * 8 + [(4, 4)] + [None] * 8))[0] == 1.0


def test_size_and_aspect_of_the_frames_do_not_matter() -> None:
    wide = np.full((17, 64, 96, 3), BACKGROUND, np.uint8)
    wide[:, :, 16:80] = squares([*STAY[:8], *[None] * 9])
    assert outcome(wide) == outcome(wide.repeat(3, 1).repeat(3, 2)) == (0.5, {"vanished": 1})
    assert shrink(np.zeros((2, 720, 1280, 3), np.uint8)).shape == (2, 64, 114, 3)


def test_components_leave_out_specks() -> None:
    mask = np.zeros((64, 64), bool)
    mask[5:10, 5:10] = mask[30:33, 30:33] = mask[50:62, 50:62] = True  # 25, 9 and 144 pixels
    assert sorted(int(blob.sum()) for blob in components(mask)) == [25, 144]


def test_grey_footage_and_single_frames_are_not_applicable() -> None:
    grey = np.random.default_rng(0).integers(40, 90, (17, 64, 64, 1), dtype=np.uint8).repeat(3, -1)
    score = METRIC.score(clip(), Frames(grey))
    assert (score.value, score.note) == (None, "nothing in the colours of the embedded world")
    assert METRIC.score(clip(), Frames(squares(STAY)[:1])).value is None


@cache
def judged() -> list[tuple[Row, Score]]:
    return [(row, METRIC.score(clip(), Frames(video))) for row, video in held_out(240)]


def test_rendered_clips_of_every_motion_are_intact() -> None:
    by_motion: dict[str, list[float]] = {}
    for row, score in judged():
        assert score.value is not None
        for motion in {thing["motion"] for thing in row.meta["objects"]}:
            by_motion.setdefault(motion, []).append(score.value)
    assert len(by_motion) == 10
    assert {m: round(float(np.mean(v)), 3) for m, v in by_motion.items() if np.mean(v) < 0.97} == {}


def test_the_usual_number_of_objects_is_the_captioned_one() -> None:
    right = [score.parts["objects"] == len(row.meta["objects"]) for row, score in judged()]
    assert np.mean(right) >= 0.95


def erased(video: np.ndarray, mask: np.ndarray, frames: slice) -> np.ndarray:
    """The clip with what is under `mask` `[F, H, W]`, and its soft edge, painted over in some frames."""
    wide = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((5, 5))) for m in mask]).astype(bool)
    wide[: frames.start], wide[frames.stop :] = False, False
    return np.where(wide[..., None], np.median(video, axis=(0, 1, 2)).astype(np.uint8), video)


@pytest.mark.parametrize(("failure", "event"), [("deleted", "vanished"), ("late", "appeared"), ("cut", "split")])
def test_failures_made_in_rendered_clips_lower_the_value(failure: str, event: str) -> None:
    values, events = [], 0
    for index in range(60):
        scene = world.scene(3, index, "heldout")
        if len(scene.cast.things) > 1:
            continue
        video, mask = world.render(scene), world.truth(scene).masks[:, 0]
        if failure == "deleted":
            video = erased(video, mask, slice(8, 17))
        elif failure == "late":
            video = erased(video, mask, slice(0, 8))
        else:
            band = np.zeros_like(mask)
            for frame in range(17):
                columns = np.flatnonzero(mask[frame].any(0))
                band[frame, :, (columns[0] + columns[-1]) // 2] = True
            video = erased(video, band, slice(8, 17))
        value, happened = outcome(video)
        values.append(value)
        events += event in happened
    assert len(values) > 20
    assert events / len(values) > 0.85
    assert np.mean(values) < 0.75
