"""The formula of the two consistency dimensions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api import Score
from metrics.vbench.consistency import consistency

X, Y = np.eye(2, dtype=np.float32)


def test_identical_frames_are_consistent_whatever_their_length() -> None:
    assert consistency(np.stack([X, 2 * X, 7 * X])) == Score(1.0, {"pairs": 2})


def test_orthogonal_and_opposite_frames_are_not() -> None:
    assert consistency(np.stack([X, Y])).value == 0
    assert consistency(np.stack([X, -X])).value == 0


def test_the_first_and_the_previous_frame_count_the_same() -> None:
    """x x y y x: cosines with the previous one 1 0 1 0, with the first one 1 0 0 1."""
    assert consistency(np.stack([X, X, Y, Y, X])) == Score(4 / 8, {"pairs": 4})


def test_negative_cosines_are_zero_one_by_one() -> None:
    """A frame opposite to the first and the same as the previous one gets half a point, not none."""
    assert consistency(np.stack([X, -X, -X])) == Score((0 + 0.5) / 2, {"pairs": 2})


def test_angles_enter_by_their_cosine() -> None:
    turned = np.array([[np.cos(a), np.sin(a)] for a in np.radians([0, 60, 120])], np.float32)
    assert consistency(turned).value == pytest.approx((0.5 + (0.5 + 0) / 2) / 2, abs=1e-7)


def test_rounding_does_not_lift_it_above_one() -> None:
    row = np.random.default_rng(0).normal(size=768).astype(np.float32)
    assert consistency(np.stack([row] * 50)).value <= 1


def test_a_single_frame_has_no_pair() -> None:
    found = consistency(X[None])
    assert found.value is None
    assert "single frame" in found.note
