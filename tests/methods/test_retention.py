"""Drawing rows by keep probability: marginals, coupling, limits."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from harness.api import UserError
from methods.supervised.retention import KeepAll, Retention, RetentionOptions, draw_rejected, draw_weighted
from tests.methods.common import services

P = np.array([0.2, 0.5, 1.0])
N = 60_000


class Given(Retention):
    """Keeps row i with the i-th of these probabilities."""

    p_given: Any = P

    def probability(self) -> Any:
        return np.asarray(self.p_given, dtype=np.float64)


def given(p: Any, usable: Any = None, **settings: Any) -> Retention:
    cls = type("Some", (Given,), {"p_given": p})
    usable = np.ones(len(p), dtype=bool) if usable is None else np.array(usable)
    return cls(RetentionOptions(**settings), services([0.0] * len(p), [0.0] * len(p)), usable)


def assert_marginal(rows: Any, expected: Any) -> None:
    expected, n = np.asarray(expected), len(rows)
    share = np.bincount(rows, minlength=len(expected)) / n
    assert (np.abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / n)).all(), share


def test_both_modes_have_the_same_marginal() -> None:  # O-TQD5
    expected = P / P.sum()
    np.testing.assert_allclose(expected, [0.1176470588, 0.2941176471, 0.5882352941], atol=1e-10)
    for mode in ("reject", "weighted"):
        assert_marginal(given(P, mode=mode).draw(np.random.default_rng(0), N), expected)


def test_proposals_per_accepted_row() -> None:  # O-TQD5: N / sum p
    rng, n = np.random.default_rng(1), N
    accepted = len(draw_rejected(rng, P, n, proposals=n))
    expected = P.mean()
    assert 1 / expected == pytest.approx(1.7647058824)
    assert abs(accepted / n - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    assert given(P).kept == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_order_of_rows_carries_no_preference(size: int) -> None:
    """Small batches cut the accepted rows short; every place must still have the marginal."""
    part, rng = given(P), np.random.default_rng(2)
    drawn = np.stack([part.draw(rng, size) for _ in range(4000)])
    for place in (0, size - 1):
        assert_marginal(drawn[:, place], P / P.sum())


def test_impossible_rows_are_never_drawn() -> None:
    p = np.array([0.0, 0.5, 0.0, 1.0, 0.0])
    for mode in ("reject", "weighted"):
        assert set(given(p, mode=mode).draw(np.random.default_rng(0), 5000).tolist()) == {1, 3}
    cumulative = np.cumsum(p) / p.sum()
    last = np.nextafter(1, 0)
    rng: Any = type("Rng", (), {"random": lambda self, n: np.array([0.0, 1 / 3, last])})()
    assert draw_weighted(rng, cumulative, 3).tolist() == [1, 3, 3]


def test_unusable_rows_are_never_drawn() -> None:
    part = given([1.0, np.nan, 1.0], usable=[True, False, True])
    assert set(part.draw(np.random.default_rng(0), 500).tolist()) == {0, 2}
    everything = KeepAll(RetentionOptions(), services([0.0] * 3, [0.0] * 3), np.array([False, True, True]))
    assert set(everything.draw(np.random.default_rng(0), 500).tolist()) == {1, 2}


def test_keeping_all_is_the_default_draw() -> None:
    part = KeepAll(RetentionOptions(), services(), np.ones(6, dtype=bool))
    for seed in range(5):
        plain = np.random.default_rng(seed).integers(0, 6, 16)
        assert part.draw(np.random.default_rng(seed), 16).tolist() == plain.tolist()


def test_rejection_keeps_a_subset_of_the_plain_draw_first() -> None:
    for seed in range(20):
        plain = np.random.default_rng(seed).integers(0, 3, 8).tolist()
        kept = draw_rejected(np.random.default_rng(seed), P, 8, proposals=8).tolist()
        position = iter(plain)
        assert all(row in position for row in kept)  # in the same order


def test_when_tries_run_out_the_rest_is_drawn_by_weight(caplog: pytest.LogCaptureFixture) -> None:
    p = np.array([3e-4, 0.0, 1e-4])
    part = given(p, tries=2)
    with caplog.at_level(logging.WARNING):
        rows = part.draw(np.random.default_rng(0), 20_000)
        part.draw(np.random.default_rng(1), 20_000)
    assert len(rows) == 20_000
    assert_marginal(rows, p / p.sum())
    assert caplog.text.count("drawing them by weight") == 1


@pytest.mark.parametrize("usable", [[True, True], [False, False]])
def test_nothing_to_draw_is_an_error(usable: list[bool]) -> None:
    with pytest.raises(UserError, match="no row"):
        given([0.0, 0.0], usable=usable)


@pytest.mark.parametrize("p", [[0.5, 1.5], [-0.1, 1.0], [np.nan, 1.0]])
def test_what_is_no_probability_is_an_error(p: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilities must lie"):
        given(p)


def test_draws_follow_the_generator_alone() -> None:
    part = given(P)
    first = part.draw(np.random.default_rng(3), 32)
    part.draw(np.random.default_rng(4), 32)
    assert part.draw(np.random.default_rng(3), 32).tolist() == first.tolist()
    assert first.dtype == np.int64
