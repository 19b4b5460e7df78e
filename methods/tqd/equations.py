"""TQD, timestep-aware quality decoupling: what it computes, as functions of scores. All arrays `[B]` or `[N]` float64.

m is the normalised motion quality (MQ), q the normalised visual quality (VQ), d = m - q.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from harness.api import UserError

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


def score_bounds(scores: Array, name: str = "score") -> tuple[float, float]:
    """(min, max) over the rows that have a score; a constant column is warned about.

    Raises UserError when no row has a score.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise UserError(f'score column "{name}" holds no number', "score the training set first")
    low, high = float(known.min()), float(known.max())
    if low == high:
        log.warning('score column "%s" is constant (%g): it is normalised to 0.5 and selects nothing', name, low)
    return low, high


def normalise(scores: Array, bounds: tuple[float, float] | None = None) -> Array:
    """n(s) = (s - min) / (max - min) over the training set (Alg. 1, line 2); 0.5 when constant, NaN stays NaN."""
    low, high = bounds or score_bounds(scores)
    if low == high:
        return np.where(np.isfinite(scores), 0.5, np.nan)
    return np.where(np.isfinite(scores), (scores - low) / (high - low), np.nan)


def keep_probability(m: Array, q: Array) -> Array:
    """p_sample = max(q, m) (Eq. 1); 0 for a clip without both scores."""
    return np.nan_to_num(np.maximum(m, q), nan=0.0)


def beta_mean(m: Array, q: Array) -> Array:
    """mu = 0.5 + 0.5 (m - q) (Eq. 3): good motion trains at high noise, good looks at low noise."""
    return 0.5 + 0.5 * (m - q)


def concentration(m: Array, q: Array, k_base: float, k_max: float) -> Array:
    """kappa = k_base + (k_max - k_base) |m - q| (Eq. 4): the more one-sided a clip, the narrower its law."""
    return k_base + (k_max - k_base) * np.abs(m - q)


def beta_parameters(m: Array, q: Array, k_base: float, k_max: float, floor: float = 1e-3) -> tuple[Array, Array]:
    """a = mu kappa, b = (1 - mu) kappa of t ~ Beta(a, b) (Eq. 2), at least `floor`: mu in {0, 1} has no Beta law."""
    mu, kappa = beta_mean(m, q), concentration(m, q, k_base, k_max)
    return np.maximum(mu * kappa, floor), np.maximum((1 - mu) * kappa, floor)


def beta_quantile(u: Array, a: Array, b: Array) -> Array:
    """t with P(Beta(a, b) <= t) = u, u in [0, 1): the inverse regularised incomplete beta function."""
    return betaincinv(a, b, u)
