"""Damage to frames, in exact arithmetic: the same bytes everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec
from harness.data.world.dice import Dice
from harness.data.world.knobs import Knobs
from harness.data.world.staging import NOISE, ORDER, Scene

Frames = NDArray[np.uint8]
Planes = NDArray[np.float32]
_BLOCK = 8
_CHANGES = np.array([sum((i & (j ^ (j + 1))).bit_count() % 2 for j in range(7)) for i in range(8)])  # of sign, row i


def degrade(frames: Frames, scene: Scene, knobs: Knobs) -> Frames:
    """Blur, then noise, then compression; frames uint8 `[F, H, W, 3]`."""
    for _ in range(knobs.blur):
        frames = box_blur(frames)
    if knobs.noise:
        frames = add_noise(frames, knobs.noise, scene.dice(NOISE))
    if knobs.compression:
        frames = compress(frames, knobs.compression)
    return frames


def frame_order(scene: Scene, spec: ClipSpec, knobs: Knobs) -> list[int]:
    """Which frame is shown at each place: a share `shuffle` of them is passed on in a ring, so none of those fits."""
    order = list(range(spec.frames))
    count = round(knobs.shuffle * spec.frames)
    if count > 1:
        ring = scene.dice(ORDER).sample(order, count)
        for here, there in zip(ring, [*ring[1:], ring[0]], strict=True):
            order[here] = there
    return order


def box_blur(frames: Frames) -> Frames:
    """One pass of a 3x3 mean; the border repeats."""
    wide = np.pad(frames.astype(np.uint16), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return ((rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4) // 9).astype(np.uint8)


def add_noise(frames: Frames, amount: int, dice: Dice) -> Frames:
    """Adds a uniform integer in [-amount, amount] to every value and clips."""
    octets = dice.octets(frames.size).reshape(frames.shape).astype(np.int32)
    return np.clip(frames + (octets * (2 * amount + 1) >> 8) - amount, 0, 255).astype(np.uint8)


def compress(frames: Frames, quantum: int) -> Frames:
    """Quantise 8x8 Walsh-Hadamard coefficients, finer ones more coarsely, as a codec at a low bit rate would.

    The mean of a block is rounded to `quantum` / 4 levels, the finest detail to 1.125 `quantum` levels. All numbers
    are integers below 2^24, which float32 holds exactly.
    """
    count, height, width, _ = frames.shape
    wide = np.pad(frames, ((0, 0), (0, -height % _BLOCK), (0, -width % _BLOCK), (0, 0)), mode="edge")
    shape = wide.shape
    blocks = wide.reshape(count, shape[1] // _BLOCK, _BLOCK, shape[2] // _BLOCK, _BLOCK, 3).transpose(2, 4, 0, 1, 3, 5)
    levels = blocks.reshape(_BLOCK, _BLOCK, -1).astype(np.float32) - np.float32(128)
    finer = _CHANGES[:, None] + _CHANGES[None, :]
    steps = (4 * quantum * (4 + finer)).astype(np.float32)[:, :, None]  # a coefficient is 64 x its levels
    coded = np.floor(hadamard(levels) / steps + np.float32(0.5)) * steps
    levels = np.floor(hadamard(coded) / np.float32(64) + np.float32(128.5))
    octets = np.minimum(np.maximum(levels, 0), 255).astype(np.uint8)
    octets = octets.reshape(blocks.shape).transpose(2, 3, 0, 4, 1, 5).reshape(shape)
    return np.ascontiguousarray(octets[:, :height, :width])


def hadamard(a: Planes) -> Planes:
    """Unnormalised 8x8 Walsh-Hadamard transform over the first two axes; applied twice it is 64 times the identity."""
    shape = a.shape
    for axis in (0, 1):
        for half in (1, 2, 4):
            pairs = a.reshape(*shape[:axis], _BLOCK // (2 * half), 2, half, *shape[axis + 1 :])
            one, two = (pairs[(slice(None),) * (axis + 1) + (side,)] for side in (0, 1))
            a = np.stack([one + two, one - two], axis=axis + 1).reshape(shape)
    return a
