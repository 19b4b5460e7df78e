"""my-plugin: a score of single clips."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from harness.api import Clip, Features, Metric, Score, register_metric
from numpy.typing import NDArray

# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def measure(frames: NDArray[np.uint8]) -> float | None:
    """Mean absolute change of a pixel from frame to frame, over 255; None where there is nothing to say.

    Args:
        frames: one clip, uint8 `[F, H, W, 3]` RGB, read-only.
    """
    if len(frames) < 2:
        return None
    steps = frames[1:].astype(np.int16) - frames[:-1]
    return float(np.abs(steps).mean(dtype=np.float64)) / 255


# ------------------------------------------------------------------------------------------------------------------


@register_metric
class MyPlugin(Metric):
    """Mean absolute change of a pixel from frame to frame, over 255."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: scores are kept by name, version and options
    higher_is_better = None  # True or False: rows are ranked by it; None: it only describes
    range = (0.0, 1.0)  # a value outside is a failure, not a number
    moves: ClassVar = {"freeze": "down", "reverse": "same"}  # by damage, see mutoscope doctor --metrics

    def score(self, clip: Clip, features: Features) -> Score:
        """Only what is seen may count, and `clip.prompt`: not the file's name, nor the clips before."""
        value = measure(features.frames)
        return Score(value, note="a single frame does not change" if value is None else "")
