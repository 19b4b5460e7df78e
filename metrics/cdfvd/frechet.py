"""The Frechet distance between two Gaussians fitted to features, exact at any number of clips. Pure numpy.

    d = |mu1 - mu2|^2 + Tr S1 + Tr S2 - 2 Tr (S1 S2)^(1/2),    S = sum (x - mu)(x - mu)^T / N

(cd-fvd 0.1.1, fvd.py, compute_fvd_from_stats; metric_utils.py, FeatureStats). With roots S = R^T R the last trace is
the nuclear norm of R1 R2^T: no matrix square root, nothing to invert, and a root of N centred features has but N rows.
No function of SciPy's is used; its sqrtm gave other numbers in other versions, for N < D meaningless ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError

Floats = NDArray[np.float64]
CERTAIN = 1e-8  # relative error of the distance that the fast form may have; beyond it the exact form is used


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean `[D]` and covariance of `count` clips. Made by `of_features` or `of_statistics`."""

    mean: Floats
    count: int
    _centred: Floats | None = None  # [N, D], divided by sqrt(N)
    _given: Floats | None = None  # [D, D]

    @classmethod
    def of_features(cls, features: ArrayLike) -> Gaussian:
        """Of features `[N, D]`, which are read as float32, as the official package does.

        Raises:
            UserError: there are none, or some are not finite.
        """
        with np.errstate(over="ignore"):  # what is too large for float32 is refused below
            rows = np.asarray(features, np.float32)
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise UserError(
                f"features {rows.shape} are empty, not finite or not one row a clip", "give finite features [N, D]"
            )
        wide = rows.astype(np.float64)
        mean = wide.mean(0)
        wide -= mean
        wide /= np.sqrt(len(wide))
        return cls(mean, len(wide), _centred=wide)

    @classmethod
    def of_statistics(cls, mean: ArrayLike, covariance: ArrayLike, count: int) -> Gaussian:
        """Of a mean `[D]` and a population covariance `[D, D]`; raises UserError when they cannot be that."""
        mu, sigma = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
        if mu.ndim != 1 or not mu.size or sigma.shape != (len(mu), len(mu)) or count < 1:
            raise UserError(
                f"a mean {mu.shape} does not go with a covariance {sigma.shape} of {count} clips",
                "a mean is [D], a covariance [D, D], and there is at least one clip",
            )
        scale = float(np.abs(sigma).max(initial=0.0))
        if not (np.isfinite(mu).all() and np.isfinite(sigma).all()) or np.abs(sigma - sigma.T).max() > 1e-6 * scale:
            raise UserError("a covariance is not finite, or not symmetric", "make the statistics anew")
        if sigma.diagonal().min() < -1e-6 * scale:
            raise UserError(f"a variance is negative: {sigma.diagonal().min():.4g}", "make the statistics anew")
        return cls(mu, count, _given=(sigma + sigma.T) / 2)

    @property
    def size(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def low_rank(self) -> bool:
        """The covariance comes from fewer clips than it has dimensions."""
        return self._centred is not None and self.count < self.size

    @cached_property
    def covariance(self) -> Floats:
        """`[D, D]`."""
        return self._given if self._centred is None else self._centred.T @ self._centred  # type: ignore[return-value]

    @cached_property
    def trace(self) -> float:
        """Of the covariance."""
        if self._centred is not None:
            return float(np.vdot(self._centred, self._centred))
        return float(np.trace(self.covariance))

    @cached_property
    def root(self) -> Floats:
        """`[r, D]` with `root.T @ root` the covariance, r the lesser of clips and dimensions."""
        if self._centred is None:
            values, vectors = np.linalg.eigh(self.covariance)
            kept = values > 0
            return np.sqrt(values[kept])[:, None] * vectors[:, kept].T
        return self._centred if self.count <= self.size else np.asarray(np.linalg.qr(self._centred, mode="r"))


def distance(first: Gaussian, second: Gaussian) -> float:
    """The Frechet distance, at least 0; the same to the last bit whichever comes first.

    Raises:
        UserError: their features have different numbers of dimensions.
    """
    if first.size != second.size:
        raise UserError(
            f"features of {first.size} and of {second.size} dimensions cannot be compared",
            "use one network, and a reference made with it",
        )
    wide, thin = sorted((first, second), key=lambda g: (g.low_rank, -g.count, g.trace, g.mean.tobytes()))
    fixed = float(np.square(wide.mean - thin.mean).sum()) + wide.trace + thin.trace
    square = _square(wide, thin)
    if square is not None:
        trace, error = _sum_of_roots(square)
        value = fixed - 2 * trace
        if 2 * error <= CERTAIN * value:
            return value
    return max(0.0, fixed - 2 * nuclear_norm(thin.root @ wide.root.T))


def nuclear_norm(matrix: Floats) -> float:
    """Sum of the singular values."""
    return float(np.linalg.svd(matrix, compute_uv=False).sum()) if matrix.size else 0.0


def _square(wide: Gaussian, thin: Gaussian) -> Floats | None:
    """A symmetric matrix, as small as can be, with the eigenvalues of S1 S2 that are not 0; None: it takes roots."""
    if wide.low_rank:
        product = thin.root @ wide.root.T
        return product @ product.T
    if thin.low_rank:
        return thin.root @ wide.covariance @ thin.root.T
    try:
        product = np.linalg.cholesky(wide.covariance).T @ np.linalg.cholesky(thin.covariance)
    except np.linalg.LinAlgError:
        return None
    return product @ product.T


def _sum_of_roots(square: Floats) -> tuple[float, float]:
    """Sum of the square roots of its eigenvalues, and a bound on its error.

    Half the time of singular values, but rounding moves an eigenvalue by up to some eps times the greatest, and small
    ones are moved most by it under the root.
    """
    values = np.linalg.eigvalsh(square)
    moved = 8 * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    roots = np.sqrt(np.maximum(values, 0))
    return float(roots.sum()), float((moved / np.maximum(2 * roots, np.sqrt(moved)) if moved else 0 * roots).sum())
