"""my-plugin: one score of a whole set of clips."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from harness.api import Clip, Features, Metric, Score, register_metric
from numpy.typing import NDArray

# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def measure(frames: NDArray[np.uint8]) -> tuple[float, ...]:
    """What is kept of one clip: its mean colour (R, G, B) over 255.

    Args:
        frames: one clip, uint8 `[F, H, W, 3]` RGB, read-only.
    """
    return tuple((frames.mean(axis=(0, 1, 2), dtype=np.float64) / 255).tolist())


def summarise(kept: NDArray[np.float64]) -> float:
    """How far apart the clips are: the root of the summed variances of what was kept of them, `[clips, 3]`."""
    return float(np.sqrt(kept.var(axis=0).sum()))


# ------------------------------------------------------------------------------------------------------------------


@register_metric
class MyPlugin(Metric):
    """How far apart the mean colours of the clips are; 0 when all are alike."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: scores are kept by name, version and options
    level = "set"
    higher_is_better = None  # True or False: rows are ranked by it; None: it only describes
    range = (0.0, 1.0)  # a value outside is a failure, not a number
    moves: ClassVar = {"reverse": "same", "shuffle": "same"}  # by damage, see mutoscope doctor --metrics

    def reset(self) -> None:
        self.kept: list[tuple[float, ...]] = []

    def update(self, clip: Clip, features: Features) -> None:
        self.kept.append(measure(features.frames))

    def merge(self, other: Metric) -> None:
        assert isinstance(other, MyPlugin)
        self.kept += other.kept

    def compute(self) -> Score:
        """Sorted first, so that neither the order of clips nor how they were shared out changes a digit."""
        if len(self.kept) < 2:
            return Score(None, note="a single clip is no set")
        return Score(summarise(np.array(sorted(self.kept), dtype=np.float64)))
