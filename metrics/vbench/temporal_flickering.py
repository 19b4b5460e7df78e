"""VBench temporal_flickering (vbench 0.1.5, temporal_flickering.py): no weights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Features, Metric, Score, register_metric


@register_metric
class TemporalFlickering(Metric):
    """One minus the mean absolute difference of neighbouring frames; 1 is a frozen clip.

    The official formula on every clip it is given (VBench's custom input). VBench's leaderboard value is taken on
    clips that passed its static filter only; without the filter, motion lowers the score.

    Equal to the official code within 1e-7. Its pinned OpenCV 4 ignores bt709 tags, which we respect: up to 1e-4 there.
    """

    name = "vbench/temporal_flickering"

    def score(self, clip: Clip, features: Features) -> Score:
        frames = features.frames
        if len(frames) < 2:
            return Score(None, note="a single frame cannot flicker")
        return Score((255.0 - float(np.mean(frame_differences(frames)))) / 255.0)


def frame_differences(frames: NDArray[np.uint8]) -> list[float]:
    """`MAE_i`: mean absolute grey-level difference of frames i and i + 1 over pixels and channels, exact; `[F - 1]`."""
    return [float(np.abs(np.subtract(a, b, dtype=np.int16)).sum(dtype=np.int64) / a.size) for a, b in pairwise(frames)]
