"""Element weights that know nothing of the clip: none and a constant."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from harness.api import Batch, Options, register_part
from methods.supervised.parts import ElementWeight


@register_part("element_weight", "none")
class NoWeight(ElementWeight):
    """w = 1."""

    formula = "w = 1"
    source = ""

    def __call__(self, batch: Batch, t: Tensor) -> Tensor:
        return torch.ones((), device=batch.latent.device)


class ConstOptions(Options):
    """The weight of every element."""

    value: float = Field(gt=0)


@register_part("element_weight", "const")
class Const(ElementWeight):
    """w = value: the control for a weight of that mean, since gradient clipping and weight decay notice the scale."""

    formula = "w = value"
    source = ""

    Config = ConstOptions

    def __call__(self, batch: Batch, t: Tensor) -> Tensor:
        return torch.full((), self.config.value, device=batch.latent.device)
