"""my-plugin: distribution matching with a further gradient of your own."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Options, register_method, register_part
from methods.dmd import DistributionMatching, GradientTerm, Match
from methods.dmd.equations import pseudo_loss
from pydantic import Field
from torch import Tensor


class MyOptions(Options):
    """Your options: set in a suite file as `gradient_terms: {my-plugin: {weight: 0.2}}`."""

    weight: float = Field(0.5, ge=0, description="of the added gradient")


# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def gradient(match: Match, options: MyOptions) -> Tensor:
    """weight (g - mean over frames of g): what DMD wants changed from frame to frame, once more; `[B, C, F, H, W]`.

    Args:
        match: x, the student's clean latents; real and fake, what the two scores see in them; g = (fake - real) / n,
            DMD's own gradient, to which this is added; t `[B]`, where they were asked. All `[B, C, F, H, W]`.
    """
    return options.weight * (match.g - match.g.mean(dim=2, keepdim=True))


# ------------------------------------------------------------------------------------------------------------------


@register_part("gradient_term", "my-plugin")
class MyTerm(GradientTerm):
    """The gradient above, as a part that any row of this family can name in `gradient_terms`."""

    Config: ClassVar[type[Options]] = MyOptions

    def __call__(self, match: Match) -> tuple[Tensor, Tensor]:
        added = gradient(match, self.config)
        return pseudo_loss(match.x, added), added


@register_method
class MyPlugin(DistributionMatching):
    """Distribution matching that minds motion more."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: results are kept by name, version and options
    preset: ClassVar = {"gradient_terms": {"my-plugin": {}}}
