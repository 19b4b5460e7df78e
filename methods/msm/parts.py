"""MSM as a part of any distribution matching row: `gradient_terms: [{name: msm, lambda_: 1.0}]`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.api import Options, register_part
from methods.dmd import GradientTerm, Match
from methods.msm.equations import (
    Adjoint,
    Norm,
    Reduction,
    difference,
    difference_eigenvalues,
    frame_gradient,
    motion_gradient,
    motion_loss,
)


class MotionOptions(Options):
    """The paper gives neither lambda nor a normaliser nor an adjoint: these are our choices, each an option."""

    lambda_: float = Field(1.0, ge=0, description="weight of the motion gradient; try 0.25, 1, 4")
    adjoint: Adjoint = Field("difference", description="how F - 1 motion gradients reach F frames")
    norm: Norm = Field("shared", description="DMD's normaliser, mean |D(x - real)|, or none")
    reduction: Reduction = Field("mean", description="over F - 1 differences, or the sum over numel(x)")
    eps: float = Field(1e-6, gt=0, description="added to the motion normaliser")


@register_part("gradient_term", "msm")
class MotionScore(GradientTerm):
    """lambda L_msm: the differences between neighbouring frames are matched like the frames themselves."""

    formula = "+ lambda D^T D g (F / (F - 1)), D the difference of neighbouring frames"
    source = "MSM, Eqs. 10-12"

    Config: ClassVar[type[Options]] = MotionOptions

    def __call__(self, match: Match) -> tuple[Tensor, Tensor]:
        c = self.config
        x = match.x.detach()
        shared = c.norm == "shared"  # DMD's own n, whatever eps the row gave it
        motion = difference(match.g) if shared else motion_gradient(x, match.real, match.fake, c.norm, c.eps)
        loss = motion_loss(match.x, motion, c.adjoint, c.reduction)
        return c.lambda_ * loss, c.lambda_ * frame_gradient(motion, c.adjoint, c.reduction)

    def added_gain(self, frames: int) -> list[float] | None:
        """lambda (2 - 2 cos(pi k / F)) `[F]`, times F / (F - 1) for the mean; None where frequencies or norms mix."""
        c = self.config
        if c.adjoint != "difference" or c.norm != "shared":
            return None
        scale = frames / (frames - 1) if c.reduction == "mean" else 1.0
        return [float(c.lambda_ * scale * value) for value in difference_eigenvalues(frames)]
