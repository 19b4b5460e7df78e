"""Footage with known motion, and the real clips where a machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

_folder = Path(os.environ.get("MUTOSCOPE_REAL_CLIPS") or Path(__file__).parents[2] / "shared" / "data" / "clips")
REAL = sorted(_folder.glob("*.mp4"))
needs_real_clips = pytest.mark.skipif(
    not REAL, reason="no real clips: set MUTOSCOPE_REAL_CLIPS to a folder of mp4 files"
)


def texture(height: int, width: int, sigma: float = 2.0, seed: int = 0) -> NDArray[np.float32]:
    """Smooth grey noise, 20..235."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    low, high = np.quantile(smooth, [0.001, 0.999])
    return ((smooth - low) / (high - low)).clip(0, 1) * 215 + 20


def drifting(frames: int, height: int, width: int, dx: float, dy: float, sigma: float = 2.0) -> NDArray[np.uint8]:
    """`[F, H, W, 3]`: a texture that moves by (dx right, dy down) pixels a frame, without borders coming into view."""
    margin = 2 + int(frames * max(abs(dx), abs(dy)))
    canvas = texture(height + 2 * margin, width + 2 * margin, sigma)
    out = []
    for index in range(frames):
        matrix = np.array([[1, 0, margin - index * dx], [0, 1, margin - index * dy]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        grey = cv2.warpAffine(canvas, matrix, (width, height), flags=flags).clip(0, 255).astype(np.uint8)
        out.append(np.repeat(grey[..., None], 3, axis=2))
    return np.stack(out)
