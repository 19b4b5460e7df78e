"""T2V-Turbo-v2: consistency distillation with reward feedback and motion guidance, as presets of one trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.api import register_method
from methods.consistency import Consistency
from methods.t2v_turbo_v2 import equations, guidance, stage

__all__ = ["T2VTurboV2", "T2VTurboV2NoMG", "equations", "guidance", "stage"]

BASELINE = {"solver_steps": 200, "target": "online"}
REWARDS = ({"name": "hpsv2.1"}, {"name": "clipscore"}, {"name": "viclip"})


@register_method
class T2VTurboV2NoMG(Consistency):
    """T2V-Turbo-v2 without motion guidance: consistency distillation plus image-text and video-text rewards."""

    name = "t2v-turbo-v2-nomg"
    preset = {**BASELINE, "rewards": REWARDS}


@register_method
class T2VTurboV2(Consistency):
    """T2V-Turbo-v2: rewards, and a teacher pushed towards the motion of the training clip at high noise."""

    name = "t2v-turbo-v2"
    preset = {**BASELINE, "rewards": REWARDS, "guidance": {"name": "motion"}}

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        own = (equations.attention_mask, equations.energy_sum, equations.energy_mean, equations.motion_energy)
        steps = (equations.gamma, equations.guided_step, equations.first_active, equations.inversion_step)
        return (*own, equations.motion_gradient, *steps, *super().equations())
