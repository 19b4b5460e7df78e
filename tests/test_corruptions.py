"""What each known degradation does to a clip, in numbers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness.api import ClipSpec, UserError
from harness.corruptions import CORRUPTIONS
from harness.data.shapes import Shapes
from harness.data.world.degrade import box_blur
from tests.footage import drifting

PINNED = {  # of clip 1 below, seed 7
    "blur": "86766d66bfc7",
    "noise": "7c6402c2b99f",
    "compression": "db3a237f742e",
    "freeze": "4fa134b5cd06",
    "shuffle": "59fe5569709a",
    "reverse": "a81350ecce6e",
    "speed_up": "e58c45ef1187",
    "teleport": "09147abafec9",
    "jitter": "027f036ff9bd",
    "object_swap": "aee2ee5f6322",
}


def world(index: int = 0, **spec: int) -> np.ndarray:
    return Shapes(Shapes.Config(size=20, seed=5), ClipSpec(**spec)).video(index)


def corrupt(name: str, frames: np.ndarray, seed: int = 7, level: float = 1.0) -> np.ndarray:
    return CORRUPTIONS[name].apply(frames, seed, level)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def places(out: np.ndarray, frames: np.ndarray) -> list[int]:
    """Which frame of `frames`, all different, each of `out` is."""
    return [next(i for i, frame in enumerate(frames) if np.array_equal(frame, shown)) for shown in out]


def moving(count: int = 16, side: int = 48) -> np.ndarray:
    return drifting(count, side, side, 1.5, 0.5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_all_share(name: str) -> None:
    for frames in (world(), moving(7, 33), drifting(5, 20, 36, 1, 0), world()[:1], world()[:2]):
        before = frames.copy()
        out = corrupt(name, frames)
        assert out.shape == frames.shape
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
        assert np.array_equal(out, corrupt(name, frames))
        assert np.array_equal(corrupt(name, frames, level=0), frames)
        assert np.array_equal(frames, before)
        assert not np.shares_memory(out, frames)
    assert not np.array_equal(corrupt(name, moving()), moving())


def test_the_same_bytes_everywhere() -> None:
    found = {name: hashlib.sha256(corrupt(name, world(1))).hexdigest()[:12] for name in CORRUPTIONS}
    assert found == PINNED


@pytest.mark.parametrize("name", ["noise", "shuffle", "jitter"])
def test_another_seed_is_another_draw(name: str) -> None:
    assert not np.array_equal(corrupt(name, moving(), seed=1), corrupt(name, moving(), seed=2))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("blur", 26, 42), ("noise", 21, 23), ("compression", 30, 38), ("jitter", 17, 34)]
)
def test_damage_is_plain_and_grows(name: str, low: float, high: float) -> None:
    clips = [world(index) for index in range(6)]
    for frames in clips:
        assert low < psnr(corrupt(name, frames), frames) < high
    means = [np.mean([psnr(corrupt(name, f, level=level), f) for f in clips]) for level in (0.3, 1.0, 2.0)]
    assert means[0] > means[1] + 1.5 > means[2] + 3.0


# ---- spatial ---------------------------------------------------------------------------------------------------


def test_blur_is_three_passes_of_the_worlds_box() -> None:
    frames = world(2)
    assert np.array_equal(corrupt("blur", frames), box_blur(box_blur(box_blur(frames))))


def test_blur_spreads_a_point_as_its_variance_says() -> None:
    """Three boxes of w = 2 r + 1 pixels have variance 3 (w^2 - 1) / 12 an axis; r = level * side / 64."""
    frames = np.zeros((1, 96, 96, 3), np.uint8)
    frames[0, 40:56, 40:56] = 255
    row = np.arange(96) - 47.5
    for level, w in ((1.0, 4.0), (0.5, 2.5)):  # r = 1.5 and 0.75: ends count by the share that is inside
        mass = corrupt("blur", frames, level=level)[0, :, :, 0].sum(0).astype(float)
        edge = (w - 1) / 2 % 1  # share of the two end pixels
        whole = (w - 1) / 2 - edge
        inside = np.arange(-whole, whole + 1)
        box = (np.sum(inside**2) + 2 * edge * (whole + 1) ** 2) / w
        expected = (16**2 - 1) / 12 + 3 * box
        assert np.sum(mass * row**2) / mass.sum() == pytest.approx(expected, rel=0.02)


def test_noise_is_uniform_and_has_no_mean() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    off = corrupt("noise", grey).astype(int) - 128
    assert (off.min(), off.max()) == (-36, 36)
    assert abs(off.mean()) < 0.5
    assert off.std() == pytest.approx(np.sqrt(73**2 - 1) / np.sqrt(12), rel=0.02)
    assert abs(np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1]) < 0.03  # frames are independent


def test_compression_leaves_block_borders() -> None:
    frames = moving(2, 64)
    steps = np.abs(np.diff(corrupt("compression", frames, level=3).astype(int), axis=2)).mean((0, 1, 3))
    assert steps[7::8].mean() > 3 * np.delete(steps, np.arange(7, 63, 8)).mean()


# ---- temporal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shuffle", "reverse"])
def test_reordering_keeps_the_frames(name: str) -> None:
    frames = moving()
    assert sorted(places(corrupt(name, frames), frames)) == list(range(16))


def test_shuffle_moves_the_share_it_says() -> None:
    frames = moving()
    for level, moved in ((0.25, 4), (0.5, 8), (1.0, 16), (3.0, 16)):
        order = places(corrupt("shuffle", frames, level=level), frames)
        assert sum(place != index for index, place in enumerate(order)) == moved


def test_reverse_and_freeze_and_speed_up_by_hand() -> None:
    frames = moving(8)
    assert places(corrupt("reverse", frames), frames) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert places(corrupt("freeze", frames), frames) == [0, 1, 1, 1, 1, 1, 1, 1]
    assert places(corrupt("freeze", frames, level=0.5), frames) == [0, 1, 2, 3, 4, 4, 4, 4]
    assert places(corrupt("freeze", frames, level=2), frames) == [0] * 8
    assert places(corrupt("speed_up", frames), frames) == [0, 2, 4, 6, 6, 4, 2, 0]
    assert places(corrupt("speed_up", frames, level=2), frames) == [0, 3, 6, 5, 2, 1, 4, 7]


def test_teleport_jumps_three_times_and_keeps_every_frames_pixels() -> None:
    frames = moving(16, 64)
    out = corrupt("teleport", frames)
    at = []
    for shown, frame in zip(out, frames, strict=True):
        assert np.array_equal(np.sort(shown, None), np.sort(frame, None))
        found = [(y, x) for y in range(0, 64, 16) for x in range(0, 64, 16) if _rolled(frame, y, x, shown)]
        assert len(found) == 1
        at += found
    jumps = [index for index in range(1, 16) if at[index] != at[index - 1]]
    assert at[0] == (0, 0)
    assert jumps == [4, 8, 12]


def _rolled(frame: np.ndarray, y: int, x: int, shown: np.ndarray) -> bool:
    return np.array_equal(np.roll(frame, (y, x), (0, 1)), shown)


def test_jitter_shifts_every_frame() -> None:
    frames = np.repeat(moving(1, 64), 12, 0)
    out = corrupt("jitter", frames)
    shifts = set()
    for shown in out:
        inner = shown[8:56, 8:56]
        found = [
            (y, x)
            for y in range(-3, 4)
            for x in range(-3, 4)
            if np.array_equal(inner, frames[0, 8 - y : 56 - y, 8 - x : 56 - x])
        ]
        assert len(found) == 1
        assert max(map(abs, found[0])) == 3
        shifts.add(found[0])
    assert len(shifts) > 4


# ---- content ---------------------------------------------------------------------------------------------------


def test_object_swap_recolours_the_object_and_nothing_else() -> None:
    data = Shapes(Shapes.Config(size=40, seed=5), ClipSpec())
    for index, row in enumerate(data.rows()):
        if len(row.meta["objects"]) > 1:
            continue
        frames, mask = data.video(index), data.truth(index).masks[:, 0]
        out = corrupt("object_swap", frames)
        changed = (out != frames).any(-1)
        assert not changed[:8].any()
        solid = mask[8:] & (np.abs(frames[8:].astype(int) - np.median(frames, (0, 1, 2))).max(-1) > 80)
        assert changed[8:][solid].mean() > 0.9
        assert (changed[8:] & ~mask[8:]).sum() < 0.2 * changed[8:].sum()  # soft edges


def test_object_swap_of_a_flat_picture_takes_the_middle() -> None:
    out = corrupt("object_swap", np.full((4, 16, 16, 3), 90, np.uint8))
    assert (out[:2] == 90).all()
    assert (out[2:, 4:12, 4:12] == 218).all()
    assert (out[2:] == 218).sum() == 2 * 64 * 3


# ---- bad input -------------------------------------------------------------------------------------------------


def test_bad_input_is_refused() -> None:
    blur = CORRUPTIONS["blur"]
    for frames in (moving().astype(np.float32), moving()[0], moving()[..., :1], moving()[:0]):
        with pytest.raises(UserError, match="not a clip"):
            blur.apply(frames, 0)
    for level in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="level"):
            blur.apply(moving(), 0, level)
