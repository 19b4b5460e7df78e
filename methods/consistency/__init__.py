"""Consistency distillation: one trainer, and the plain baselines as presets of it."""

from __future__ import annotations

from harness.api import register_method
from methods.consistency import equations, feedback, reward_loss
from methods.consistency.grid import ConsistencyFunction, SolverGrid
from methods.consistency.guidance import Guidance, GuidanceOptions, Recalled, SolverStep
from methods.consistency.options import ConsistencyOptions
from methods.consistency.trainer import Consistency

__all__ = [
    "LCM",
    "VCM",
    "Consistency",
    "ConsistencyFunction",
    "ConsistencyOptions",
    "Guidance",
    "GuidanceOptions",
    "Recalled",
    "SolverGrid",
    "SolverStep",
    "equations",
    "feedback",
    "reward_loss",
]


@register_method
class LCM(Consistency):
    """Latent consistency distillation: 50 solver steps, targets from an average of the student's weights."""

    name = "lcm"
    preset = {"solver_steps": 50, "target": "ema", "ema_decay": 0.95}


@register_method
class VCM(Consistency):
    """T2V-Turbo-v2's own consistency baseline: 200 solver steps, targets from the student itself."""

    name = "vcm"
    preset = {"solver_steps": 200, "target": "online"}
