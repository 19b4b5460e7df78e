"""Resizing, cropping and choosing frames: torchvision's and VBench's numbers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from metrics.vbench.frames import (
    CLIP_MOMENTS,
    IMAGENET_MOMENTS,
    centre_crop,
    clip_square,
    clip_square_pil,
    middle_indices,
    normalise,
    resize_short_side,
    short_side_size,
)

SIZES = [(480, 832), (832, 480), (224, 300), (225, 224), (64, 64), (91, 70), (3, 5), (500, 1), (1080, 1920)]


def frames(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("height", "width"), SIZES[:7])
def test_dino_frames_are_torchvisions(height: int, width: int) -> None:
    images = tensor(frames(height, width))
    official = Compose([Resize(224, antialias=False), lambda x: x.float().div(255.0), Normalize(*IMAGENET_MOMENTS)])
    ours = normalise(resize_short_side(images.float(), 224, "bilinear"), IMAGENET_MOMENTS)
    torch.testing.assert_close(ours, official(images.float()), rtol=0, atol=0)


@pytest.mark.parametrize(("height", "width"), SIZES[:7])
def test_clip_frames_are_torchvisions(height: int, width: int) -> None:
    images = tensor(frames(height, width))
    official = Compose(
        [
            Resize(224, interpolation=InterpolationMode.BICUBIC, antialias=False),
            CenterCrop(224),
            lambda x: x.float().div(255.0),
            Normalize(*CLIP_MOMENTS),
        ]
    )
    torch.testing.assert_close(clip_square(images), official(images.float()), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Anti-alias option is always applied")
@pytest.mark.parametrize(("height", "width"), SIZES[:7])
def test_pil_frames_are_torchvisions(height: int, width: int) -> None:
    array = frames(height, width)
    official = Compose(
        [
            Resize(224, interpolation=InterpolationMode.BICUBIC, antialias=False),  # PIL antialiases all the same
            CenterCrop(224),
            ToTensor(),
            Normalize(*CLIP_MOMENTS),
        ]
    )
    expected = torch.stack([official(Image.fromarray(frame)) for frame in array])
    torch.testing.assert_close(clip_square_pil(array), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_uint8_frames_are_torchvisions(height: int, width: int, mode: str) -> None:
    images = tensor(frames(height, width, 1))[:, :, :600, :600]
    official = Resize(32, interpolation=InterpolationMode(mode), antialias=False)(images)
    torch.testing.assert_close(resize_short_side(images, 32, mode), official, rtol=0, atol=0)


def test_float_frames_overshoot_and_uint8_ones_are_clipped() -> None:
    """Twice as large, an edge is sampled a quarter pixel off: Keys's farthest weight there is -27/256 (a = -0.75)."""
    images = torch.zeros(1, 3, 4, 8)
    images[..., 4:] = 255
    enlarged = resize_short_side(images, 8, "bicubic")
    assert enlarged.min().item() == pytest.approx(255 * -27 / 256)
    assert enlarged.max().item() == pytest.approx(255 * (1 + 27 / 256))
    clipped = resize_short_side(images.byte(), 8, "bicubic")
    assert (clipped.min(), clipped.max()) == (0, 255)


def test_the_longer_side_is_cut_off() -> None:
    assert short_side_size(480, 832, 224) == (224, 388)  # 388.27
    assert short_side_size(832, 480, 224) == (388, 224)
    assert short_side_size(226, 451, 224) == (224, 447)  # 447.01
    assert short_side_size(301, 602, 224) == (224, 448)
    assert short_side_size(64, 64, 224) == (224, 224)


@pytest.mark.parametrize(("size", "first"), [(224, 0), (225, 0), (226, 1), (227, 2), (388, 82)])
def test_half_pixels_go_to_the_even_number(size: int, first: int) -> None:
    columns = torch.arange(size).expand(1, 3, 224, size)
    assert centre_crop(columns, 224)[0, 0, 0, 0] == first


@pytest.mark.parametrize(
    ("count", "length", "expected"),
    [
        (8, 16, [0, 2, 4, 6, 8, 10, 12, 14]),
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (4, 10, [0, 3, 5, 8]),
        (8, 3, [0, 1, 2, 2, 2, 2, 2, 2]),
        (16, 1, [0] * 16),
        (8, 81, [4, 14, 24, 34, 44, 54, 64, 75]),
    ],
)
def test_middles_of_equal_stretches(count: int, length: int, expected: list[int]) -> None:
    assert middle_indices(count, length) == expected
