"""Known degradations of a clip, to see whether a judge notices them. Exact arithmetic: the same bytes everywhere.

Every corruption is a pure function of (frames, seed, level) that keeps the shape, whatever the clip's size. Level 0
changes nothing, level 1 is plain to the eye, and more is worse. At 64 pixels, level 1 of blur, noise or compression is
one and a half times the amount that halves the visual quality of a clip of the embedded world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.world.degrade import add_noise, compress
from harness.data.world.dice import Dice
from harness.errors import UserError
from harness.rng import derive_seed

Frames = NDArray[np.uint8]
Kind = Literal["spatial", "temporal", "content"]
_SIDE = 64  # pixels of the shorter side for which the amounts below are given; they grow with it
_NOISE, _QUANTUM = 36, 18  # levels; a block codec's blocks are 8x8 at any size
_FROZEN = 0.75  # share of the clip
_JUMPS, _DISTANCE = 3, 16  # teleports in a clip, and pixels of each
_SHAKE = 3  # pixels
_SWAPPED, _SALIENT, _COLOURED = 0.1, 40, 48  # most of the pixels swapped; how far off the median; chroma of a colour


@dataclass(frozen=True)
class Corruption:
    """A known degradation.

    `kind` says what it spoils: "spatial" every frame by itself, "temporal" the order or place of frames whose looks
    stay, "content" what is shown, with every single frame and the motion sound.
    """

    name: str
    about: str
    kind: Kind
    change: Callable[[Frames, Dice, float], Frames]

    def apply(self, frames: Frames, seed: int, level: float = 1.0) -> Frames:
        """A damaged copy of uint8 `[F, H, W, 3]`, of the same shape.

        Raises:
            UserError: other frames, or a level that is negative or not finite.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
            raise UserError(f"{self.name}: not a clip: {frames.dtype} {frames.shape}", "give uint8 [F, H, W, 3]")
        if not 0 <= level < float("inf"):
            raise UserError(f"{self.name}: level {level}", "give a number from 0 (unchanged) up; 1 is plain to the eye")
        if level == 0:
            return frames.copy()
        return self.change(frames, Dice(derive_seed("corruption", self.name, seed)), level).copy()


# ---- spatial: every frame by itself ------------------------------------------------------------------------------


def blur(frames: Frames, dice: Dice, level: float) -> Frames:
    """Three passes of a box of `2 r + 1` pixels, r = level at 64 pixels; the border repeats."""
    reach = round(256 * level * _unit(frames))  # r in 1/256 pixels
    return np.stack([_box(_box(_box(frame, reach), reach), reach) for frame in frames])


def noise(frames: Frames, dice: Dice, level: float) -> Frames:
    """A uniform integer in [-36 level, 36 level] on every value, independent between pixels, channels and frames."""
    amount = min(127, max(1, round(_NOISE * level)))
    return np.concatenate([add_noise(frames[i : i + 1], amount, dice) for i in range(len(frames))])


def compression(frames: Frames, dice: Dice, level: float) -> Frames:
    """Coarsely quantised coefficients of 8x8 blocks, as a codec leaves them at a low bit rate."""
    quantum = max(1, round(_QUANTUM * level))
    return np.concatenate([compress(frames[i : i + 1], quantum) for i in range(len(frames))])


def _unit(frames: Frames) -> float:
    """Pixels for each pixel of a clip whose shorter side is 64."""
    return min(frames.shape[1:3]) / _SIDE


