"""What `shapes/mq` and `shapes/vq` measure of a clip before anything is learnt: NumPy only, and no caption.

Looks, of every frame: how strong each fineness of detail is in 8x8 blocks on the grid of block codecs and off it, how
much of it is exactly nothing, how steep edges are, how much neighbouring frames differ pixel by pixel. Motion: how far
every frame is from every other one, at a quarter of the size so that grain averages out; played backwards a clip has
the same marks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from metrics.shapes.colours import FRAMES, Array

FEWEST = 5  # frames below which there is no motion to judge
LOOKED_AT = 4  # frames, or a few more, whose looks are measured
BLOCK, CELL = 8, 4  # pixels: of block codecs; of a cell in which motion is looked for
MOST = 8  # cells that differ most: one small object, whatever the background does
NOTHING = 0.25  # levels: a coefficient below this is nothing
VERSION = 1  # raise it when any mark changes; the weights must be made anew then

_WALSH = (hadamard(BLOCK) / BLOCK).astype(np.float32)  # so that a coefficient is in levels
_CHANGES = (np.diff(np.sign(_WALSH), axis=1) != 0).sum(1)
_FINENESS = _CHANGES[:, None] + _CHANGES[None, :]  # 0 (mean) to 14 (checkerboard)
_RANKS = range(1, 2 * BLOCK - 1)


def chosen(count: int) -> NDArray[np.int64]:
    """Which of `count` frames are looked at: 17, equally spaced, or all where there are fewer."""
    return np.rint(np.linspace(0, count - 1, min(count, FRAMES))).astype(np.int64)


def opponents(frames: NDArray[np.uint8]) -> Array:
    """Luma, red - green and blue - green, in levels: uint8 `[F, H, W, 3]` to `[3, F, H, W]`."""
    r, g, b = np.moveaxis(frames.astype(np.float32), -1, 0)
    return np.stack([(r + 2 * g + b) / 4, r - g, b - g])


def looks(frames: NDArray[np.uint8]) -> Array:
    """Marks of single frames and of grain, `[142]`, of frames `[F, 64, 64, 3]`; logarithms where a scale has no end."""
    found: list[Array] = []
    half = BLOCK // 2
    for film in opponents(frames)[:2]:
        plane = film[:: len(film) // LOOKED_AT]
        found += [*spectrum(plane), *spectrum(plane[:, half:-half, half:-half])]
        right, down = np.diff(plane, axis=2)[:, :-1], np.diff(plane, axis=1)[:, :, :-1]
        bends = np.abs(np.diff(plane, 2, axis=2)[:, 1:-1] + np.diff(plane, 2, axis=1)[:, :, 1:-1])
        found.append(np.log1p(np.quantile(np.abs(np.diff(film[:, ::2, ::2], axis=0)), (0.1, 0.25, 0.5, 0.75, 0.9))))
        found += [np.log1p(np.quantile(of, (0.1, 0.5, 0.9, 0.99, 0.999))) for of in (np.hypot(right, down), bends)]
    return np.concatenate(found).astype(np.float32)


def spectrum(plane: Array) -> tuple[Array, Array]:
    """Of the 8x8 blocks of `[F, H, W]`: log mean square and share that is nothing, per fineness, each `[14]`."""
    count, height, width = plane.shape
    blocks = plane.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    waves = np.einsum("ia,fyaxb,jb->ijfyx", _WALSH, blocks, _WALSH, optimize=True)
    power, nothing = np.square(waves).mean((2, 3, 4)), (np.abs(waves) < NOTHING).mean((2, 3, 4))
    power, nothing = (np.array([of[rank == _FINENESS].mean() for rank in _RANKS]) for of in (power, nothing))
    return np.log1p(16 * power), nothing


def motion(frames: NDArray[np.uint8]) -> Array:
    """Marks of motion, `[105]`, of frames `[F, 64, 64, 3]`, F >= 5.

    From the distances between all pairs of frames, over all cells, in the cells that differ most, and in those whose
    colour differs most: the 16 steps from frame to frame in order of size, the mean distance at 16 time lags, the least
    distance of all (what grain alone makes), and how far in time the frame lies that is most alike. Logarithms.
    """
    planes = opponents(frames)
    _, count, height, width = planes.shape
    cells = planes.reshape(3, count, height // CELL, CELL, width // CELL, CELL).mean((3, 5)).reshape(3, count, -1)
    apart = np.square(cells[:, :, None] - cells[:, None, :])  # [3, F, F, cells]
    whole, colour = apart.sum(0), apart[1:].sum(0)
    return np.concatenate([_of_distances(d) for d in (whole.mean(-1), _top(whole), _top(colour))]).astype(np.float32)


def _top(apart: Array) -> Array:
    return np.partition(apart, -MOST, axis=-1)[..., -MOST:].mean(-1)


def _of_distances(distance: Array) -> Array:
    """`[35]` of squared distances `[F, F]`; fewer than 17 frames are stretched."""
    count = len(distance)
    steps = np.sort(np.diagonal(distance, 1))
    lags = np.array([np.diagonal(distance, lag).mean() for lag in range(1, count)])
    places, grid = np.linspace(0, 1, count - 1), np.linspace(0, 1, FRAMES - 1)
    alike = (distance + np.diag(np.full(count, np.inf))).argmin(1)
    away = np.abs(alike - np.arange(count))
    least = distance[np.triu_indices(count, 1)].min()
    logs = [np.log1p(np.interp(grid, places, of)) for of in (steps, lags)]
    return np.concatenate([*logs, [np.log1p(least), np.log1p(away).mean(), (away > 1).mean()]])
