"""Statistics against hand-computed numbers, SciPy, textbook examples and simulations with fixed seeds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from harness import stats
from harness.sign_flips import flip_bound

NAN = float("nan")


def test_mean_and_se_of_one_seed_are_the_textbook_ones() -> None:
    values = [0.1, 0.4, 0.4, 0.9]
    mean, se = stats.mean_se(values)
    assert mean == pytest.approx(0.45)
    assert se == pytest.approx(scipy.stats.sem(values))


def test_se_is_clustered_by_prompt() -> None:
    """Two prompts, two identical seeds: twice the values tell nothing more. By hand: |0.2 - 0.6| / 2 = 0.2."""
    mean, se = stats.mean_se([[0.2, 0.2], [0.6, 0.6]])
    assert (mean, se) == (pytest.approx(0.4), pytest.approx(0.2))
    assert stats.mean_se([0.2, 0.2, 0.6, 0.6])[1] == pytest.approx(0.2 / math.sqrt(3))


def test_missing_values_are_dropped_and_counted_never_zero() -> None:
    """By hand: prompt sums 1.0 (n 2) and 0.2 (n 1), mean 1.2 / 3 = 0.4, residuals +0.2 and -0.2,
    SE^2 = 2 * (0.04 + 0.04) / 9."""
    found = stats.estimate([[0.5, 0.5], [0.2, NAN], [NAN, NAN]])
    assert found.mean == pytest.approx(0.4)
    assert found.se == pytest.approx(math.sqrt(0.16) / 3)
    assert (found.n, found.prompts, found.dropped) == (3, 2, 3)


def test_too_little_data_gives_nan_not_zero() -> None:
    none, one = stats.estimate([NAN, NAN]), stats.estimate([0.7])
    assert math.isnan(none.mean)
    assert none.n == 0
    assert none.dropped == 2
    assert one.mean == 0.7
    assert math.isnan(one.se)
    assert math.isnan(one.low)
    assert stats.paired([0.7], [0.2]).p == 1.0
    assert math.isnan(stats.estimate([0.1, 0.2, 0.3, 0.4]).low)
    assert not math.isnan(stats.estimate([0.1, 0.2, 0.3, 0.4, 0.5]).low)
    assert math.isnan(stats.paired([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]).high)


@pytest.mark.parametrize("freedom", [5, 8, 15, 40, 200])
@pytest.mark.parametrize("tail", [0.05, 0.025, 0.005])
def test_student_t_quantile(freedom: int, tail: float) -> None:
    assert stats.student_t(tail, freedom) == pytest.approx(scipy.stats.t.isf(tail, freedom), rel=2e-3)


def test_interval_agrees_with_scipy_bca_up_to_the_small_sample_widening() -> None:
    values = np.random.default_rng(3).beta(4, 2, 60)
    ours = stats.estimate(values, draws=20_000)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=0).confidence_interval
    widening = math.sqrt(60 / 59) * scipy.stats.t.isf(0.025, 59) / scipy.stats.norm.isf(0.025)
    assert (ours.high - ours.low) / (theirs.high - theirs.low) == pytest.approx(widening, rel=0.02)
    assert ours.low == pytest.approx(theirs.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.high, abs=0.004)


def test_expanded_bca_formula() -> None:
    """Efron 1987, equations 2.3 and 6.6, with SciPy's normal and t, on a resampling distribution given as a grid."""
    values = np.array([0.1, 0.2, 0.2, 0.3, 0.5, 1.9])
    n, theta, grid = len(values), values.mean(), np.linspace(-1, 1.5, 30_001)
    jackknife = np.array([np.delete(values, i).mean() for i in range(n)])
    pull = jackknife.mean() - jackknife
    a = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z0 = scipy.stats.norm.ppf((grid < theta).mean())
    reach = math.sqrt(n / (n - 1)) * scipy.stats.t.isf(0.05, n - 1)
    expected = []
    for z in (z0 - reach, z0 + reach):
        expected.append(-1 + 2.5 * scipy.stats.norm.cdf(z0 + z / (1 - a * z)))
    assert a > 0.1
    assert z0 > 0.1
    assert stats._bca(values, np.ones(n), grid, 0.90) == pytest.approx(expected, abs=2e-3)


def test_interval_is_deterministic_and_follows_shift_and_scale() -> None:
    values = np.random.default_rng(0).normal(size=(20, 2))
    first, moved = stats.estimate(values), stats.estimate(3 * values + 1)
    assert first == stats.estimate(values)
    assert (moved.low, moved.high) == (pytest.approx(3 * first.low + 1), pytest.approx(3 * first.high + 1))


