"""my-plugin: consistency distillation with a distance of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from harness.api import Options, register_method
from methods.consistency import Consistency, ConsistencyOptions
from methods.supervised.trainer import weighted_mean
from pydantic import Field
from torch import Tensor


class MyOptions(ConsistencyOptions):
    """Your options: set in a suite file, or by `--set methods.my-plugin.growth=0.2`."""

    growth: float = Field(0.5, ge=0, description="how much more the last frame counts than the first")


# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def distance(x0: Tensor, goal: Tensor, options: MyOptions) -> Tensor:
    """(1 + growth f / (F - 1)) |x0 - goal| at frame f, elementwise; the loss is its mean.

    Args:
        x0: the student's clean latents `[B, C, F, H, W]`; goal: what they must agree with, one solver step nearer the
            clip, without gradient.
    """
    error = (x0.float() - goal.float()).abs()
    ramp = torch.linspace(0, 1, error.shape[2], device=error.device).reshape(1, 1, -1, 1, 1)
    return (1 + options.growth * ramp) * error


# ------------------------------------------------------------------------------------------------------------------


@register_method
class MyPlugin(Consistency):
    """Latent consistency distillation that minds later frames more."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: results are kept by name, version and options
    Config: ClassVar[type[Options]] = MyOptions

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (distance, *super().equations())

    def distance(self, x0: Tensor, goal: Tensor, weight: Tensor | None = None) -> Tensor:
        """In place of the trainer's own, which its options `distance` and `huber_c` describe."""
        error = distance(x0, goal, self.config)
        return error.mean() if weight is None else weighted_mean(error, weight)
