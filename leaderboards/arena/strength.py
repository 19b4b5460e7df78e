"""Strengths of rows from paired judgements with ties: Bradley-Terry as extended by Davidson (1970). Pure numpy.

With strengths pi_i = exp(theta_i) and a tie parameter nu = exp(eta) (Davidson, On extending the Bradley-Terry model to
accommodate ties in paired comparison experiments, JASA 65, equations 2.5 and 2.6):
P(i beats j) = pi_i / (pi_i + pi_j + nu sqrt(pi_i pi_j)), P(tie) = nu sqrt(pi_i pi_j) / (the same). A log-linear model:
its log-likelihood is concave in (theta, eta), and Newton's method finds the one maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness import stats

Floats = NDArray[np.float64]
WIN, TIE, LOSS = range(3)
# Imaginary judgements that keep strengths finite where a row won or lost everything, or where nothing or everything is
# tied: of each row one with a row of average strength, half won and half lost; and one between equals, half of it tied.
PRIOR = 1.0
STEPS = 100


@dataclass(frozen=True)
class Strengths:
    """On a log scale, mean 0: a row one unit stronger wins e = 2.7 times as often as it loses."""

    theta: Floats  # [K]
    low: Floats  # [K], NaN with fewer prompts than an interval needs
    high: Floats
    ties: float  # nu: 2 means as many ties as decisions between equals
    ranks: tuple[int, ...]  # shared where no difference is shown: Holm over all pairs


def fit(pairs: ArrayLike, counts: ArrayLike, rows: int, prior: float = PRIOR) -> Strengths | None:
    """Maximum of likelihood x prior, with intervals; None where the comparisons do not connect all rows.

    A difference of strengths has the larger of two variances: that of the model, and the one from the spread between
    prompts (sandwich), which knows that judgements of the same prompt go together, but is too small where a row wins
    nearly everything. Quantiles are Student's with prompts - 1 degrees of freedom.

    Args:
        pairs: `[M, 2]` row numbers, each unordered pair once.
        counts: `[P, M, 3]` judgements by prompt, row pair and outcome for the first row: win, tie, loss.
    """
    duels, seen = np.asarray(pairs, dtype=np.int64).reshape(-1, 2), np.asarray(counts, dtype=np.float64)
    if not connected(duels[seen.sum(axis=(0, 2)) > 0], rows):
        return None
    x = np.zeros((len(duels), rows))
    x[np.arange(len(duels)), duels[:, 0]], x[np.arange(len(duels)), duels[:, 1]] = 1.0, -1.0
    beta = _newton(x, seen.sum(axis=0), prior)
    covariances = _covariances(x, seen, beta, prior)
    centre = np.eye(rows) - 1 / rows
    theta = centre @ beta[:rows]
    freedom = int((seen.sum(axis=(1, 2)) > 0).sum()) - 1
    reach = stats.student_t((1 - stats.LEVEL) / 2, freedom) if freedom + 1 >= stats.FEWEST else float("nan")
    half = reach * np.sqrt(np.max([np.diag(centre @ c @ centre) for c in covariances], axis=0))
    adjusted = _compare(theta, covariances, freedom)
    return Strengths(
        theta, theta - half, theta + half, float(np.exp(beta[rows])), tuple(stats.ranks(theta, adjusted, True))
    )


def connected(pairs: NDArray[np.int64], rows: int) -> bool:
    """Whether comparisons lead from every row to every other."""
    reached, fresh = {0}, {0}
    while fresh:
        near = {int(b) for a, b in pairs if a in fresh} | {int(a) for a, b in pairs if b in fresh}
        fresh = near - reached
        reached |= fresh
    return len(reached) == rows


def chances(gap: Floats, eta: float) -> Floats:
    """P(win, tie, loss) of rows `gap` = theta_i - theta_j stronger, `[M, 3]`."""
    logits = np.stack([gap / 2, np.full_like(gap, eta), -gap / 2], axis=-1)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _newton(x: Floats, counts: Floats, prior: float) -> Floats:
    """(theta, eta) at the maximum, `[K + 1]`. Without a prior theta is free in its sum: the shortest one is taken."""
    beta = np.zeros(x.shape[1] + 1)
    value = _objective(x, counts, beta, prior)
    for _ in range(STEPS):
        gradient, information = _derivatives(x, counts, beta, prior)
        step = np.linalg.lstsq(information, gradient, rcond=1e-12)[0]
        while (trial := _objective(x, counts, beta + step, prior)) < value - 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
        beta, value = beta + step, trial
        if np.abs(step).max() < 1e-10:
            break
    return beta


def _objective(x: Floats, counts: Floats, beta: Floats, prior: float) -> float:
    theta, eta = beta[:-1], beta[-1]
    likelihood = float((counts * np.log(np.maximum(chances(x @ theta, eta), 1e-300))).sum())
    imagined = -np.logaddexp(theta / 2, -theta / 2).sum() + eta / 2 - np.logaddexp(np.log(2), eta)
    return likelihood + prior * float(imagined)


def _derivatives(x: Floats, counts: Floats, beta: Floats, prior: float) -> tuple[Floats, Floats]:
    """Gradient `[K + 1]` and minus the Hessian `[K + 1, K + 1]` of the objective."""
    theta, eta = beta[:-1], beta[-1]
    p = chances(x @ theta, eta)
    n = counts.sum(axis=1)
    value, tie = _residuals(counts, p)
    wave, share = np.tanh(theta / 2), 1 / (1 + 2 * np.exp(-eta))
    gradient = np.append(x.T @ value - prior * wave / 2, tie.sum() + prior * (0.5 - share))
    mean = p[:, WIN] + p[:, TIE] / 2
    cross = x.T @ (n * p[:, TIE] * (0.5 - mean))
    information = np.zeros((len(beta), len(beta)))
    information[:-1, :-1] = (x.T * (n * (p[:, WIN] + p[:, TIE] / 4 - mean**2))) @ x + prior * np.diag(1 - wave**2) / 4
    information[:-1, -1] = information[-1, :-1] = cross
    information[-1, -1] = (n * p[:, TIE] * (1 - p[:, TIE])).sum() + prior * share * (1 - share)
    return gradient, information


def _residuals(counts: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Observed minus expected value (win 1, tie 1/2) and number of ties of each pair, `[..., M]` twice."""
    n = counts.sum(axis=-1)
    value = counts[..., WIN] + counts[..., TIE] / 2 - n * (p[:, WIN] + p[:, TIE] / 2)
    return value, counts[..., TIE] - n * p[:, TIE]