def test_constant_scores_have_an_empty_interval() -> None:
    found = stats.estimate(np.full((8, 2), 1.0))
    assert (found.low, found.high, found.se) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("prompts", "draw", "mean"),
    [
        (12, lambda rng, n: rng.normal(0, 1, (n, 1)), 0.0),
        (16, lambda rng, n: rng.exponential(1, (n, 1)), 1.0),
        (16, lambda rng, n: rng.normal(0, 1, (n, 1)) + 0.2 * rng.normal(0, 1, (n, 3)), 0.0),  # seeds of one prompt
    ],
    ids=["normal", "skewed", "clustered"],
)
def test_coverage(prompts: int, draw: object, mean: float) -> None:
    """A nominal 95 % interval holds the truth in 92 to 98 of 100 cases; 600 trials have a standard error of 0.9 %."""
    rng = np.random.default_rng(11)
    found = [stats.estimate(draw(rng, prompts), draws=1000) for _ in range(600)]  # type: ignore[operator]
    assert np.mean([e.low <= mean <= e.high for e in found]) == pytest.approx(0.95, abs=0.03)


def test_ignoring_clusters_would_undercover() -> None:
    """The same clustered scores, seeds treated as prompts: what clustering is for."""
    rng, hits = np.random.default_rng(11), 0
    for _ in range(300):
        scores = rng.normal(0, 1, (16, 1)) + 0.2 * rng.normal(0, 1, (16, 3))
        found = stats.estimate(scores.ravel(), draws=500)
        hits += found.low <= 0 <= found.high
    assert hits / 300 < 0.85


def test_wilson() -> None:
    """Agresti & Coull 1998: 0 of 10 gives 0 to 0.2775; SciPy for others."""
    assert stats.wilson(0, 10) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.2775, abs=5e-5))
    for k, n in ((3, 10), (81, 263), (20, 20)):
        theirs = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        assert stats.wilson(k, n) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert stats.wilson(0, 0) == (0.0, 1.0)


# ---- two methods ------------------------------------------------------------------------------------------------


def test_sign_flip_by_hand() -> None:
    """Differences 1, 2, 3: |sum| 6 is reached by 2 of 8 sign patterns."""
    assert stats.sign_flip([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert stats.sign_flip([1.0, -2.0, 3.0]) == pytest.approx(6 / 8)  # |sum| 2: all but +-(1 + 2 - 3)
    assert stats.sign_flip([0.0, 0.0]) == 1.0


def test_sign_flip_equals_enumeration_and_scipy() -> None:
    sums = np.random.default_rng(5).normal(0.4, 1, 10)
    every = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=10)]
    exact = np.mean(np.array(every) >= abs(sums.sum()) - 1e-12)
    theirs = scipy.stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert stats.sign_flip(sums) == pytest.approx(exact)
    assert stats.sign_flip(sums) == pytest.approx(theirs.pvalue)


def test_sign_flip_with_many_prompts_is_near_exact_and_never_zero() -> None:
    sums = np.random.default_rng(5).normal(0.3, 1, 40)
    z = abs(sums.sum()) / math.sqrt((sums**2).sum())  # normal limit of the flip distribution
    assert stats.sign_flip(sums) == pytest.approx(2 * scipy.stats.norm.sf(z), abs=0.01)
    assert stats.sign_flip(np.ones(40)) == pytest.approx(1 / (1 + stats.FLIPS))


def test_many_comparisons_at_once_are_the_single_ones() -> None:
    table = np.random.default_rng(1).normal(0.2, 1, (12, 300))
    together = stats.sign_flip(table)
    assert [together[i] for i in (0, 255, 256, 299)] == [stats.sign_flip(table[:, i]) for i in (0, 255, 256, 299)]


def test_paired_difference_has_the_right_sign_and_drops_unpaired_clips() -> None:
    a = np.array([[0.9, 0.8], [0.7, NAN], [0.6, 0.5]])
    b = np.array([[0.5, 0.4], [0.4, 0.1], [NAN, 0.3]])
    found = stats.paired(a, b)
    assert found.mean == pytest.approx((0.4 + 0.4 + 0.3 + 0.2) / 4)
    assert (found.n, found.prompts) == (4, 3)
    assert found.p == pytest.approx(2 / 8)
    assert stats.paired(b, a).mean == pytest.approx(-found.mean)
    with pytest.raises(ValueError, match="one shape"):
        stats.paired(a, b[:2])


def test_pairing_removes_the_difficulty_of_prompts() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 1, 30)
    a, b = hard + rng.normal(0.1, 0.05, 30), hard + rng.normal(0, 0.05, 30)
    found = stats.paired(a, b)
    assert found.high - found.low < 0.1 < stats.estimate(a).high - stats.estimate(a).low
    assert found.p < 0.001
    assert found.p_bootstrap == pytest.approx(2 / 4001)


def test_sign_flip_false_positive_rate() -> None:
    """Under the null, p < 0.05 in at most about 5 of 100 trials (800 trials: standard error 0.8 %)."""
    null = np.random.default_rng(9).normal(0, 1, (14, 800))
    assert np.mean(stats.sign_flip(null) < 0.05) == pytest.approx(0.05, abs=0.016)


# ---- many methods -----------------------------------------------------------------------------------------------


