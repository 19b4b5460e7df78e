"""Clips and stand-ins for the tests of the embedded judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipSpec, Row
from harness.data.shapes import Shapes
from harness.data.world import render

BACKGROUND, RED, BLUE = (60, 60, 60), (208, 58, 54), (64, 108, 216)


@dataclass
class Frames:
    """What a metric is handed, without a file behind it."""

    frames: NDArray[np.uint8]
    fps: float = 8.0

    def get(self, name: str) -> NDArray[Any]:
        raise KeyError(name)


def clip(**meta: Any) -> Clip:
    return Clip("a", Path("a.mp4"), "0" * 64, meta=meta)


@cache
def held_out(count: int) -> tuple[tuple[Row, NDArray[np.uint8]], ...]:
    """Rows and frames of the held-out split."""
    data = Shapes(Shapes.Config(size=count, seed=11, split="heldout"), ClipSpec())
    return tuple((row, data.video(index)) for index, row in enumerate(data.rows()))


@cache
def scenes_with(motion: str, count: int, split: str = "heldout") -> tuple[tuple[Row, NDArray[np.uint8]], ...]:
    """The first clips under a still camera whose only object does `motion`."""
    data = Shapes(Shapes.Config(size=4000, seed=12, split=split), ClipSpec())
    found = []
    for index, row in enumerate(data.rows()):
        things = row.meta["objects"]
        if row.meta["camera"] == "still" and len(things) == 1 and things[0]["motion"] == motion:
            found.append((row, render(data.scene(index))))
        if len(found) == count:
            break
    return tuple(found)


def squares(
    *paths: Sequence[tuple[int, int] | None], colours: tuple[tuple[int, int, int], ...] = (RED,)
) -> NDArray[np.uint8]:
    """Squares of 12 pixels with the given top-left corners (x, y) per frame, None where one is absent."""
    video = np.full((len(paths[0]), 64, 64, 3), BACKGROUND, np.uint8)
    for k, path in enumerate(paths):
        for frame, corner in zip(video, path, strict=True):
            if corner is not None:
                x, y = corner
                frame[max(y, 0) : max(y + 12, 0), max(x, 0) : max(x + 12, 0)] = colours[k % len(colours)]
    return video
