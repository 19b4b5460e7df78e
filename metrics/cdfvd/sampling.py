"""From a clip to what a network sees, step by step as the official package's loader and preprocessing do."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 224  # what VideoMAE-v2 and I3D read
Start = Literal["first", "random"]


def window(frames: int, length: int, start: Start, seed: int, first: NDArray[np.uint8]) -> int:
    """Index of the first frame that is used; a random one depends on nothing but the clip's content and the seed.

    The package draws it uniformly from all that leave `length` frames, from a generator that every clip advances
    (data_utils.py, get_random_clip_from_video): its number changes with the order of files and of workers.

    Args:
        frames: of the clip, at least `length`.
        first: its first frame.
    """
    if start == "first":
        return 0
    content = hashlib.sha256(f"{seed} {frames} {first.shape}".encode() + np.ascontiguousarray(first).tobytes())
    return int.from_bytes(content.digest()[:8], "big") % (frames - length + 1)


def fit(frames: Tensor, resolution: int) -> Tensor:
    """Shorter side to `resolution`, centre crop, truncated to uint8: `[n, 3, H, W]` to `[n, 3, r, r]`.

    data_utils.py, preprocess: `x / 255`, bilinear with antialiasing; then fvd.py, compute_fake_stats: `x * 255`,
    `.byte()`. Truncation is kept: it takes a level from some values even where nothing is resized.
    """
    from torch.nn import functional as F

    height, width = frames.shape[2:]
    scale = resolution / min(height, width)
    tall, wide = resolution, math.ceil(width * scale)
    if height >= width:
        tall, wide = math.ceil(height * scale), resolution
    x = F.interpolate(frames.float() / 255.0, size=(tall, wide), mode="bilinear", align_corners=False, antialias=True)
    top, left = (tall - resolution) // 2, (wide - resolution) // 2
    return (x[:, :, top : top + resolution, left : left + resolution] * 255).byte()


def for_videomae(frames: Tensor) -> Tensor:
    """uint8 `[T, 3, h, w]` to `[1, 3, T, 224, 224]` in [0, 1] (VideoMAEv2/utils.py, preprocess_videomae)."""
    from torch.nn import functional as F

    x = F.interpolate(frames.transpose(0, 1).float() / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return x[None]


def for_i3d(frames: Tensor) -> Tensor:
    """uint8 `[T, 3, h, w]` to `[1, 3, T, 224, 224]` in [-1, 1] (i3d/utils.py, preprocess_i3d)."""
    from torch.nn import functional as F

    x = F.interpolate(frames.float(), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return 2.0 * x.transpose(0, 1)[None] / 255.0 - 1
