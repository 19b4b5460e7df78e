"""The formula of subject_consistency and background_consistency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Score


def consistency(features: NDArray[Any]) -> Score:
    """Mean over frames i > 0 of `(max(0, cos(f[i-1], f[i])) + max(0, cos(f[0], f[i]))) / 2`; 0..1.

    Source: vbench 0.1.5, subject_consistency.py and background_consistency.py. Part `pairs`: the terms of the mean, by
    which VBench weighs videos.

    Args:
        features: `[F, D]`, of any length; none of zero.
    """
    pairs = len(features) - 1
    if pairs < 1:
        return Score(None, note="a single frame has nothing to be consistent with")
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = np.stack([(unit[:-1] * unit[1:]).sum(1), unit[1:] @ unit[0]])
    return Score(float(cosines.clip(0, 1).mean()), {"pairs": pairs})