def _box(frame: Frames, reach: int) -> Frames:
    """Mean over a square of `2 reach / 256 + 1` pixels, those at its ends by the share that is inside, `[H, W, 3]`."""
    whole, part = divmod(reach, 256)
    wide: NDArray[np.int64] = frame.astype(np.int64)
    for axis in (0, 1):
        size, pad = frame.shape[axis], [(whole + 2, whole + 1) if axis == side else (0, 0) for side in range(3)]
        sums = np.pad(wide, pad, mode="edge").cumsum(axis)
        inner = _cut(sums, axis, 2 * whole + 2, size) - _cut(sums, axis, 1, size)
        outer = _cut(sums, axis, 2 * whole + 3, size) - _cut(sums, axis, 0, size)
        wide = 256 * inner + part * (outer - inner)
    total = (512 * whole + 256 + 2 * part) ** 2
    return ((wide + total // 2) // total).astype(np.uint8)


def _cut(a: NDArray[np.int64], axis: int, first: int, size: int) -> NDArray[np.int64]:
    return a[first : first + size] if axis == 0 else a[:, first : first + size]


# ---- temporal: order and place of frames whose looks stay --------------------------------------------------------


def freeze(frames: Frames, dice: Dice, level: float) -> Frames:
    """The last three quarters (level 1; from 4/3 on everything) stand still on the last frame before them."""
    kept = max(1, len(frames) - round(min(1.0, _FROZEN * level) * len(frames)))
    return frames[np.minimum(np.arange(len(frames)), kept - 1)]


def shuffle(frames: Frames, dice: Dice, level: float) -> Frames:
    """A share `level` of the frames, all from 1 on, are passed on in a ring of random order: none stays in place."""
    order = list(range(len(frames)))
    ring = dice.sample(order, round(min(1.0, level) * len(frames)))
    for here, there in zip(ring, ring[1:] + ring[:1], strict=True):
        order[here] = there
    return frames[order]


def reverse(frames: Frames, dice: Dice, level: float) -> Frames:
    """Played backwards; it has no degrees."""
    return frames[::-1]


def speed_up(frames: Frames, dice: Dice, level: float) -> Frames:
    """Played (1 + level) times as fast, and at its end back again, so that the clip stays as long."""
    last = len(frames) - 1
    if last == 0:
        return frames
    place = np.array([round(i * (1 + level)) for i in range(len(frames))]) % (2 * last)
    return frames[np.minimum(place, 2 * last - place)]


def teleport(frames: Frames, dice: Dice, level: float) -> Frames:
    """The picture jumps at three instants by a quarter of its shorter side (level 1) and stays there until the next.

    It comes in again at the other border, so that every frame keeps its pixels.
    """
    distance = max(1, round(_DISTANCE * level * _unit(frames)))
    x, y, out = 0, 0, frames.copy()
    parts = np.linspace(0, len(frames), _JUMPS + 2).round().astype(int)
    for first, last in pairwise(parts[1:]):
        x, y = x + distance * dice.sign(), y + distance * dice.sign()
        out[first:last] = np.roll(frames[first:last], (y, x), (1, 2))
    return out


def jitter(frames: Frames, dice: Dice, level: float) -> Frames:
    """Every frame is shifted by its own whole number of pixels, up to 3 on each axis at 64 pixels; the border repeats.

    At least one of the two shifts is the full one, so that no frame stays where it was.
    """
    most = max(1, round(_SHAKE * level * _unit(frames)))
    height, width = frames.shape[1:3]
    out = np.empty_like(frames)
    for index, frame in enumerate(frames):
        x, y = dice.sample([most * dice.sign(), dice.below(2 * most + 1) - most], 2)
        rows = np.clip(np.arange(height) - y, 0, height - 1)
        columns = np.clip(np.arange(width) - x, 0, width - 1)
        out[index] = frame[rows][:, columns]
    return out


# ---- content: what is shown --------------------------------------------------------------------------------------


def object_swap(frames: Frames, dice: Dice, level: float) -> Frames:
    """From half way on, what stands out most by its colour is of another colour; it keeps its place and motion.

    Standing out are the tenth of all pixels (times level) that are farthest from the clip's median colour, as far as
    they are at least 40 levels off; where nothing is, the middle of the picture. Colours pass their red to green, green
    to blue, blue to red; greys move by 128 levels. Without ground truth "the object" of a clip can only be guessed;
    this guess depends on colour alone, so that it holds still through time.
    """
    out, half = frames.copy(), len(frames) // 2
    chosen = _salient(frames, min(1.0, _SWAPPED * level))[half:]
    late = frames[half:]
    coloured = late.max(-1).astype(np.int16) - late.min(-1) >= _COLOURED
    other = np.where(coloured[..., None], np.roll(late, 1, -1), late ^ np.uint8(128))
    out[half:] = np.where(chosen[..., None], other, late)
    return out


def _salient(frames: Frames, share: float) -> NDArray[np.bool_]:
    """Which pixels stand out, `[F, H, W]`."""
    median = np.sort(frames.reshape(-1, 3), 0)[frames[..., 0].size // 2].astype(np.int16)
    distance = np.stack([np.abs(frame - median).max(-1) for frame in frames])
    above = np.bincount(distance.ravel(), minlength=256)[::-1].cumsum()[::-1]  # pixels at least so far off
    least = max(_SALIENT, int((above > share * distance.size).sum()))
    chosen: NDArray[np.bool_] = distance >= least
    if not chosen.any():
        height, width = frames.shape[1:3]
        chosen[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return chosen


CORRUPTIONS: Mapping[str, Corruption] = {
    corruption.name: corruption
    for corruption in (
        Corruption("blur", "out of focus", "spatial", blur),
        Corruption("noise", "random grain in every frame", "spatial", noise),
        Corruption("compression", "8x8 blocks of a low bit rate", "spatial", compression),
        Corruption("freeze", "stands still after its first quarter", "temporal", freeze),
        Corruption("shuffle", "frames in random order", "temporal", shuffle),
        Corruption("reverse", "played backwards", "temporal", reverse),
        Corruption("speed_up", "played twice as fast, there and back", "temporal", speed_up),
        Corruption("teleport", "the picture jumps three times", "temporal", teleport),
        Corruption("jitter", "the picture shakes", "temporal", jitter),
        Corruption("object_swap", "the object changes colour half way", "content", object_swap),
    )
}
