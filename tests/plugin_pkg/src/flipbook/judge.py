"""Does a clip end as it began?"""

from __future__ import annotations

import numpy as np

from harness.api import Clip, Features, Metric, Score, register_metric


@register_metric
class Return(Metric):
    """1 - mean |last frame - first frame| / 255: 1 for a clip that comes back."""

    name = "flipbook/return"

    def score(self, clip: Clip, features: Features) -> Score:
        first, last = features.frames[0].astype(np.int16), features.frames[-1].astype(np.int16)
        return Score(1 - float(np.abs(last - first).mean(dtype=np.float64)) / 255)