def test_holm_textbook() -> None:
    """Four p-values 0.01, 0.04, 0.03, 0.005: adjusted 0.03, 0.06, 0.06, 0.02 (R: p.adjust(p, "holm"))."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9, 0.04]) == pytest.approx([1.0, 1.0, 0.12])
    assert stats.holm([]).shape == (0,)


def test_ranks_by_hand() -> None:
    """A leads; B is a tie with A, C and D are not; D is a tie with C. Competition ranks 1, 1, 3, 3."""
    p = np.ones((4, 4))
    for i, j in ((0, 2), (0, 3), (1, 3)):
        p[i, j] = p[j, i] = 0.01
    assert stats.ranks([0.9, 0.8, 0.5, 0.4], p, True) == [1, 1, 3, 3]
    assert stats.ranks([0.4, 0.5, 0.8, 0.9], p, False) == [1, 1, 3, 3]


def test_ranks_follow_the_direction() -> None:
    """All pairs separated: plain ranks, reversed when lower is better."""
    p = np.full((3, 3), 0.001)
    assert stats.ranks([0.2, 0.9, 0.5], p, True) == [3, 1, 2]
    assert stats.ranks([0.2, 0.9, 0.5], p, False) == [1, 3, 2]


def test_a_noisy_method_ties_with_a_leader_that_beats_a_better_but_steadier_one() -> None:
    """A 0.9, B 0.8 (significantly worse than A), C 0.7 (noisy, not significantly worse): C shares A's rank."""
    p = np.ones((3, 3))
    p[0, 1] = p[1, 0] = 0.01
    assert stats.ranks([0.9, 0.8, 0.7], p, True) == [1, 3, 1]


def test_pairwise_is_holm_over_all_pairs() -> None:
    rng = np.random.default_rng(4)
    tables = rng.normal(0, 0.3, (3, 10, 2)) + np.array([0, 0.1, 0.8])[:, None, None]
    raw = [stats.paired(tables[i], tables[j]).p for i, j in ((0, 1), (0, 2), (1, 2))]
    found = stats.pairwise(tables)
    assert found[[0, 0, 1], [1, 2, 2]] == pytest.approx(stats.holm(raw))
    assert np.array_equal(found, found.T)
    tables[2] = NAN
    assert stats.pairwise(tables)[0, 2] == 1.0  # nothing in common: nothing can be told


def test_family_wise_error_of_ranks() -> None:
    """Five equal methods: any rank but 1 is a false claim, allowed in 5 of 100 boards."""
    rng, false = np.random.default_rng(8), 0
    for _ in range(300):
        tables = rng.normal(0, 1, (12, 1))[None] + rng.normal(0, 0.5, (5, 12, 1))
        places = stats.ranks(tables.mean(axis=(1, 2)), stats.pairwise(tables), True)
        false += max(places) > 1
    assert false / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


# ---- very many methods --------------------------------------------------------------------------------------------


def test_flip_bound_is_never_below_the_exact_p_and_equals_it_at_the_end() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.5, 1.0, 2.0):
        table = rng.normal(shift, 1, (14, 50))
        bound, exact = flip_bound(table), stats.sign_flip(table)
        assert np.all(bound >= exact * (1 - 1e-6))
        far = exact < 0.01
        assert np.all(bound[far] <= 12 * exact[far])  # and of use far out
    agreed = np.abs(table)
    assert flip_bound(agreed) == pytest.approx(stats.sign_flip(agreed), rel=1e-6)
    assert flip_bound(np.ones((24, 1))) == pytest.approx(2.0**-23)
    assert flip_bound(np.zeros((24, 1))) == pytest.approx(1.0)
    assert flip_bound(1e-6 * table) == pytest.approx(flip_bound(table))


def test_the_far_tail_is_used_only_where_flips_cannot_tell() -> None:
    rng = np.random.default_rng(4)
    table = np.concatenate([rng.normal(3, 1, (30, 2)), rng.normal(0.3, 1, (30, 40))], axis=1)
    plain, tail = stats.sign_flip(table), stats.sign_flip(table, tail=True)
    least = plain == 1 / (1 + stats.FLIPS)
    assert least[:2].all()
    assert np.array_equal(plain[~least], tail[~least])
    assert np.all(tail[:2] < 1e-7)
    assert [stats.many(pairs) for pairs in (120, 496, 528)] == [False, False, True]  # 16, 32, 33 rows
    assert stats.least_p(24, 120) == 1e-4
    assert stats.least_p(24, 19_900) == 2.0**-23
    assert stats.least_p(10, 120) == 2.0**-9


def test_pairs_are_the_same_in_blocks() -> None:
    rng = np.random.default_rng(5)
    tables = rng.normal(size=(25, 18, 2))  # 300 pairs
    tables[3, :17] = np.nan
    found = stats.pairwise(tables)
    raw = [stats.paired(tables[i], tables[j]).p for i in range(25) for j in range(i + 1, 25)]
    left, right = np.triu_indices(25, 1)
    assert np.array_equal(found[left, right], stats.holm(raw))
