"""What a tracker is examined on: a texture whose every point's path is known; and one tracker, as configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.config import validate
from harness.conformance.report import demand
from harness.tracking import Tracker

if TYPE_CHECKING:
    from harness.tracking import Tracked

Frames = NDArray[np.uint8]
Array = NDArray[np.float64]

SIDES = (96, 128)  # height, width: not square, so that swapped coordinates show
FRAMES = 9
SLOW, FAST = (1.25, -0.75), (7.0, 0.0)  # pixels a frame, (x, y)
WAVES, SHORTEST, LONGEST = 48, 7.0, 40.0  # of the texture, pixels
POINTS = 12
SEED = 3
SAME = 1e-3  # pixels, of the same computation


def drifting(
    velocity: tuple[float, float] = SLOW, frames: int = FRAMES, sides: tuple[int, int] = SIDES, seed: int = SEED
) -> Frames:
    """A texture without borders that moves by `velocity`: a sum of waves, so that it is exact between pixels."""
    rng = np.random.default_rng(seed)
    length, way = rng.uniform(SHORTEST, LONGEST, (3, WAVES)), rng.uniform(0, np.pi, (3, WAVES))
    phase = rng.uniform(0, 2 * np.pi, (3, WAVES))
    per_x, per_y = 2 * np.pi * np.cos(way) / length, 2 * np.pi * np.sin(way) / length
    height, width = sides
    made = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        x, y = np.arange(width) - t * velocity[0], np.arange(height) - t * velocity[1]
        for colour in range(3):
            across = np.exp(1j * (np.outer(x, per_x[colour]) + phase[colour]))
            along = np.exp(1j * np.outer(y, per_y[colour]))
            waves = (along @ across.T).imag / np.sqrt(WAVES / 2)  # unit variance
            made[t, :, :, colour] = (128 + 40 * waves).round().clip(0, 255)
    return made


def scattered(frames: list[int], low: float = 0.25, high: float = 0.75, seed: int = SEED) -> Array:
    """`POINTS` queries (t, x, y), in these frames by turns, between the shares `low` and `high` of both sides."""
    height, width = SIDES
    places = np.random.default_rng([seed, 1]).uniform(low, high, (POINTS, 2)) * (width, height)
    return np.column_stack([np.resize(frames, POINTS), places])


def path(queries: Array, velocity: tuple[float, float] = SLOW, frames: int = FRAMES) -> Array:
    """Where queries on a drifting texture are in every frame, `[N, T, 2]`."""
    elapsed = np.arange(frames)[None] - queries[:, :1]
    return np.asarray(queries[:, None, 1:] + elapsed[..., None] * velocity)


def differ(one: Tracked, other: Tracked, problem: str, to: float = SAME) -> None:
    """Fault unless two answers are the same: positions to `to` pixels, visibility exactly."""
    off = float(np.abs(one[0] - other[0]).max(initial=0))
    flags = int((one[1] != other[1]).sum())
    demand(off <= to and not flags, f"{problem}: by up to {off:.3g} px, {flags} visibilities are others")


class TrackerBench:
    """One tracker under one configuration; the usual instance is kept, for its networks may be large."""

    def __init__(self, kind: type[Tracker], settings: Mapping[str, Any]) -> None:
        self.kind, self.settings = kind, dict(settings)
        self.config: Any = validate(kind.Config, self.settings, kind.name)
        self.video, self.queries = drifting(), scattered([0, FRAMES // 2, FRAMES - 1])
        self._usual: Tracker | None = None
        self._answer: Tracked | None = None

    def fresh(self, **changed: Any) -> Tracker:
        """Another instance, with some options changed. UserError where they may not have these values."""
        config = validate(self.kind.Config, {**self.settings, **changed}, self.kind.name) if changed else self.config
        return self.kind(config)

    @property
    def usual(self) -> Tracker:
        if self._usual is None:
            self._usual = self.fresh()
        return self._usual

    def ask(self, tracker: Tracker) -> Tracked:
        """About copies of `video` and `queries`."""
        return tracker.track(self.video.copy(), self.queries.copy())

    @property
    def answer(self) -> Tracked:
        """The usual instance's first answer about `video` and `queries`, a copy."""
        if self._answer is None:
            tracks, visible = self.ask(self.usual)
            self._answer = tracks.copy(), visible.copy()
        return self._answer

    def close(self) -> None:
        if self._usual is not None:
            self._usual.close()