def _covariances(x: Floats, counts: Floats, beta: Floats, prior: float) -> tuple[Floats, Floats]:
    """Of theta, `[K, K]`: from the model, and from the spread between prompts."""
    rows = x.shape[1]
    inverse = np.linalg.pinv(_derivatives(x, counts.sum(axis=0), beta, prior)[1], rcond=1e-12, hermitian=True)
    used = counts[counts.sum(axis=(1, 2)) > 0]
    value, tie = _residuals(used, chances(x @ beta[:-1], beta[-1]))
    scores = np.column_stack([value @ x, tie.sum(axis=1)])
    middle = scores.T @ scores * len(used) / max(len(used) - 1, 1)
    return np.asarray(inverse[:rows, :rows]), np.asarray((inverse @ middle @ inverse)[:rows, :rows])


def _compare(theta: Floats, covariances: tuple[Floats, Floats], freedom: int) -> Floats:
    """Holm-adjusted two-sided p of every pair of strengths, `[K, K]`."""
    from scipy.special import stdtr

    left, right = np.triu_indices(len(theta), 1)
    out = np.ones((len(theta), len(theta)))
    if not len(left) or freedom + 1 < stats.FEWEST:
        return out
    variances = np.max([c[left, left] + c[right, right] - 2 * c[left, right] for c in covariances], axis=0)
    t = np.abs(theta[left] - theta[right]) / np.sqrt(variances)
    out[left, right] = out[right, left] = stats.holm(2 * stdtr(freedom, -t))
    return out
