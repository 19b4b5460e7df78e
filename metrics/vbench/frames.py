"""How VBench brings frames to a network's size: torchvision's transforms without antialiasing, as plain functions.

Sources: vbench 0.1.5, utils.py (clip_transform, clip_transform_Image, dino_transform, get_frame_indices); torchvision
0.29, transforms/functional.py. Bit for bit the same on a CPU.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

CLIP_SIDE = 224  # pixels, whatever size a CLIP was trained at
Moments = tuple[tuple[float, float, float], tuple[float, float, float]]
CLIP_MOMENTS: Moments = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MOMENTS: Moments = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def middle_indices(count: int, frames: int) -> list[int]:
    """The frame in the middle of each of `count` equal stretches of a clip; the last one again where it is shorter."""
    import numpy as np

    bounds = np.linspace(0, frames, min(count, frames) + 1).astype(int).tolist()
    middles = [(start + end - 1) // 2 for start, end in pairwise(bounds)]
    return middles + [middles[-1]] * (count - len(middles))


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width at a shorter side of `side`; the longer one is cut off, not rounded."""
    long = int(side * max(height, width) / min(height, width))
    return (side, long) if height <= width else (long, side)


def resize(images: Tensor, height: int, width: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """`[n, 3, H, W]` float or uint8, without antialiasing. Bicubic overshoots: uint8 is clipped, float is not."""
    import torch
    from torch.nn.functional import interpolate

    if images.shape[-2:] == (height, width):
        return images
    resized = interpolate(images.float(), (height, width), mode=mode, align_corners=False)
    if images.dtype == torch.uint8:
        return resized.clamp(0, 255).round().to(torch.uint8)
    return resized


def resize_short_side(images: Tensor, side: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """`resize` to a shorter side of `side`, keeping the proportions."""
    height, width = images.shape[-2:]
    return resize(images, *short_side_size(height, width, side), mode)


def centre_crop(images: Tensor, side: int) -> Tensor:
    """The square in the middle of images with sides of at least `side`; half a pixel goes to the even number."""
    top, left = (round((size - side) / 2) for size in images.shape[-2:])
    return images[..., top : top + side, left : left + side]


def normalise(images: Tensor, moments: Moments) -> Tensor:
    """Grey levels 0..255 to 0..1, then to mean 0 and deviation 1 of the network's training images; float32."""
    levels = images.float().div(255)
    mean, deviation = (levels.new_tensor(values)[:, None, None] for values in moments)
    return levels.sub_(mean).div_(deviation)


def clip_square(images: Tensor) -> Tensor:
    """What a CLIP sees of uint8 `[n, 3, H, W]` frames: bicubic in float, cropped, normalised; `[n, 3, 224, 224]`."""
    squares = centre_crop(resize_short_side(images.float(), CLIP_SIDE, "bicubic"), CLIP_SIDE)
    return normalise(squares, CLIP_MOMENTS)


def clip_square_pil(frames: NDArray[np.uint8]) -> Tensor:
    """The same of uint8 `[n, H, W, 3]` frames resized as PIL images, which antialiases and rounds to grey levels."""
    import numpy as np
    import torch
    from PIL import Image

    _, height, width, _ = frames.shape
    size = short_side_size(height, width, CLIP_SIDE)[::-1]
    resized = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames]
    return normalise(centre_crop(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2), CLIP_SIDE), CLIP_MOMENTS)
