"""LTD (latent temporal discrepancy): the loss counts more where the clean latent moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.api import Batch, Options, register_method, register_part
from methods.diagnosis import Log
from methods.ltd import diagnostics, equations
from methods.ltd.equations import latent_difference, motion_weight, unit_mean, windowed_mean
from methods.supervised import ElementWeight, Supervised

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LTD", "LtdOptions", "LtdWeight", "diagnostics", "equations"]


class LtdOptions(Options):
    """Window, norm and scale of the weight."""

    tau: int = Field(3, ge=1, description="window size in latent frames; an even one equals the next odd one")
    norm: Literal["voxel", "frame", "frame_rms"] = Field(
        "voxel", description="what a difference of frames is measured over"
    )
    normalise: bool = Field(False, description="divide by the batch mean, to keep the scale of an unweighted loss")


@register_part("element_weight", "ltd")
class LtdWeight(ElementWeight):
    """w = 1 + ln(e + D), D the windowed mean change of the clean latent (Eqs. 2-3)."""

    formula = "w = 1 + ln(e + D), D = mean of |z(i+1) - z(i)| over tau frames"
    source = "LTD, Eqs. 2-3"

    Config: ClassVar[type[Options]] = LtdOptions

    @torch.no_grad()
    def __call__(self, batch: Batch, t: Tensor) -> Tensor:
        """`[B, 1, F, H, W]` (voxel) or `[B, 1, F, 1, 1]`."""
        d = latent_difference(batch.latent, self.config.norm)
        w = motion_weight(windowed_mean(d, self.config.tau)).unsqueeze(1)
        return unit_mean(w) if self.config.normalise else w


@register_method
class LTD(Supervised):
    """Logit-normal fine-tuning whose squared error is weighted by how much the latent moves there."""

    name = "ltd"
    preset = {"time_law": {"name": "logit_normal"}, "element_weight": {"name": "ltd"}}

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (latent_difference, windowed_mean, motion_weight, unit_mean, *super().equations())

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        if not isinstance(self.element_weight, LtdWeight):
            return {}
        return diagnostics.figures(diagnostics.measure(self.student, batch, self.element_weight.config.tau))
