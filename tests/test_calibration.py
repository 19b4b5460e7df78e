"""Simulated boards: how often equal methods are told apart, and how often different ones are.

Scores are what leaderboards are made of: prompts of different difficulty, methods that suit some prompts better than
others, and several seeds of a prompt, so clips of a prompt are alike. A rate counts as right inside the interval that
99 of 100 such experiments stay in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import stats

Scores = NDArray[np.float64]  # [K, P, S]
MANY, FEW = 1000, 200  # simulations of the long check, and of every run


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.exponential(size=shape) - 1


def board(
    rng: np.random.Generator, gains: list[float], prompts: int, seeds: int, noise: Callable[..., Scores] = normal
) -> Scores:
    """`[K, P, S]`: difficulty of the prompt + gain + how the method gets on with the prompt + luck of the seed."""
    methods = len(gains)
    difficulty = rng.normal(size=(1, prompts, 1))
    fit = 0.6 * noise(rng, (methods, prompts, 1))
    luck = 0.8 * noise(rng, (methods, prompts, seeds))
    return difficulty + np.asarray(gains)[:, None, None] + fit + luck


def thirds(scores: Scores) -> Scores:
    """Scores of a judge that knows three answers: most differences are ties."""
    return np.digitize(scores, [-0.5, 0.5]) / 2


def holes(scores: Scores, rng: np.random.Generator) -> Scores:
    """One clip in ten has no score."""
    return np.where(rng.random(scores.shape) < 0.1, np.nan, scores)


KINDS: dict[str, Callable[[np.random.Generator, list[float]], Scores]] = {
    "one seed": lambda rng, gains: board(rng, gains, 24, 1),
    "clustered": lambda rng, gains: board(rng, gains, 24, 4),
    "few prompts": lambda rng, gains: board(rng, gains, 10, 3),
    "skewed": lambda rng, gains: board(rng, gains, 24, 2, skewed),
    "ties": lambda rng, gains: thirds(board(rng, gains, 24, 2)),
    "yes or no": lambda rng, gains: (board(rng, gains, 30, 1) > 0.5).astype(np.float64),
    "missing": lambda rng, gains: holes(board(rng, gains, 24, 3), rng),
}
DISCRETE = {"ties", "yes or no"}  # p jumps, so it falls short of the level: at most, not about


def within(rate: float, level: float, count: int, at_most: bool = False) -> bool:
    reach = 2.576 * math.sqrt(level * (1 - level) / count)
    return rate <= level + reach and (at_most or rate >= level - reach)


def p_values(kind: str, gains: list[float], count: int) -> NDArray[np.float64]:
    """Of the pair of `count` boards of two rows."""
    rng = np.random.default_rng([ord(c) for c in kind])
    return np.array([stats.pairwise(KINDS[kind](rng, gains))[0, 1] for _ in range(count)])


def places(rng: np.random.Generator, kind: str, gains: list[float]) -> list[int]:
    scores = KINDS[kind](rng, gains)
    return stats.ranks(np.nanmean(scores, axis=(1, 2)), stats.pairwise(scores), True)


@pytest.mark.parametrize("count", [pytest.param(MANY, marks=pytest.mark.slow), FEW])
@pytest.mark.parametrize("kind", KINDS)
def test_p_values_of_equal_methods(kind: str, count: int) -> None:
    found = p_values(kind, [0.0, 0.0], count)
    for level in (0.01, 0.05, 0.2):
        rate = float((found <= level).mean())
        assert within(rate, level, count, at_most=kind in DISCRETE or kind == "few prompts"), (level, rate)
    assert (found <= 0.2).mean() >= 0.1  # and not by never saying anything


@pytest.mark.parametrize("count", [pytest.param(MANY, marks=pytest.mark.slow), FEW])
@pytest.mark.parametrize("kind", ["clustered", "ties", "missing"])
def test_ranks_of_six_equal_methods(kind: str, count: int) -> None:
    """Any rank but 1 is a false claim."""
    rng = np.random.default_rng(6)
    false = sum(max(places(rng, kind, [0.0] * 6)) > 1 for _ in range(count))
    assert within(false / count, 0.05, count, at_most=True), false / count


@pytest.mark.slow
def test_ranks_of_forty_equal_methods_with_the_far_tail() -> None:
    """780 pairs: more than random flips can tell apart, so `flip_bound` decides."""
    rng = np.random.default_rng(40)
    false = sum(max(places(rng, "clustered", [0.0] * 40)) > 1 for _ in range(200))
    assert within(false / 200, 0.05, 200, at_most=True), false / 200


def test_forty_methods_can_be_told_apart() -> None:
    rng = np.random.default_rng(41)
    found = places(rng, "clustered", [3.0] * 20 + [0.0] * 20)
    assert found == [1] * 20 + [21] * 20


@pytest.mark.parametrize("count", [pytest.param(MANY, marks=pytest.mark.slow), FEW])
@pytest.mark.parametrize(("kind", "least", "most"), [("one seed", 0.67, 0.85), ("clustered", 0.92, 1.0)])
def test_power(kind: str, least: float, most: float, count: int) -> None:
    """A known difference of 0.8. Student's test has power 0.76 (sd 1.41) and 0.97 (sd 1.02) with 24 prompts."""
    rate = float((p_values(kind, [0.8, 0.0], count) <= 0.05).mean())
    assert least <= rate <= most, rate


def test_pretending_that_clips_are_independent_would_be_wrong() -> None:
    """The same boards with every clip as a prompt of its own: what clustering is for."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(FEW):
        scores = board(rng, [0.0, 0.0], 24, 4)
        found.append(stats.pairwise(scores.reshape(2, -1, 1))[0, 1] <= 0.05)
    assert np.mean(found) > 0.12


@pytest.mark.parametrize("count", [pytest.param(400, marks=pytest.mark.slow), 40])
def test_known_groups_are_found(count: int) -> None:
    """Two good, two middling, two bad methods, far apart: ranks 1 1 3 3 5 5, but for 5 of 100 boards."""
    rng = np.random.default_rng(8)
    wrong = sum(places(rng, "clustered", [4.0, 4.0, 2.0, 2.0, 0.0, 0.0]) != [1, 1, 3, 3, 5, 5] for _ in range(count))
    assert within(wrong / count, 0.05, count, at_most=True), wrong / count
