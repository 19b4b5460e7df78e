"""Ground-truth tracks of the embedded world, as many as one likes: what `trajan-shapes` learns from.

The training and measuring scripts alone look a dataset up by name; the metrics see nothing but frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec
from harness.registry import datasets

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """Where everything in a clip goes. Things move by similarities, so any point of theirs can be followed exactly.

    turns, shifts: complex `[things + 1, F]`: point z = x + iy of a thing is at `turn * z + shift`; the last row is the
    background. shown: `[F, H, W]`, which row each pixel shows.
    """

    turns: NDArray[np.complex128]
    shifts: NDArray[np.complex128]
    shown: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.shown.shape[1], self.shown.shape[2]

    def follow(self, queries: Floats) -> tuple[Floats, Flags, NDArray[np.int64]]:
        """Tracks of points `[N, 3]` (t, x, y): positions `[N, F, 2]`, visibility `[N, F]`, and rows `[N]`.

        Positions are in pixels from the frame's upper left corner, so pixel p is from p to p + 1.
        """
        frame, place = queries[:, 0].astype(int), queries[:, 1] + 1j * queries[:, 2]
        rows = self.shown[frame, queries[:, 2].astype(int), queries[:, 1].astype(int)]
        start = (place - self.shifts[rows, frame]) / self.turns[rows, frame]
        paths = self.turns[rows] * start[:, None] + self.shifts[rows]
        tracks = np.stack([paths.real, paths.imag], -1)
        return tracks, self.visible(tracks, rows), rows

    def visible(self, tracks: Floats, rows: NDArray[np.int64]) -> Flags:
        """Whether the pixel that a point falls on shows its owner, `[N, F]`."""
        height, width = self.size
        column, row = np.floor(tracks).astype(int).transpose(2, 0, 1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        frames = np.arange(len(self.shown))
        at = self.shown[frames, row.clip(0, height - 1), column.clip(0, width - 1)]
        return inside & (at == rows[:, None])


def motion(dataset: Any, index: int) -> Motion:
    """The motion of clip `index`, from the dataset's own ground truth."""
    truth = dataset.truth(index)
    things = truth.masks.shape[1]
    paths = truth.tracks[..., 0] + 1j * truth.tracks[..., 1]
    turns, shifts = zip(*(_similarity(paths[truth.owner == row]) for row in (*range(things), -1)), strict=True)
    shown = np.where(truth.masks.any(1), truth.masks.argmax(1), things)
    return Motion(np.stack(turns), np.stack(shifts), shown)


def _similarity(points: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Least squares: `[P, F]` -> the turn and the shift from frame 0 to every frame, `[F]` each."""
    middle = points.mean(0)
    spread = points - middle
    turn = (spread[:, :1].conj() * spread).sum(0) / (np.abs(spread[:, 0]) ** 2).sum()
    return turn, middle - turn * middle[0]


def draw_queries(move: Motion, count: int, on_things: float, rng: np.random.Generator) -> Floats:
    """Random points `[count, 3]` (t, x, y) in random frames; a share of them on things, the rest anywhere."""
    frames, height, width = move.shown.shape
    queries = rng.random((count, 3)) * (frames, width, height)
    queries[:, 0] = np.floor(queries[:, 0])
    places = np.argwhere(move.shown < len(move.turns) - 1)  # [n, 3] t, row, column
    chosen = np.flatnonzero(rng.random(count) < on_things) if len(places) else np.zeros(0, int)
    picked = places[rng.integers(len(places), size=len(chosen))] if len(chosen) else places[:0]
    queries[chosen] = picked[:, [0, 2, 1]] + rng.random((len(chosen), 3)) * (0, 1, 1)
    return queries


def world(split: str, seed: int, size: int, spec: ClipSpec | None = None) -> Any:
    """Clean clips of the embedded world."""
    cls: Any = datasets.get("shapes")
    return cls(cls.Config(size=size, seed=seed, split=split), spec or ClipSpec())
