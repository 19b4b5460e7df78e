"""The distance: against the official package's numbers, closed forms, and itself in other clothes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from metrics.cdfvd import frechet
from metrics.cdfvd.bootstrap import halves, interval
from metrics.cdfvd.frechet import Gaussian, distance, nuclear_norm
from tests.metrics.cdfvd import seeded

OFFICIAL: dict[str, Any] = json.loads(Path(__file__).with_name("official_outputs.json").read_text())


@cache
def pair(case: str) -> tuple[Gaussian, Gaussian]:
    first, second = seeded.features(case)
    return Gaussian.of_features(first), Gaussian.of_features(second)


def statistics(g: Gaussian) -> Gaussian:
    return Gaussian.of_statistics(g.mean, g.covariance, g.count)


@pytest.mark.parametrize("case", seeded.FRECHET)
def test_the_official_distance(case: str) -> None:
    """cd-fvd 0.1.1 on SciPy 1.17.1; where N < D its sqrtm is right to about 1e-7 itself."""
    assert distance(*pair(case)) == pytest.approx(OFFICIAL["frechet"][case]["distance"], rel=1e-6)


@pytest.mark.parametrize("case", seeded.FRECHET)
def test_the_official_statistics(case: str) -> None:
    ours, official = pair(case)[0], OFFICIAL["frechet"][case]
    assert ours.mean[:3] == pytest.approx(official["mean"], rel=1e-9)
    assert ours.covariance[:2, :2].tolist() == [pytest.approx(row, rel=1e-9) for row in official["covariance"]]


def test_diagonal_gaussians_have_a_closed_form() -> None:
    """|mu1 - mu2|^2 + sum (s1 - s2)^2 of standard deviations."""
    deviations = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.0, 0.25])
    first = Gaussian.of_statistics([0, 0, 0], np.diag(deviations[0] ** 2), 10)
    second = Gaussian.of_statistics([1, -2, 0], np.diag(deviations[1] ** 2), 10)
    assert distance(first, second) == pytest.approx(5 + 4 + 4 + 0.0625, rel=1e-12)


def test_a_population_covariance() -> None:
    assert Gaussian.of_features([[0.0], [2.0]]).covariance[0, 0] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("case", ["d16", "d64, fewer clips", "d64, fewer on one side", "d400, fewer clips"])
def test_features_statistics_and_mixtures_agree(case: str) -> None:
    first, second = pair(case)
    wanted = distance(first, second)
    for a, b in ((first, statistics(second)), (statistics(first), second), (statistics(first), statistics(second))):
        assert distance(a, b) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("case", ["d16", "d64, fewer clips", "d64, fewer on one side", "d400, fewer clips"])
def test_symmetric_to_the_last_bit(case: str) -> None:
    first, second = pair(case)
    assert distance(first, second) == distance(second, first)
    assert distance(statistics(first), second) == distance(second, statistics(first))


@pytest.mark.parametrize("case", ["d16", "d64, fewer clips", "d400, fewer clips"])
def test_nothing_between_equal_sets(case: str) -> None:
    first = pair(case)[0]
    again = Gaussian.of_features(seeded.features(case)[0])
    assert 0 <= distance(first, again) < 1e-11 * first.trace
    assert 0 <= distance(statistics(first), statistics(again)) < 1e-6 * first.trace


def test_the_fast_form_is_left_when_it_is_not_certain() -> None:
    """Nearly equal sets whose spectrum spans nine decades: eigenvalues alone would lose the distance."""
    rng = np.random.default_rng(0)
    scale = np.logspace(0, -4.5, 60)
    x = rng.normal(size=(200, 60)) * scale
    first = Gaussian.of_features(x)
    second = Gaussian.of_features(x * (1 + 1e-6 * rng.normal(size=60)))
    exact = float(np.square(first.mean - second.mean).sum()) + first.trace + second.trace
    exact -= 2 * nuclear_norm(first.root @ second.root.T)
    assert distance(first, second) == max(0.0, exact)
    square = frechet._square(second, first)
    assert square is not None
    assert 2 * frechet._sum_of_roots(square)[1] > frechet.CERTAIN * exact


@pytest.mark.parametrize("case", ["d16", "d64, fewer clips", "d64, fewer on one side", "d400, fewer clips"])
def test_both_forms_are_right_where_both_are_certain(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = distance(*pair(case))
    monkeypatch.setattr(frechet, "_square", lambda *_: None)
    assert distance(*pair(case)) == pytest.approx(wanted, rel=1e-8)


def test_one_clip_a_side() -> None:
    assert distance(Gaussian.of_features([[1.0, 2.0]]), Gaussian.of_features([[4.0, 6.0]])) == 25.0


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 4)), np.zeros(4), np.array([[1.0, np.nan]]), np.array([[1e39, 0.0]])], ids=str
)
def test_features_that_are_none(bad: np.ndarray) -> None:
    with np.errstate(over="ignore"), pytest.raises(UserError, match="empty, not finite"):
        Gaussian.of_features(bad)


def test_statistics_that_are_none() -> None:
    with pytest.raises(UserError, match="does not go with"):
        Gaussian.of_statistics([0, 0], np.eye(3), 5)
    with pytest.raises(UserError, match="not symmetric"):
        Gaussian.of_statistics([0, 0], [[1, 0.5], [0, 1]], 5)
    with pytest.raises(UserError, match="of 16 and of 400 dimensions"):
        distance(pair("d16")[0], pair("d400, fewer clips")[0])


# ---- intervals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["d16", "d64, fewer clips", "d64, fewer on one side"])
def test_halves_are_distances_of_halves(case: str) -> None:
    features, reference = seeded.features(case)[0], pair(case)[1]
    found = halves(features, reference, 5, seed=3)
    rng = np.random.default_rng(3)
    for value in found:
        half = rng.permutation(len(features))[: len(features) // 2]
        assert value == pytest.approx(distance(Gaussian.of_features(features[half]), reference), rel=1e-6)


@pytest.mark.parametrize(("size", "clips"), [(16, 120), (48, 30)])
def test_the_standard_error_is_that_over_sets_of_clips(size: int, clips: int) -> None:
    rng = np.random.default_rng(0)
    scale = np.linspace(1, 0.1, size)
    reference = Gaussian.of_features(rng.normal(size=(400, size)) * scale)
    values, errors, covered = [], [], []
    for _ in range(60):
        drawn = (rng.normal(size=(clips, size)) * scale * 1.1 + 0.05).astype(np.float32)
        value = distance(Gaussian.of_features(drawn), reference)
        found = interval(drawn, reference, value, 60, 0)
        values.append(value)
        errors.append(found.se)
        covered.append((found.low, found.high))
    assert 0.8 < np.mean(errors) / np.std(values) < 1.5  # a bootstrap with replacement: 2.9 at N = 40, D = 64
    middle = np.mean(values)
    assert 0.88 <= np.mean([low <= middle <= high for low, high in covered]) <= 1


def test_an_interval_repeats_and_needs_clips() -> None:
    features, reference = seeded.features("d16")[0], pair("d16")[1]
    assert interval(features, reference, 1.0, 30, 5) == interval(features, reference, 1.0, 30, 5)
    assert interval(features, reference, 1.0, 30, 5) != interval(features, reference, 1.0, 30, 6)
    with pytest.raises(UserError, match="3 clips have no interval"):
        interval(features[:3], reference, 1.0, 30, 5)
