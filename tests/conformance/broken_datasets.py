"""Datasets that break one promise each: (class, the check that must fail, its words). The sound one is the toy's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.api import Row
from tests.conformance.breaking import breaker
from tests.toy_plugins import Toys

BROKEN, breaks = breaker()


class Sound(Toys):
    """The toy clips, and no others."""

    name = "plain/toys"

    def video(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self.rows()):
            raise IndexError(index)
        return super().video(index)


@breaks("rows", "rows share their id with another")
class Twins(Sound):
    """All rows have one id."""

    def rows(self) -> Sequence[Row]:
        return [replace(row, id="same") for row in super().rows()]


@breaks("rows", "its score ['mq'] is not finite")
class NaNScore(Sound):
    """A score that is none."""

    def rows(self) -> Sequence[Row]:
        return [replace(row, scores={"mq": float("nan")}) for row in super().rows()]


@breaks("videos", "video(0) is float64, not uint8")
class Floats(Sound):
    """Frames in [0, 1]."""

    def video(self, index: int) -> np.ndarray:
        return super().video(index) / 255


@breaks("videos", "is [9, 48, 32, 3], the clip spec is [9, 32, 48, 3]")
class Turned(Sound):
    """Height and width exchanged."""

    def video(self, index: int) -> np.ndarray:
        return super().video(index).transpose(0, 2, 1, 3)


@breaks("videos", "video() draws from (or seeds) the global generator of numpy.random")
class Augmented(Sound):
    """Mirrored at random, globally."""

    def video(self, index: int) -> np.ndarray:
        return super().video(index)[:, :, :: 1 if np.random.rand() < 0.5 else -1]


@breaks("videos", "is another one in a second instance, or after other rows")
class Streamed(Sound):
    """Clips come in the order in which they are asked for."""

    place = 0

    def video(self, index: int) -> np.ndarray:
        super().video(index)
        self.place += 1
        return super().video(self.place % 8)


@breaks("videos", "video(8) answers, although there are 8 rows")
class Endless(Toys):
    """Any row will do."""


@breaks("digest", "digest() is the same for another clip size")
class SizeBlind(Sound):
    """Does not look at the clip spec."""

    def digest(self) -> str:
        return self.config.model_dump_json()
