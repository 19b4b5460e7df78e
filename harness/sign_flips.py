"""Sign-flip permutation tests of many paired comparisons at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLIPS = 9999  # random sign flips, where all of them are too many
EXACT = 16  # up to so many prompts all 2**(P-1) sign flips are tried


def sign_flip(sums: ArrayLike, flips: int = FLIPS, seed: int = 0, tail: bool = False) -> Any:
    """Two-sided p of "the sign of each prompt's difference is a coin toss", statistic |sum over prompts|.

    Exact up to `EXACT` prompts; beyond, (1 + hits) / (1 + flips) with random flips, which never reports 0.

    Args:
        sums: `[P]` summed differences of each prompt, or `[P, M]` for M comparisons tested with the same flips.
        tail: where no random flip came as far, report `flip_bound` if that is less than 1 / (1 + flips): for so many
            comparisons that 1 / (1 + flips) would not survive their correction.

    Returns:
        float, or `[M]`.
    """
    table = np.asarray(sums, dtype=np.float64)
    columns = table[:, None] if table.ndim == 1 else table
    prompts = len(columns)
    if prompts <= EXACT:
        codes = np.arange(2 ** max(prompts - 1, 0))  # a pattern and its opposite give the same |sum|: fix one sign
        signs = 1.0 - 2.0 * ((codes[:, None] >> np.arange(prompts)) & 1)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(flips, prompts))
        extra = 1
    slack = 1e-9 * np.abs(columns).sum(axis=0)  # sums of the same numbers in another order are equal
    least = np.abs(columns.sum(axis=0)) - slack
    rows, flipped = np.ascontiguousarray(columns.T), np.ascontiguousarray(signs.T)
    hits = np.empty(len(rows), dtype=np.int64)
    for first in range(0, len(rows), 64):  # so many comparisons stay in a processor's cache
        block = slice(first, first + 64)
        reached = rows[block] @ flipped
        hits[block] = np.count_nonzero(np.abs(reached, out=reached) >= least[block, None], axis=1)
    out = (hits + extra) / (len(signs) + extra)
    if tail and extra:
        out[hits == 0] = np.minimum(out[hits == 0], flip_bound(columns[:, hits == 0]))
    return float(out[0]) if table.ndim == 1 else out


def flip_bound(sums: ArrayLike) -> NDArray[np.float64]:
    """An upper bound of the exact two-sided sign-flip p of each column of `[P, M]`, tight far out: `[M]`, at most 1.

    Chernoff: P(|sum_i e_i d_i| >= t) <= 2 exp(sum_i log cosh(s d_i) - s t) for every s >= 0. The best s solves
    sum_i d_i tanh(s d_i) = t and is found by bisection; where all d_i agree the bound is the exact 2^(1-P).
    """
    d = np.abs(np.asarray(sums, dtype=np.float64))
    scale = d.max(axis=0, initial=0.0)
    d = d / np.where(scale > 0, scale, 1.0)
    t = np.abs(np.asarray(sums, dtype=np.float64).sum(axis=0)) / np.where(scale > 0, scale, 1.0)
    low, high = np.zeros(d.shape[1]), np.full(d.shape[1], 1e6)
    for _ in range(50):
        middle = (low + high) / 2
        short = (d * np.tanh(middle * d)).sum(axis=0) < t
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    log_cosh_less = np.log1p(np.exp(-2 * low * d)) - np.log(2)  # log cosh(s d) - s d
    exponent = log_cosh_less.sum(axis=0) + low * (d.sum(axis=0) - t)
    bound: NDArray[np.float64] = np.minimum(1.0, 2 * np.exp(exponent))
    return bound
