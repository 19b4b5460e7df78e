"""How sure a difference is: intervals over prompts, paired tests between methods, ranks with ties. Pure numpy.

Scores come as arrays `[P, S]`: one row per prompt, one column per seed, NaN where there is no value (not applicable,
failed or not made). NaN is dropped and counted, never zero. Clips of one prompt are not independent, so the prompt is
the unit everywhere: resampled whole, with all its seeds, or flipped whole. What is inferred is therefore "other prompts
of the same kind, these training seeds". Every function is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.sign_flips import EXACT, FLIPS, sign_flip

Floats = NDArray[np.float64]

LEVEL = 0.95  # of intervals; 1 - LEVEL is the family-wise error of ranks
DRAWS = 4000  # bootstrap resamples
FEWEST = 5  # prompts for an interval: with fewer even the range of the data covers the mean in under 94 % of cases
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty; NaN where the data do not determine a number."""

    mean: float
    se: float
    low: float
    high: float
    n: int  # values used
    prompts: int  # prompts with at least one value
    dropped: int  # missing values


@dataclass(frozen=True)
class Difference:
    """Paired difference a - b over the clips both have."""

    mean: float
    se: float
    low: float
    high: float
    p: float  # sign-flip permutation test, two-sided; what ranks are built on
    p_bootstrap: float  # two-sided, from the resamples behind the interval
    n: int
    prompts: int


# ---- one method -------------------------------------------------------------------------------------------------


def _clusters(values: ArrayLike) -> tuple[Floats, Floats, int]:
    """Sums and counts of the prompts that have a value, each `[P']`, and the number of missing values."""
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    present = np.isfinite(table)
    counts = present.sum(axis=1).astype(np.float64)
    sums = np.where(present, table, 0.0).sum(axis=1)
    return sums[counts > 0], counts[counts > 0], int((~present).sum())


def mean_se(values: ArrayLike) -> tuple[float, float]:
    """Mean over clips and its standard error, clustered by prompt.

    With T_p the sum and n_p the number of prompt p's values, N = sum n_p and m = sum T_p / N:
    SE^2 = P/(P-1) * sum_p (T_p - n_p m)^2 / N^2 (linearised ratio; with one value per prompt, s / sqrt(P)).
    """
    sums, counts, _ = _clusters(values)
    if not len(sums):
        return float("nan"), float("nan")
    total, prompts = counts.sum(), len(sums)
    mean = sums.sum() / total
    if prompts < 2:
        return float(mean), float("nan")
    spread = ((sums - counts * mean) ** 2).sum() * prompts / (prompts - 1)
    return float(mean), float(np.sqrt(spread) / total)


