"""Local warps that hold still or change with time: a spatial and a temporal corruption whose single frames look alike.

After Ge et al. 2024, who tell by such a pair how much of a Frechet video distance is about motion: each frame
is bent as much in one as in the other, and only the way from frame to frame differs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.api import derive_seed

GRID = 5  # control points a side
AMOUNT = 0.03  # standard deviation of a control point's shift, in shorter sides: 2 pixels of 64


def warp(frames: NDArray[np.uint8], seed: int, changing: bool, level: float = 1.0) -> NDArray[np.uint8]:
    """A bent copy of uint8 `[F, H, W, 3]`.

    Args:
        changing: every frame is bent its own way; otherwise all alike.
    """
    import cv2

    count, height, width = frames.shape[:3]
    rng = np.random.default_rng(derive_seed("cdfvd-warp", seed))
    drawn = rng.normal(size=(count if changing else 1, 2, GRID, GRID)).astype(np.float32)
    shifts = drawn * np.float32(level * AMOUNT * min(height, width))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    out = np.empty_like(frames)
    for index, frame in enumerate(frames):
        down, right = (
            cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in shifts[index % len(shifts)]
        )
        out[index] = cv2.remap(frame, columns + right, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out
