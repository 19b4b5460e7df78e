"""Damage to the ground-truth motion of a clip: what the corruptions of pixels do, for a tracker that never errs.

Every function takes a motion and a generator, and changes neither the motion nor its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metrics.trajan.world import Motion

Damage = Callable[[Motion, np.random.Generator], Motion]

JUMPS, DISTANCE, SHAKE = 3, 0.25, 3 / 64  # teleports, and their length and that of a shake in shorter sides


def reorder(move: Motion, order: NDArray[np.int64]) -> Motion:
    """Frames in another order."""
    return Motion(move.turns[:, order], move.shifts[:, order], move.shown[order])


def shuffled(move: Motion, rng: np.random.Generator) -> Motion:
    return reorder(move, rng.permutation(len(move.shown)))


def reversed_time(move: Motion, rng: np.random.Generator) -> Motion:
    return reorder(move, np.arange(len(move.shown))[::-1])


def there_and_back(move: Motion, rng: np.random.Generator) -> Motion:
    """In the middle every velocity turns round: from there on the clip runs backwards."""
    return reorder(move, turning(len(move.shown)))


def turning(frames: int) -> NDArray[np.int64]:
    """0, 1, ... to the middle and back."""
    return np.minimum(np.arange(frames), frames - 1 - np.arange(frames))


def as_far_and_back(move: Motion, rng: np.random.Generator) -> Motion:
    """There and back at twice the pace, so that things go as far as they did."""
    return reorder(move, turning_fast(len(move.shown)))


def turning_fast(frames: int) -> NDArray[np.int64]:
    """0, 2, 4, ... to the end and back."""
    last = max(1, frames - 1)
    place = 2 * np.arange(frames) % (2 * last)
    return np.minimum(place, 2 * last - place)


def upside_down(move: Motion, rng: np.random.Generator) -> Motion:
    """Mirrored top to bottom: what falls rises, and a bounce hangs from a ceiling."""
    height = move.size[0]
    return Motion(move.turns.conj(), move.shifts.conj() + 1j * height, move.shown[:, ::-1])


def reversed_acceleration(move: Motion, rng: np.random.Generator) -> Motion:
    """Every thing's path is reflected about its chord, frame by frame: it keeps its ends and its mean velocity, and all
    its accelerations point the other way."""
    things = len(move.turns) - 1
    time = np.linspace(0, 1, len(move.shown))
    moves = np.zeros((things, len(time)), np.complex128)
    for row in range(things):
        centre = _centre(move, row)
        moves[row] = 2 * (centre[0] + (centre[-1] - centre[0]) * time - centre)
    return _moved(move, moves)


def object_teleport(move: Motion, rng: np.random.Generator) -> Motion:
    """One thing jumps by a quarter of the shorter side, three times."""
    moves = np.zeros((len(move.turns) - 1, len(move.shown)), np.complex128)
    moves[rng.integers(len(moves))] = _jumps(move, rng)
    return _moved(move, moves)


def teleport(move: Motion, rng: np.random.Generator) -> Motion:
    """The whole picture jumps by a quarter of the shorter side, three times."""
    return _shaken(move, _jumps(move, rng))


def jitter(move: Motion, rng: np.random.Generator) -> Motion:
    """Every frame is off by its own whole number of pixels, up to 3 of 64 on each axis."""
    most = max(1, round(SHAKE * min(move.size)))
    x, y = rng.integers(-most, most + 1, (2, len(move.shown)))
    return _shaken(move, x + 1j * y)


def _jumps(move: Motion, rng: np.random.Generator) -> NDArray[np.complex128]:
    frames, distance = len(move.shown), round(DISTANCE * min(move.size))
    offsets = np.zeros(frames, np.complex128)
    for first in np.linspace(0, frames, JUMPS + 2).round().astype(int)[1:-1]:
        offsets[first:] += distance * complex(*rng.choice((-1, 1), 2))
    return offsets


def _shaken(move: Motion, offsets: NDArray[np.complex128]) -> Motion:
    """Everything moved by whole pixels, `[F]`; what comes into view is background."""
    shown = np.stack(
        [_roll(frame, offset, len(move.turns) - 1) for frame, offset in zip(move.shown, offsets, strict=True)]
    )
    return replace(move, shifts=move.shifts + offsets, shown=shown)


def _moved(move: Motion, moves: NDArray[np.complex128]) -> Motion:
    """Things moved over the background, `[things, F]`; their masks by whole pixels."""
    ground = len(move.turns) - 1
    shown = np.full_like(move.shown, ground)
    for row in range(ground):
        for frame, offset in enumerate(moves[row]):
            own = _roll((move.shown[frame] == row).astype(np.int64), offset, 0)
            shown[frame][own == 1] = row
    shifts = move.shifts.copy()
    shifts[:ground] += moves
    return replace(move, shifts=shifts, shown=shown)


def _roll(frame: NDArray[np.int64], offset: complex, fill: int) -> NDArray[np.int64]:
    """A frame moved by an offset, rounded to pixels."""
    x, y = round(offset.real), round(offset.imag)
    height, width = frame.shape
    out = np.full_like(frame, fill)
    if abs(x) < width and abs(y) < height:
        out[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = frame[
            max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)
        ]
    return out


def _centre(move: Motion, row: int) -> NDArray[np.complex128]:
    """Path of the point of a thing that is in the middle of what is first seen of it; of its origin if never seen."""
    places = np.argwhere(move.shown == row)
    if not len(places):
        return move.shifts[row]
    first = places[places[:, 0] == places[0, 0]]
    middle = complex(first[:, 2].mean() + 0.5, first[:, 1].mean() + 0.5)
    frame = int(places[0, 0])
    start = (middle - move.shifts[row, frame]) / move.turns[row, frame]
    return np.asarray(move.turns[row] * start + move.shifts[row])


DAMAGES: Mapping[str, Damage] = {
    "shuffle": shuffled,
    "teleport": teleport,
    "object teleport": object_teleport,
    "jitter": jitter,
    "reversed: there and back": there_and_back,
    "reversed: there and back, as far": as_far_and_back,
    "reversed: accelerations": reversed_acceleration,
    "reversed: upside down": upside_down,
    "reversed: time": reversed_time,
}