def smooth(values: ArrayLike, points: int = 400) -> Floats:
    """The trend of a noisy curve `[N]`: a running median over a tenth of it, at least nine values, then a mean of half.

    The median takes no notice of spikes; the mean takes the steps out of the median. Neighbourhoods are cut off at both
    ends. A curve longer than `points` is evaluated at so many places and interpolated between them.
    """
    values = np.asarray(values, dtype=np.float64)
    at = np.linspace(0, len(values) - 1, min(len(values), points)).round().astype(int)
    middle = np.nanmedian(_neighbours(values, max(9, len(values) // 10))[at], axis=1)
    mean = np.nanmean(_neighbours(middle, max(9, len(at) // 10) // 2), axis=1)
    return np.asarray(np.interp(np.arange(len(values)), at, mean))


def _neighbours(values: Floats, window: int) -> Floats:
    """`[N, 2 (window // 2) + 1]`, NaN beyond the ends."""
    padded = np.pad(values, window // 2, constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(padded, window // 2 * 2 + 1)


def student_t(tail: float, freedom: int) -> float:
    """Upper `tail` quantile of Student's t (Abramowitz & Stegun 26.7.5; within 0.2 % of exact from 5 degrees on)."""
    z = _NORMAL.inv_cdf(1 - tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


@lru_cache(maxsize=4)
def _weights(prompts: int, draws: int, seed: int) -> Floats:
    """How often each prompt is drawn in each resample, `[draws, P]`."""
    shares = np.full(prompts, 1 / prompts)
    return np.random.default_rng(seed).multinomial(prompts, shares, size=draws).astype(np.float64)


def _resampled(sums: Floats, counts: Floats, draws: int, seed: int) -> Floats:
    """Means of `draws` prompt resamples, `[draws]`; the same resamples for every array with as many prompts."""
    weights = _weights(len(sums), draws, seed)
    return (weights @ sums) / (weights @ counts)


def _bca(sums: Floats, counts: Floats, means: Floats, level: float) -> tuple[float, float]:
    """Expanded BCa limits: Efron's bias correction and acceleration, then Hesterberg's small-sample widening.

    BCa (Efron 1987) is second-order correct for skewed scores and never leaves the range of the data. Like every
    bootstrap of a mean it is narrow for few prompts; reading the quantiles at sqrt(P/(P-1)) t_{P-1} in place of z
    (Hesterberg 2015, section 5.4) repairs that. Coverage of a nominal 0.95 in 2,000 simulations, plain percentile
    against this: 16 normal scores 0.918 -> 0.941, 16 exponential 0.896 -> 0.932, 40 normal 0.939 -> 0.949.
    """
    prompts, theta = len(sums), sums.sum() / counts.sum()
    below = (means < theta).mean() + (means == theta).mean() / 2
    bias = _NORMAL.inv_cdf(float(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means))))
    leave_one_out = (sums.sum() - sums) / (counts.sum() - counts)
    pull = leave_one_out.mean() - leave_one_out
    scale = (pull**2).sum() ** 1.5
    acceleration = float((pull**3).sum() / (6 * scale)) if scale > 0 else 0.0
    reach = np.sqrt(prompts / (prompts - 1)) * student_t((1 - level) / 2, prompts - 1)
    ends = []
    for z in (bias - reach, bias + reach):
        shrink = 1 - acceleration * z
        ends.append(_NORMAL.cdf(bias + z / shrink) if shrink > 0 else float(z > 0))
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def estimate(values: ArrayLike, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Mean over clips with a prompt-clustered bootstrap interval.

    Args:
        values: `[P, S]` (or `[P]`), NaN for missing.

    Returns:
        NaN interval with fewer than `FEWEST` prompts, NaN error with fewer than two.
    """
    sums, counts, dropped = _clusters(values)
    mean, se = mean_se(values)
    low = high = float("nan")
    if len(sums) >= FEWEST:
        low, high = _bca(sums, counts, _resampled(sums, counts, draws, seed), level)
    return Estimate(mean, se, low, high, int(counts.sum()), len(sums), dropped)


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a proportion `successes / n`; (0, 1) when n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = _NORMAL.inv_cdf((1 + level) / 2)
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


# ---- two methods ------------------------------------------------------------------------------------------------


def paired(a: ArrayLike, b: ArrayLike, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Difference a - b of two methods on the same prompts and seeds; clips that either lacks are left out.

    Args:
        a, b: `[P, S]`, the same prompts and seeds in the same places, NaN for missing.

    Returns:
        With fewer than `FEWEST` common prompts the interval is NaN; with fewer than two p = 1: nothing can be told.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired scores must have one shape, not {first.shape} and {second.shape}")
    sums, counts, _ = _clusters(first - second)
    mean, se = mean_se(first - second)
    if len(sums) < 2:
        nan = float("nan")
        return Difference(mean, se, nan, nan, 1.0, 1.0, int(counts.sum()), len(sums))
    means = _resampled(sums, counts, draws, seed)
    low, high = _bca(sums, counts, means, level) if len(sums) >= FEWEST else (float("nan"), float("nan"))
    tails = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p_bootstrap = min(1.0, 2 * (tails + 1) / (draws + 1))
    return Difference(mean, se, low, high, sign_flip(sums), p_bootstrap, int(counts.sum()), len(sums))


# ---- many methods -----------------------------------------------------------------------------------------------


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values, `[M]`: the i-th smallest times (M - i + 1), made monotone, at most 1."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    out = np.empty_like(values)
    out[order] = np.minimum(stepped, 1.0)
    return out


def pairwise(tables: ArrayLike) -> Floats:
    """Holm-adjusted sign-flip p of every pair of K methods, symmetric `[K, K]` with ones on the diagonal.

    Args:
        tables: `[K, P, S]`. A pair is compared on the clips both have; with fewer than two such prompts p = 1.

    So many pairs that the least p of random flips could not survive the correction are also held to `flip_bound`.
    """
    table = np.asarray(tables, dtype=np.float64)
    left, right = np.triu_indices(len(table), 1)
    out = np.ones((len(table), len(table)))
    if not len(left):
        return out
    sums, common = np.empty((len(left), table.shape[1])), np.empty(len(left))
    for first in range(0, len(left), 256):  # bounds memory at 256 comparisons
        block = slice(first, first + 256)
        differences = table[left[block]] - table[right[block]]  # [256, P, S]
        sums[block] = np.nansum(differences, axis=2)
        common[block] = np.isfinite(differences).any(axis=2).sum(axis=1)
    p = np.atleast_1d(sign_flip(sums.T, tail=many(len(left))))
    p[common < 2] = 1.0
    out[left, right] = out[right, left] = holm(p)
    return out


def many(pairs: int) -> bool:
    """More pairs than random flips alone can tell apart after Holm's correction."""
    return pairs > (1 - LEVEL) * (1 + FLIPS)


def least_p(prompts: int, pairs: int) -> float:
    """The smallest p that `pairwise` can find for one of `pairs` pairs, before Holm's correction."""
    return 2.0 ** (1 - prompts) if prompts <= EXACT or many(pairs) else 1 / (1 + FLIPS)


def ranks(means: ArrayLike, adjusted: ArrayLike, higher_is_better: bool, alpha: float = 1 - LEVEL) -> list[int]:
    """Standard competition ranks with statistical ties.

    The best mean leads. Every method whose Holm-adjusted paired p against the leader is above `alpha` shares the
    leader's rank. The best of the others leads the next group, whose rank is 1 + the number of methods before it; and
    so on. Two neighbours of different rank may thus be indistinguishable from each other; a method is always
    distinguishable from the leader of each group above its own. Under the null of no difference at all, the chance that
    any method is ranked below another is at most `alpha`, because Holm covers all pairs.

    Args:
        means: `[K]`, finite.
        adjusted: `[K, K]` from `pairwise`.
    """
    sign = -1.0 if higher_is_better else 1.0
    left = [int(i) for i in np.argsort(sign * np.asarray(means, dtype=np.float64), kind="stable")]
    p, out, rank = np.asarray(adjusted), [0] * len(left), 1
    while left:
        leader = left[0]
        group = [i for i in left if i == leader or p[leader, i] > alpha]
        for i in group:
            out[i] = rank
        rank += len(group)
        left = [i for i in left if i not in group]
    return out
