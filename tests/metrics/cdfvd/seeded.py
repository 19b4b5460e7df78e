"""Features, weights and clips from seeds, the same here and in the official package's environment: numpy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FRECHET = {  # name: D, N, M
    "d16": (16, 200, 180),
    "d64, fewer clips": (64, 20, 30),
    "d64, fewer on one side": (64, 20, 300),
    "d400, fewer clips": (400, 60, 50),
    "d1408, fewer clips": (1408, 256, 300),
    "d400, more clips": (400, 900, 1000),
}
SIZES = {"wide": (48, 80), "tall": (50, 33), "odd": (37, 61), "as it is": (16, 16)}  # height, width of clips to fit
RESOLUTION = 16
TINY = {"img_size": 224, "patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 174}
HIDDEN = 48


def features(case: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two sets, `[N, D]` and `[M, D]`, with unequal means and correlated dimensions."""
    size, first, second = FRECHET[case]
    rng = np.random.default_rng(size + first)
    mix = rng.normal(size=(size, size)) / np.sqrt(size)
    a = rng.normal(size=(first, size)) @ mix
    b = rng.normal(size=(second, size)) @ (mix + 0.1 * np.eye(size)) + 0.1
    return a.astype(np.float32), b.astype(np.float32)


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, NDArray[np.float32]]:
    """Values for parameters and buffers of these names and shapes, such that activations neither die nor explode."""
    rng = np.random.default_rng(seed)
    out = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            value = rng.normal(size=shape) * np.sqrt(1.5 / np.prod(shape[1:]))
        elif name.endswith(".weight"):
            value = rng.uniform(0.7, 1.3, shape)
        else:
            value = rng.normal(size=shape) * 0.1
        out[name] = value.astype(np.float32)
    return out


def clip(frames: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """`[F, H, W, 3]`: coarse coloured noise that drifts, with grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 4, width // 6 + 4, 3))
    still = np.kron(coarse, np.ones((6, 6, 1)))
    moved = [np.roll(still, (k, 2 * k), (0, 1))[:height, :width] for k in range(frames)]
    return np.clip(np.stack(moved) + rng.normal(0, 6, (frames, height, width, 3)), 0, 255).astype(np.uint8)
