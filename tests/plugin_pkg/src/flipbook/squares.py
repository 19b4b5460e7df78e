"""A dataset in forty lines: one square a clip, on its way to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec, Dataset, Options, Row, register_dataset

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 210, 40)}


class SquareOptions(Options):
    """Which clips."""

    first: int = 0
    size: int = 8


@register_dataset
class Squares(Dataset):
    """One square a clip, moving to the right; a clip is a pure function of its number."""

    name = "flipbook-squares"
    Config: ClassVar[type[Options]] = SquareOptions

    def __init__(self, config: Any, spec: ClipSpec) -> None:
        super().__init__(config, spec)
        self.numbers = range(config.first, config.first + config.size)

    def rows(self) -> Sequence[Row]:
        return [Row(f"square-{n}", f"a {self._colour(n)} square moves to the right, take {n}") for n in self.numbers]

    def video(self, index: int) -> NDArray[np.uint8]:
        number, spec = self.numbers[index], self.spec
        frames = np.full((spec.frames, spec.height, spec.width, 3), 30 + number, np.uint8)
        side = spec.height // 4
        for f, frame in enumerate(frames):
            left = (spec.width - side) * f // max(1, spec.frames - 1)
            frame[side : 2 * side, left : left + side] = COLOURS[self._colour(number)]
        return frames

    def digest(self) -> str:
        return f"squares-1-{self.config.model_dump_json()}-{self.spec.model_dump_json()}"

    def _colour(self, number: int) -> str:
        return list(COLOURS)[number % len(COLOURS)]
