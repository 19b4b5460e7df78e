"""The Frechet distance over the official one's matrix square root, in one run.

    python benchmarks/bench_frechet.py                # D = 1408: 2048 and 256 clips a side
    python benchmarks/bench_frechet.py --size 400 --clips 2048

Two comparisons. From features: what cd-fvd 0.1.1 does with them (float64 sums, population covariances, `sqrtm` of their
product) and `Gaussian.of_features` twice and `distance`. Prepared: `scipy.linalg.sqrtm` of two covariances and
`distance` of two Gaussians whose centred features and covariances are there already. They take turns; a ratio is the
median over rounds of CPU seconds in the same round.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.linalg

from metrics.cdfvd.frechet import Gaussian, distance


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FeatureStats.append and get_mean_cov."""
    wide = features.astype(np.float64)
    mean = wide.sum(0) / len(wide)
    return mean, wide.T @ wide / len(wide) - np.outer(mean, mean)


def root_trace(first: np.ndarray, second: np.ndarray) -> float:
    """The real trace of sqrtm, whose second result SciPy 1.18 drops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = scipy.linalg.sqrtm(first @ second)
    return float(np.trace(root).real)


def official(first: np.ndarray, second: np.ndarray) -> float:
    (mean, cov), (other_mean, other_cov) = statistics(first), statistics(second)
    return float(np.square(mean - other_mean).sum() + np.trace(cov + other_cov)) - 2 * root_trace(other_cov, cov)


def ours(first: np.ndarray, second: np.ndarray) -> float:
    return distance(Gaussian.of_features(first), Gaussian.of_features(second))


def features(size: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of correlated features with another mean and covariance each."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(size, size)) / np.sqrt(size)
    first, second = rng.normal(size=(2, clips, size))
    shifted = second @ (mix + 0.1 * np.eye(size)) + 0.1
    return (first @ mix).astype(np.float32), shifted.astype(np.float32)


def timed(run: Callable[[], float]) -> tuple[float, float]:
    start = time.process_time()
    value = run()
    return time.process_time() - start, value


def compare(size: int, clips: int, rounds: int) -> None:
    """Print one line of the table."""
    first, second = features(size, clips)
    covariances = statistics(second)[1], statistics(first)[1]
    prepared = Gaussian.of_features(first), Gaussian.of_features(second)
    distance(*prepared)
    runs = [
        lambda: official(first, second),
        lambda: ours(first, second),
        lambda: root_trace(*covariances),
        lambda: distance(*prepared),
    ]
    seconds = np.zeros((rounds, len(runs)))
    values = np.zeros(len(runs))
    for number in range(rounds):
        for kind in np.random.default_rng(number).permutation(len(runs)):
            seconds[number, kind], values[kind] = timed(runs[kind])
    whole, alone = np.median(seconds[:, 0::2] / seconds[:, 1::2], axis=0)
    best = seconds.min(0)
    print(
        f"D {size} N {clips}: from features {best[0]:.3f} s, ours {best[1]:.4f} s, ratio {whole:.1f}; prepared: sqrtm "
        f"{best[2]:.3f} s, ours {best[3]:.4f} s, ratio {alone:.1f}; differ by {abs(values[0] / values[1] - 1):.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=1408, help="dimensions of a feature")
    parser.add_argument("--clips", type=int, nargs="+", default=[2048, 256], help="a side")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for clips in options.clips:
        compare(options.size, clips, options.rounds)


if __name__ == "__main__":
    main()
