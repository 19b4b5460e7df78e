"""DMD, distribution matching distillation: the trainer that MSM and AVD are presets of, and its plain form."""

from __future__ import annotations

from harness.api import register_method
from methods.dmd import equations
from methods.dmd.options import MatchingOptions
from methods.dmd.parts import ExtraLoss, GradientTerm, Match, Question, Setting, StudentTurn
from methods.dmd.trainer import DistributionMatching

__all__ = [
    "DMD",
    "DistributionMatching",
    "ExtraLoss",
    "GradientTerm",
    "Match",
    "MatchingOptions",
    "Question",
    "Setting",
    "StudentTurn",
    "equations",
]


@register_method
class DMD(DistributionMatching):
    """A few-step student whose samples the teacher finds as likely as its own (DMD2 without GAN and regression)."""

    name = "dmd"
