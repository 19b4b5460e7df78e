"""Windows, verdicts, counts and intervals of instance preservation, by hand."""

from __future__ import annotations

import math

import pytest

from harness.errors import UserError
from metrics.instance.scoring import (
    Target,
    anomalous,
    count,
    exact_counts,
    instance_preservation_counts,
    instance_preservation_judge,
    judged,
    parse_targets,
    share,
)
from metrics.instance.windows import Window, windows


@pytest.mark.parametrize(
    ("frames", "fps", "firsts", "length"),
    [  # compared with the official split.py and ffmpeg
        (81, 16.0, [0, 16, 32, 48], 32),
        (49, 8.0, [0, 8, 16, 24, 32], 16),
        (97, 29.97, [0, 30], 60),
        (32, 16.0, [0], 32),
        (31, 16.0, [], 32),
        (1, 8.0, [], 16),
        (33, 16.0, [0], 32),
        (48, 24000 / 1001, [0], 48),
        (47, 24000 / 1001, [], 48),
    ],
)
def test_windows_are_those_of_the_official_split(frames: int, fps: float, firsts: list[int], length: int) -> None:
    found = windows(frames, fps)
    assert found == tuple(Window(first, length) for first in firsts)
    assert all(window.first + window.frames <= frames for window in found)


@pytest.mark.parametrize(("frames", "fps"), [(0, 16.0), (81, 0.0), (81, math.nan)])
def test_a_video_without_frames_or_rate_has_no_windows(frames: int, fps: float) -> None:
    with pytest.raises(UserError):
        windows(frames, fps)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A", True), ("(A)", True), ("A. Yes", True), ("YES, there is", True), ("I think (A) fits", True),
        ("B", False), ("B. No", False), ("no", False), ("", False), ("A.", False), ("An animal", False),
        ("yesterday it was whole", True),
    ],
)  # fmt: skip
def test_what_counts_as_a_yes_is_upstreams_rule(said: str, expected: bool) -> None:
    assert anomalous(said) is expected


def test_the_first_yes_decides_and_ends_the_looking() -> None:
    asked: list[int] = []

    def judge(window: Window) -> str:
        asked.append(window.first)
        return "A. Yes" if window.first == 16 else "B. No"

    verdict = instance_preservation_judge(81, 16.0, judge)
    assert (verdict.value, verdict.windows, verdict.looked, verdict.errors) == (0.0, 4, 2, 0)
    assert asked == [0, 16]


def test_a_video_without_anomaly_is_preserved() -> None:
    verdict = instance_preservation_judge(81, 16.0, lambda _: "B. No")
    assert (verdict.value, verdict.looked, verdict.too_short) == (1.0, 4, False)


def test_a_short_video_is_preserved_as_upstream_and_flagged() -> None:
    def never(_: Window) -> str:
        raise AssertionError("nothing to ask about")

    verdict = instance_preservation_judge(31, 16.0, never)
    assert (verdict.value, verdict.windows, verdict.error_share, verdict.too_short) == (1.0, 0, 0.0, True)


def test_a_judge_that_fails_says_no_and_is_counted() -> None:
    def judge(window: Window) -> str:
        if window.first in (0, 32):
            raise RuntimeError("out of memory")
        return "B"

    verdict = instance_preservation_judge(81, 16.0, judge)
    assert (verdict.value, verdict.errors, verdict.error_share) == (1.0, 2, 0.5)
    with_anomaly = judged([None, "yes"], 4)
    assert (with_anomaly.value, with_anomaly.looked, with_anomaly.error_share) == (0.0, 2, 0.5)


@pytest.mark.parametrize(("answers", "expected"), [([], 2), (["B"], 2), (["B", "B", "B"], 2)])
def test_answers_that_do_not_fit_the_windows_are_no_verdict(answers: list[str], expected: int) -> None:
    with pytest.raises(ValueError, match=f"{len(answers)} answers to {expected} windows"):
        judged(answers, expected)


# ---- counting ----------------------------------------------------------------------------------------------------


def test_targets_are_a_number_and_a_label_each() -> None:
    assert parse_targets("1.orange cat and 1.white cat") == (Target(1, "orange cat"), Target(1, "white cat"))
    assert parse_targets(" 2 . red  balloon ") == (Target(2, "red  balloon"),)
    assert parse_targets("1.panda and 2.sand castle") == (Target(1, "panda"), Target(2, "sand castle"))
    for text in ("", "cat", "one.cat", "1.", ".cat", "1.cat and cat", "-1.cat"):
        with pytest.raises(ValueError, match="is not a number, a dot and a label"):
            parse_targets(text)


def test_the_threshold_itself_does_not_count_and_a_hundred_is_the_most() -> None:
    assert count([0.28, 0.2800001, 0.9, 0.1]) == 2
    assert count([]) == 0
    assert count([0.5] * 150) == 100


def test_a_frame_is_right_only_with_the_exact_number() -> None:
    one = (Target(2, "dog"),)
    assert exact_counts([[2], [2], [1], [3]], one) == 0.5  # too few and too many alike
    two = (Target(1, "orange cat"), Target(1, "white cat"))
    assert exact_counts([[1, 1], [1, 0], [2, 2], [0, 1]], two) == (1 + 0.5 + 0 + 0.5) / 4
    assert exact_counts([[0]], (Target(0, "dog"),)) == 1.0


def test_detections_become_counts() -> None:
    scores = [[[0.9, 0.29], [0.5]], [[0.9], [0.28]], [[0.9, 0.8, 0.3], []]]
    targets = (Target(2, "dog"), Target(1, "cat"))
    assert instance_preservation_counts(scores, targets) == pytest.approx((1.0 + 0.0 + 0.0) / 3)
    assert instance_preservation_counts(scores, targets[::-1]) == pytest.approx((0.0 + 0.5 + 0.0) / 3)


def test_an_empty_video_is_an_error_and_so_is_a_frame_without_a_label() -> None:
    with pytest.raises(ValueError, match="no frames"):
        exact_counts([], (Target(1, "dog"),))
    with pytest.raises(ValueError, match="no labels"):
        exact_counts([[]], ())
    with pytest.raises(ValueError, match="longer"):
        exact_counts([[1]], (Target(1, "dog"), Target(1, "cat")))


# ---- sets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [158, 152, 146, 142, 157])
def test_the_papers_scores_are_shares_of_171(k: int) -> None:
    """AVD, table 2: 92.39 (cut, not rounded: 92.397), 88.88, 85.38, 83.04, 91.81."""
    found = share([1.0] * k + [0.0] * (171 - k))
    assert math.floor(found.value * 1e4) / 100 in (92.39, 88.88, 85.38, 83.04, 91.81)
    assert found.low < found.value < found.high
    assert 0.07 < found.high - found.low < 0.12


def test_the_interval_is_wilsons() -> None:
    found = share([1.0] * 9 + [0.0])
    z, p, n = 1.959964, 0.9, 10
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert share([1.0] * 5).high == 1.0
    with pytest.raises(UserError, match="neither preserved nor not"):
        share([0.5])
    with pytest.raises(UserError, match="no video was judged"):
        share([])
