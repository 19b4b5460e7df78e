"""Where the embedded world's six colours are in a clip: soft masks from hue, saturation and whiteness. NumPy only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("disk", "square", "triangle", "ring", "cross")
MOTIONS = ("still", "drift", "bounce", "orbit", "zigzag", "occlude", "pulse", "flicker", "spin", "morph")
DIRECTIONS = ("left", "right", "up", "down")
CAMERAS = ("still", "pan left", "pan right", "zoom in", "zoom out")

SIZE, FRAMES = 64, 17  # the raster and the length every clip is brought to before it is read

HUES = np.deg2rad(np.array([2, 132, 223, 48, 283], np.float32))  # of the first five colours, on the HSV circle
HUE_SHARPNESS = 12.0  # softmax inverse temperature over cos(hue - anchor): half weight at the midpoint of two anchors
CHROMA_FLOOR, CHROMA_FULL = 0.08, 0.35  # max - min channel: below is grey background, above is a saturated object
WHITE_FLOOR, WHITE_FULL = 0.10, 0.40  # min channel above the clip's median min channel

Array = NDArray[np.float32]


def to_raster(frames: NDArray[np.uint8]) -> Array:
    """Any clip uint8 `[F, H, W, 3]`, F >= 2, as float32 in [0, 1] `[17, 64, 64, 3]`.

    Space: area resampling (bilinear when enlarging). Time: the nearest of 17 equally spaced instants, so that no
    two frames are ever mixed.
    """
    index = np.rint(np.linspace(0, len(frames) - 1, FRAMES)).astype(int)
    return unit(resized(frames[index], SIZE, SIZE))


def resized(frames: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Frames `[F, H, W, 3]` at another size: area resampling, or bilinear where a side grows."""
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = frames.shape[1] >= height and frames.shape[2] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames]).astype(np.uint8)


def unit(frames: NDArray[np.uint8]) -> Array:
    """uint8 to float32 in [0, 1]."""
    return frames.astype(np.float32) / np.float32(255)


def colour_masks(video: Array) -> Array:
    """How much each pixel is of each colour: `[F, H, W, 3]` in [0, 1] to `[6, F, H, W]` in [0, 1], COLOURS' order."""
    r, g, b = np.ascontiguousarray(np.moveaxis(video, -1, 0))
    low = np.minimum(np.minimum(r, g), b)
    chroma = np.maximum(np.maximum(r, g), b) - low
    hue = np.arctan2(np.float32(np.sqrt(3)) * (g - b), 2 * r - g - b)
    near = HUE_SHARPNESS * np.cos(hue[None] - HUES[:, None, None, None])
    share = np.exp(near - near.max(0))
    saturated = _ramp(chroma, CHROMA_FLOOR, CHROMA_FULL)
    white = _ramp(low - np.median(low), WHITE_FLOOR, WHITE_FULL)
    return np.concatenate([saturated * share / share.sum(0), white[None]]).astype(np.float32)


def _ramp(x: Array, floor: float, full: float) -> Array:
    return np.clip((x - floor) / (full - floor), 0, 1)
