"""MSM, motion score matching: DMD that also matches the differences between frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.api import register_method
from methods.dmd import DistributionMatching
from methods.msm import equations, parts

__all__ = ["MSM", "equations", "parts"]


@register_method
class MSM(DistributionMatching):
    """Distribution matching with the motion between frames amplified: a temporal high-pass on DMD's gradient.

    List, rollout, guidance and score shift are CausVid's first stage, which the paper builds on without stating them
    (`wan_bidirectional_dmd_from_scratch.yaml`; its guidance 3.5 is 4.5 in the imagen convention).
    """

    name = "msm"
    preset = {
        "gradient_terms": {"msm": {}},
        "times": (1.0, 0.757, 0.522),
        "rollout": "data",
        "guidance": 4.5,
        "score_shift": 8.0,
    }

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        own = (equations.difference, equations.difference_adjoint, equations.motion_gradient, equations.motion_loss)
        more = (equations.frame_gradient, equations.difference_eigenvalues, equations.frequency_gain)
        return (*own, *more, *super().equations())
