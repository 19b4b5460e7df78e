"""Time laws that know nothing of the clip: uniform, logit-normal, shifted uniform, discrete."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from harness.api import Batch, register_part, shift
from methods.supervised.parts import LawOptions, TimeLaw


def logit_normal_quantile(u: Tensor, m: float = 0.0, s: float = 1.0) -> Tensor:
    """t = sigmoid(m + s Phi^-1(u)): logit-normal times, the Wan baseline (TQD, section 4.1)."""
    return torch.sigmoid(m + s * torch.special.ndtri(u))


def discrete_quantile(u: Tensor, times: Tensor) -> Tensor:
    """t = times[floor(u K)]: each of the K listed times is equally likely."""
    return times[(u * len(times)).long().clamp(max=len(times) - 1)]


@register_part("time_law", "uniform")
class Uniform(TimeLaw):
    """t ~ U(0, 1), the CogVideoX baseline."""

    formula = "t ~ U(0, 1)"
    source = "CogVideoX"

    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        return u


class LogitNormalOptions(LawOptions):
    """Mean and standard deviation of logit(t)."""

    m: float = 0.0
    s: float = Field(1.0, gt=0)


@register_part("time_law", "logit_normal")
class LogitNormal(TimeLaw):
    """logit(t) ~ N(m, s^2), the Wan baseline."""

    formula = "t = sigmoid(m + s Phi^-1(u)), u ~ U(0, 1)"
    source = "Wan2.1"

    Config = LogitNormalOptions

    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        return logit_normal_quantile(u, self.config.m, self.config.s)


class ShiftedUniformOptions(LawOptions):
    """Flow shift; s = 1 is uniform, s > 1 moves time towards noise."""

    s: float = Field(5.0, gt=0)


@register_part("time_law", "shifted_uniform")
class ShiftedUniform(TimeLaw):
    """t = shift(u; s), u ~ U(0, 1)."""

    formula = "t = s u / (1 + (s - 1) u), u ~ U(0, 1)"
    source = "Stable Diffusion 3, timestep shift"

    Config = ShiftedUniformOptions

    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        return shift(u, self.config.s)


class DiscreteOptions(LawOptions):
    """The times to choose from."""

    times: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)


@register_part("time_law", "discrete")
class Discrete(TimeLaw):
    """t is one of a list of times, all equally likely."""

    formula = "t ~ U{times}"
    source = ""

    Config = DiscreteOptions

    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        return discrete_quantile(u, torch.tensor(self.config.times, dtype=torch.float64))
