"""What points look like in the frame they are asked for in, and where that is in another: aligned colour patches.

Each patch is warped by an affine map of its own, so that it stays comparable while its surroundings turn and grow: the
consistency with the first frame of Shi and Tomasi (1994), by the inverse compositional steps of Baker and Matthews
(2004), whose costly part is done once, when a patch is learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

BLUR = 0.7  # pixels, sigma, against noise
HOLD, HOLD_MAP = 0.05, 5.0  # grey levels^2 that hold place and map where the picture does not decide
STEPS = 2
FAR, BENT = 1.5, 0.1  # most of one step: pixels either way; of each entry of the map
CONTRAST, LEVELS = 0.6, 6.0  # a difference up to this share of the patch's own contrast and these grey levels is none
OUTSIDE = (float("nan"),) * 3
TINY = 1e-6  # weight of a patch that is all outside
ROWS = 30_000  # OpenCV's remap takes at most 32,767 at once


def smooth(frame: NDArray[np.uint8]) -> Floats:
    """A frame as patches are taken from it, float32 `[H, W, 3]`."""
    import cv2

    return np.asarray(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), BLUR))


class Patches:
    """The patches of `count` points, `side` pixels wide and high."""

    def __init__(self, count: int, side: int) -> None:
        reach = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
        self._offsets = np.stack(np.meshgrid(reach, reach), -1).reshape(-1, 2)  # [K, 2]
        self._unit = np.float32(side / 4.5)  # sigma of the weights, and the length a map's entries are scaled by
        weights = np.exp(-np.square(self._offsets / self._unit).sum(1) / 2)
        self._weights = np.repeat(weights / weights.sum() / 3, 3).astype(np.float32)  # [3 K], as all looks
        self._looks = np.zeros((count, self._weights.size), np.float32)
        self._solvers = np.zeros((count, 6, self._weights.size), np.float32)  # from a difference of looks to a step
        self._allowed = np.zeros(count, np.float32)
        self._maps = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))

    def learn(self, frame: Floats, chosen: Indices, places: Floats) -> None:
        """Points `chosen` look as this frame does at `places` `[M, 2]`."""
        grid = places[:, None] + self._offsets
        looks = _sample(frame, grid)
        right, down = np.eye(2, dtype=np.float32)
        across = (_sample(frame, grid + right) - _sample(frame, grid - right)) / 2
        along = (_sample(frame, grid + down) - _sample(frame, grid - down)) / 2
        x, y = np.repeat(self._offsets / self._unit, 3, 0).T
        steepest = np.nan_to_num(np.stack([across, along, across * x, across * y, along * x, along * y], 1))
        weighted = steepest * self._weights
        hold = np.diag([HOLD] * 2 + [HOLD_MAP] * 4).astype(np.float32)
        self._solvers[chosen] = np.linalg.solve(weighted @ steepest.transpose(0, 2, 1) + hold, weighted)
        self._looks[chosen] = looks
        weights = np.where(np.isnan(looks), 0, self._weights).reshape(*grid.shape[:2], 3)
        colours = np.nan_to_num(looks).reshape(weights.shape)
        mean = (colours * weights).sum(1, keepdims=True) / np.maximum(weights.sum(1, keepdims=True), TINY)
        self._allowed[chosen] = CONTRAST * self._size(looks - np.tile(mean[:, 0], grid.shape[1])) + LEVELS

    def find(self, frame: Floats, chosen: Indices, guesses: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Where near `guesses` `[M, 2]` the points `chosen` best match what was learned, and whether they look like it.

        The map of those that do is the one their next search begins with.
        """
        places, maps = guesses.copy(), self._maps[chosen]
        looks, solvers = self._looks[chosen], self._solvers[chosen]
        for _ in range(STEPS):
            differences = np.nan_to_num(self._seen(frame, places, maps) - looks)
            step = (solvers @ differences[..., None])[..., 0]
            bend = np.clip(step[:, 2:] / self._unit, -BENT, BENT).reshape(-1, 2, 2)
            maps = maps @ np.linalg.inv(np.eye(2, dtype=np.float32) + bend)
            places -= (maps @ np.clip(step[:, :2], -FAR, FAR)[..., None])[..., 0]
        alike = self._size(self._seen(frame, places, maps) - looks) < self._allowed[chosen]
        self._maps[chosen[alike]] = maps[alike]
        return places, alike

    def _seen(self, frame: Floats, places: Floats, maps: Floats) -> Floats:
        grid = places[:, None] + self._offsets @ maps.transpose(0, 2, 1)
        return _sample(frame, grid.astype(np.float32, copy=False))

    def _size(self, differences: Floats) -> Floats:
        """Weighted root mean square of `[M, 3 K]` without NaN, grey levels; a row's has nothing of the others."""
        weights = np.where(np.isnan(differences), 0, self._weights)
        squares = np.square(np.nan_to_num(differences)) * weights
        return np.asarray(np.sqrt(squares.sum(-1) / np.maximum(weights.sum(-1), TINY)))


def _sample(frame: Floats, grid: Floats) -> Floats:
    """Colours at (x, y) `[M, K, 2]` as `[M, 3 K]`, linear between pixels; outside the frame NaN."""
    import cv2

    parts = [np.zeros((0, grid.shape[1], 3), np.float32)]
    for start in range(0, len(grid), ROWS):
        x, y = (np.ascontiguousarray(part) for part in np.moveaxis(grid[start : start + ROWS], -1, 0))
        part = cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE)
        parts.append(part.astype(np.float32, copy=False))
    return np.concatenate(parts).reshape(len(grid), 3 * grid.shape[1])
