"""Did a metric move as it should? Against numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.sanity import NOTHING, Change, jackknife, judge, paired


def test_paired_over_what_both_have() -> None:
    change = paired({"a": 1.0, "b": 2.0, "c": 3.0, "x": 9.0}, {"a": 2.0, "b": 2.0, "c": 5.0, "y": 0.0})
    assert (change.difference, change.n, change.agreeing) == (1.0, 3, 2)  # steps 1, 0, 2
    assert change.se == pytest.approx(1 / math.sqrt(3))
    assert change.scale == 2.0
    assert paired({"a": 1.0}, {"b": 1.0}) == NOTHING
    assert math.isnan(paired({"a": 1.0}, {"a": 2.0}).se)


def test_clear_is_student_t() -> None:
    """For 3 values the two-sided 95 % limit is 4.303 standard errors."""
    assert Change(4.31, 1.0, 3, 1.0).clear
    assert not Change(4.29, 1.0, 3, 1.0).clear
    assert Change(-4.31, 1.0, 3, 1.0).clear
    assert Change(0.1, 0.0, 2, 1.0).clear  # every clip by the same amount
    assert not Change(0.0, 0.0, 6, 1.0).clear
    assert not Change(9.0, math.nan, 1, 1.0).clear


def test_six_clips_that_agree_are_clear_five_are_not() -> None:
    steps = [0.01, 0.02, 0.01, 0.01, 0.03, 5.0]  # t = 1.02
    before = {str(i): 1.0 for i in range(6)}
    change = paired(before, {str(i): 1 + step for i, step in enumerate(steps)})
    assert (change.agreeing, change.clear, change.difference > 2.5 * change.se) == (6, True, False)
    assert not paired(before, {str(i): 1 + step for i, step in enumerate(steps[1:])}).clear
    mixed = paired(before, {str(i): 1 + step for i, step in enumerate([-0.01, *steps[1:]])})
    assert (mixed.agreeing, mixed.clear) == (5, False)


@pytest.mark.parametrize(
    ("expected", "change", "verdict"),
    [
        ("down", Change(-1.0, 0.1, 6, 2.0), "ok"),
        ("up", Change(1.0, 0.1, 6, 2.0), "ok"),
        ("down", Change(1.0, 0.1, 6, 2.0), "no"),
        ("up", Change(-1.0, 0.1, 6, 2.0), "no"),
        ("down", Change(-1.0, 0.6, 6, 2.0), "unclear"),
        ("down", Change(0.0, 0.0, 6, 2.0), "unclear"),  # it did not notice
        ("down", Change(0.019, 0.001, 6, 2.0), "unclear"),  # clear, but under a hundredth of 2
        ("same", Change(0.19, 0.001, 6, 2.0), "ok"),
        ("same", Change(0.21, 0.001, 6, 2.0), "no"),
        ("same", Change(-0.21, 0.2, 6, 2.0), "unclear"),
        ("", Change(1.0, 0.1, 6, 2.0), "no expectation"),
        ("down", NOTHING, "no value"),
    ],
)
def test_verdicts(expected: str, change: Change, verdict: str) -> None:
    assert judge(expected, change) == verdict


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    """With as many parts as clips, the jackknife of a difference of means is s / sqrt(n) exactly."""
    before, after = np.array([1.0, 4.0, 2.0, 7.0]), np.array([3.0, 3.0, 6.0, 8.0])
    change = jackknife(4, lambda chosen: float(before[list(chosen)].mean()), lambda c: float(after[list(c)].mean()))
    steps = after - before
    assert change.difference == pytest.approx(steps.mean())
    assert change.se == pytest.approx(steps.std(ddof=1) / 2)
    assert (change.n, change.scale) == (4, 3.5)


def test_jackknife_of_one_clip_has_no_error() -> None:
    change = jackknife(1, lambda _: 1.0, lambda _: 0.5)
    assert (change.difference, change.n) == (-0.5, 1)
    assert math.isnan(change.se)
    assert judge("down", change) == "unclear"
