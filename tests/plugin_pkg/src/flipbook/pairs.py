"""A weight for pairs of frames, as a part, and the method that is fine-tuning with it."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness.api import Batch, Options, register_method, register_part
from methods.supervised import ElementWeight, Supervised


class PairOptions(Options):
    """How unlike the frames of a pair are treated."""

    odd: float = Field(0.5, ge=0, description="weight of every second latent frame")


@register_part("element_weight", "pairs")
class PairWeight(ElementWeight):
    """w = 1 for latent frames 0, 2, 4 ..., `odd` for the others."""

    Config: ClassVar[type[Options]] = PairOptions

    def __call__(self, batch: Batch, t: Tensor) -> Tensor:
        weight = torch.ones(batch.latent.shape[2], device=batch.latent.device)
        weight[1::2] = self.config.odd
        return weight.reshape(1, 1, -1, 1, 1)


@register_method
class Pairs(Supervised):
    """Fine-tuning that minds every second frame less."""

    name = "flipbook-pairs"
    preset: ClassVar = {"element_weight": "pairs"}
