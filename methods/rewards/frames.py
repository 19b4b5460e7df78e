"""From decoded frames to what image models were trained on: differentiable, in torch. Frames are `[N, 3, H, W]`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Bicubic with antialiasing, as PIL and torchvision do it; values may overshoot [0, 1] a little, as theirs do."""
    if frames.shape[-2:] == (height, width):
        return frames
    return interpolate(frames, (height, width), mode="bicubic", align_corners=False, antialias=True)


def stretch(frames: Tensor, side: int) -> Tensor:
    """To `side` x `side` whatever the shape."""
    return resize(frames, side, side)


def letterbox(frames: Tensor, side: int) -> Tensor:
    """The longer side to `side`, black bars on both sides of the shorter."""
    height, width = _scaled(frames, side / max(frames.shape[-2:]))
    above, left = (side - height) // 2, (side - width) // 2
    return pad(resize(frames, height, width), (left, side - width - left, above, side - height - above))


def centre_crop(frames: Tensor, side: int) -> Tensor:
    """The shorter side to `side`, the middle of the longer."""
    height, width = _scaled(frames, side / min(frames.shape[-2:]))
    top, left = round((height - side) / 2), round((width - side) / 2)  # as torchvision's CenterCrop rounds
    return resize(frames, height, width)[..., top : top + side, left : left + side]


def normalise(frames: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std of each channel."""
    centre, scale = (torch.tensor(v, dtype=frames.dtype, device=frames.device).view(3, 1, 1) for v in (mean, std))
    return (frames - centre) / scale


def _scaled(frames: Tensor, scale: float) -> tuple[int, int]:
    height, width = frames.shape[-2:]
    return round(height * scale), round(width * scale)
