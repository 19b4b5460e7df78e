"""What the reader is shown: colours, paths and the background's motion, against numbers known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.shapes.augment import CLEAN_SHARE, augment
from metrics.shapes.colours import CAMERAS, COLOURS, colour_masks, to_raster
from metrics.shapes.frontend import CAMERA, MOMENTS, PATH_GAIN, STEP_GAIN, WINDOW, views
from tests.metrics.shapes_clips import RED, held_out, squares

LEFT = [(44 - 2 * k, 26) for k in range(17)]  # a red square, two pixels a frame


def video_of(level: np.ndarray) -> np.ndarray:
    """Grey `[F, H, W]` in [0, 1] as `[F, H, W, 3]`."""
    return np.repeat(level[..., None], 3, -1).astype(np.float32)


def test_every_paint_of_the_world_is_its_own_colour() -> None:
    paints = [RED, (58, 166, 80), (64, 108, 216), (226, 192, 62), (158, 76, 190), (224, 224, 224)]
    video = np.full((2, 64, 64, 3), 60 / 255, np.float32)
    for k, paint in enumerate(paints):
        video[:, 10 * k : 10 * k + 8, 10 * k : 10 * k + 8] = np.array(paint) / 255
    masks = colour_masks(video)
    means = np.array(
        [[masks[j, :, 10 * k : 10 * k + 8, 10 * k : 10 * k + 8].mean() for k in range(6)] for j in range(6)]
    )
    assert np.diag(means).min() > 0.95
    assert (means - np.diag(np.diag(means))).max() < 0.05
    assert masks[:, :, 56:, :8].max() == 0
    assert len(COLOURS) == 6


def test_the_path_of_a_square_is_measured_in_half_frames() -> None:
    seen = views(squares(LEFT).astype(np.float32) / 255)
    red = seen.moments[COLOURS.index("red")]
    assert seen.moments.shape == (6, 17, MOMENTS)
    centre = (44 - 2 * np.arange(17) + 5.5) * 2 / 63 - 1
    assert red[:, 1] == pytest.approx(centre, abs=0.02)
    assert red[:, 2] == pytest.approx(np.full(17, 31.5 * 2 / 63 - 1), abs=0.02)
    assert red[:, 10] == pytest.approx(PATH_GAIN * (centre - centre.mean()), abs=0.1)
    assert red[1:, 11] == pytest.approx(np.full(16, -STEP_GAIN * 4 / 63), rel=0.03)
    assert np.abs(red[:, 12:14]).max() < 0.01


def test_crops_follow_the_square() -> None:
    crops = views(squares(LEFT).astype(np.float32) / 255).crops[COLOURS.index("red"), :, 0]
    area = crops.sum((1, 2))
    assert area == pytest.approx(np.full(17, area[0]))
    axis = np.arange(WINDOW) + 0.5 - WINDOW / 2
    assert np.abs(crops.sum(1) @ axis / area).max() <= 1
    assert np.abs(crops.sum(2) @ axis / area).max() <= 1


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-1, 0), (0, 1)])
def test_a_background_that_shifts_is_measured_in_pixels_a_frame(dx: int, dy: int) -> None:
    y, x = np.mgrid[:64, :64]
    shifted = [0.3 + 0.08 * np.sin((x - dx * t) / 4) * np.cos((y - dy * t) / 5) for t in range(17)]
    camera = views(video_of(np.stack(shifted))).camera
    assert camera.shape == (17, CAMERA)
    assert camera[:16, 0].mean() == pytest.approx(dx, abs=0.1)
    assert camera[:16, 1].mean() == pytest.approx(dy, abs=0.1)
    assert np.abs(camera[:16, 2]).mean() < 0.1
    assert np.abs(camera[16]).max() == 0


def test_a_background_that_grows_has_positive_growth() -> None:
    y, x = np.mgrid[:64, :64] - 31.5
    grown = [0.3 + 0.08 * np.sin(x * z / 5) * np.cos(y * z / 5 + 1) for z in 1.02 ** -np.arange(17)]
    growth = views(video_of(np.stack(grown))).camera[:16, 2].mean()
    assert growth == pytest.approx(0.02 * 31.5, rel=0.15)  # pixels a frame at the edge


def test_the_raster_takes_any_size_and_length() -> None:
    frames = np.arange(34, dtype=np.uint8)[:, None, None, None] * np.ones((1, 128, 192, 3), np.uint8)
    raster = to_raster(frames)
    assert raster.shape == (17, 64, 64, 3)
    assert raster[:, 0, 0, 0] * 255 == pytest.approx(np.rint(np.linspace(0, 33, 17)))
    assert to_raster(frames[:2])[8, 0, 0, 0] * 255 == pytest.approx(0)


def test_augmentation_is_mild_seeded_and_sometimes_absent() -> None:
    video = to_raster(held_out(1)[0][1])
    copies = [augment(video, np.random.default_rng(k)) for k in range(60)]
    assert all(np.array_equal(a, augment(video, np.random.default_rng(k))) for k, a in enumerate(copies[:5]))
    errors = np.array([np.abs(a - video).mean() for a in copies])
    assert abs((errors == 0).mean() - CLEAN_SHARE) < 0.15
    assert 0.005 < errors.mean() < 0.08
    assert all(a.min() >= 0 and a.max() <= 1 and a.dtype == np.float32 for a in copies)


def test_the_cameras_are_those_of_the_world() -> None:
    from harness.data import world

    assert world.CAMERAS == CAMERAS
    assert world.COLOURS == COLOURS
