"""How far raters agree, and what a majority of them says. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats import DRAWS, FEWEST, LEVEL

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Over the comparisons that two or more raters judged; NaN where nothing can be told."""

    alpha: float  # Krippendorff's, nominal: 1 all agree, 0 as by chance
    low: float
    high: float
    raw: float  # share of pairs of raters that gave the same answer
    units: int  # comparisons with two or more judgements


def coincidences(counts: ArrayLike) -> Floats:
    """Of each unit its coincidence matrix, `[U, C, C]`: sum to the unit's judgements, all 0 with fewer than two.

    Args:
        counts: `[U, C]`, how many raters put unit u into category c; raters may be missing.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: o_ck = sum_u n_uc (n_uk - [c = k]) /
    (m_u - 1).
    """
    n = np.asarray(counts, dtype=np.float64)
    pairs = n[:, :, None] * n[:, None, :] - np.eye(n.shape[1]) * n[:, :, None]
    return np.asarray(pairs / np.maximum(n.sum(axis=1) - 1, 1)[:, None, None])


def alpha(coincidence: ArrayLike) -> Any:
    """Nominal alpha of coincidence matrices `[..., C, C]`: 1 - observed / expected disagreement.

    NaN where all judgements are in one category: agreement beyond chance is not defined there.
    """
    o = np.asarray(coincidence, dtype=np.float64)
    n_c = o.sum(axis=-1)
    n = n_c.sum(axis=-1)
    observed = n - np.trace(o, axis1=-2, axis2=-1)
    expected = (n**2 - (n_c**2).sum(axis=-1)) / np.maximum(n - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)[()]


def agreement(counts: ArrayLike, prompts: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Agreement:
    """Alpha with a percentile interval over resampled prompts, and raw agreement.

    Args:
        counts: `[U, C]` as for `coincidences`.
        prompts: `[U]`, which prompt each unit belongs to, whole numbers from 0.
    """
    n, groups = np.asarray(counts, dtype=np.float64), np.asarray(prompts)
    usable = n.sum(axis=1) >= 2
    n, groups = n[usable], groups[usable]
    if not len(n):
        nan = float("nan")
        return Agreement(nan, nan, nan, nan, 0)
    whole = coincidences(n)
    kinds, where = np.unique(groups, return_inverse=True)
    by_prompt = np.zeros((len(kinds), *whole.shape[1:]))
    np.add.at(by_prompt, where, whole)
    low = high = float("nan")
    if len(kinds) >= FEWEST:
        times = np.random.default_rng(seed).multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), size=draws)
        found = alpha(np.tensordot(times.astype(np.float64), by_prompt, axes=1))
        found = found[np.isfinite(found)]
        if len(found):
            low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    same, all_ = (n * (n - 1)).sum(), (n.sum(axis=1) * (n.sum(axis=1) - 1)).sum()
    return Agreement(float(alpha(whole.sum(axis=0))), float(low), float(high), float(same / all_), len(n))


def majority(counts: ArrayLike) -> NDArray[np.int64]:
    """The category that more than half of a unit's raters chose, `[U]`; -1 where there is none."""
    n = np.asarray(counts, dtype=np.float64)
    best = n.argmax(axis=1)
    return np.where(2 * n.max(axis=1) > n.sum(axis=1), best, -1).astype(np.int64)
