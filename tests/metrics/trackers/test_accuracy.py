"""TAP-Vid metrics against what the official function said, and by hand where a slip would not show there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.api import UserError
from metrics.trackers.accuracy import judged_frames, tapvid
from tests.metrics.trackers.record import CASES, OUT, case

SAID = json.loads(OUT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mode", ["first", "strided"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_official_function_bit_for_bit(name: str, mode: str) -> None:
    ours = tapvid(**case(name), query_mode=mode)
    said = SAID[f"{name}, {mode}"]
    assert ours.keys() == said.keys()
    for key, values in said.items():
        expected = [np.nan if value is None else value for value in values]
        np.testing.assert_array_equal(ours[key], expected, err_msg=key)


def test_one_video_alone_scores_as_it_does_in_a_batch() -> None:
    made = case("plain")
    batch = tapvid(**made, query_mode="strided")
    alone = tapvid(**{key: value[1] for key, value in made.items()}, query_mode="strided")
    assert alone["average_jaccard"].shape == ()
    assert {key: float(value) for key, value in alone.items()} == {key: value[1] for key, value in batch.items()}


def one_track(miss: float, true_visible: list[int], visible: list[int]) -> dict[str, float]:
    """A point at 0 in all frames, predicted `miss` pixels to its right, asked for in frame 0."""
    frames = len(visible)
    found = tapvid(
        np.zeros(1),
        np.zeros((1, frames, 2)),
        np.array([true_visible], bool),
        np.full((1, frames, 2), [miss, 0.0]),
        np.array([visible], bool),
        "first",
    )
    return {key: float(value) for key, value in found.items()}


def test_a_distance_of_exactly_the_threshold_is_too_far() -> None:
    found = one_track(4.0, [1, 1], [1, 1])
    assert [found[f"pts_within_{t}"] for t in (1, 2, 4, 8, 16)] == [0, 0, 0, 1, 1]
    assert found["average_jaccard"] == pytest.approx(2 / 5)


def test_jaccard_counts_a_far_point_against_both_sides() -> None:
    # frames 1-4: near and seen, near and missed, hidden but claimed, hidden and not claimed
    found = one_track(0.5, [1, 1, 1, 0, 0], [1, 1, 0, 1, 0])
    assert found["jaccard_1"] == pytest.approx(1 / (2 + 1))
    assert found["pts_within_1"] == 1.0
    assert found["occlusion_accuracy"] == 0.5


def test_nothing_to_find_is_not_a_number() -> None:
    found = one_track(0.0, [1, 0, 0], [1, 0, 0])
    assert np.isnan(found["average_jaccard"])
    assert np.isnan(found["average_pts_within_thresh"])
    assert found["occlusion_accuracy"] == 1.0


def test_frames_that_count() -> None:
    queries = np.array([0, 1.5, 2])  # a half is rounded to even
    np.testing.assert_array_equal(judged_frames(queries, 4, "first"), [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(judged_frames(queries, 4, "strided"), [[0, 1, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]])


def test_bad_input_is_refused() -> None:
    made = case("plain")
    with pytest.raises(UserError, match="frame 0 or 12"):
        judged_frames(np.array([0, 12]), 12, "first")
    with pytest.raises(UserError, match='no query mode is called "last"'):
        tapvid(**made, query_mode="last")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="differ"):
        tapvid(**{**made, "visible": made["visible"][..., :-1]}, query_mode="first")
    with pytest.raises(UserError, match="do not fit"):
        tapvid(**{**made, "query_frames": made["query_frames"][:, :-1]}, query_mode="first")
