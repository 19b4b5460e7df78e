"""my-plugin: a sampler of your own for the untouched backbone; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from harness.api import (
    Backbone,
    Batch,
    Method,
    Needs,
    Options,
    Sampler,
    Schedule,
    Turn,
    convert,
    guide,
    register_method,
)
from methods.supervised.sampler import sampling_times
from pydantic import Field
from torch import Tensor


class MyOptions(Options):
    """Your options: set in a suite file, or by `--set methods.my-plugin.low=0.1`."""

    low: float = Field(0.2, ge=0, le=1, description="guide at times from here ...")
    high: float = Field(0.9, ge=0, le=1, description="... to here")


# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def guidance_at(t: float, scale: float, options: MyOptions) -> float:
    """How strongly to guide at time t, 1 is pure noise; 1 is not at all and costs half as much.

    Guidance in a limited interval (Kynkaanniemi et al. 2024), with the suite's `scale` inside it.
    """
    return scale if options.low <= t <= options.high else 1.0


# ------------------------------------------------------------------------------------------------------------------


class MySampler:
    """`x <- alpha(s) x0_hat + sigma(s) eps_hat` along the suite's grid, guided as above."""

    def __init__(self, schedule: Schedule, suite: Mapping[str, Any], options: MyOptions) -> None:
        self.times = sampling_times(schedule, suite["steps"], suite["shift"])
        self.scales = [guidance_at(float(t), suite["guidance"], options) for t in self.times]
        self.nfe = sum(1 if scale == 1 else 2 for scale in self.scales)  # network evaluations a clip, as the board says

    @torch.no_grad()
    def __call__(self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """noise `[B, C, F, H, W]`, cond `[B, L, D]` to clean latents; further noise from `generators`, one a clip."""
        x = noise
        for i, (t, scale) in enumerate(zip(self.times, self.scales, strict=True)):
            at = t.expand(len(x)).to(x.device)
            answer = model.predict(x, at, cond, "native")
            if scale != 1:
                answer = guide(answer, model.predict(x, at, model.null_cond(len(x)).to(cond), "native"), scale)
            x0, eps = (convert(answer, x, t, model.schedule, model.native, want) for want in ("x0", "eps"))
            x = x0 if i + 1 == len(self.times) else model.schedule.step(x0, eps, self.times[i + 1])
        return x


@register_method
class MyPlugin(Method):
    """The untouched backbone, guided only in the middle of the way."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: results are kept by name, version and options
    Config: ClassVar[type[Options]] = MyOptions
    turns: Sequence[Turn] = ()  # nothing is trained

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(fields=())

    def loss(self, role: str, batch: Batch, step: int) -> NoReturn:
        """Never asked for: there are no turns."""
        raise TypeError("my-plugin trains nothing")

    def sampler(self) -> Sampler:
        return MySampler(self.roles["student"].schedule, self.services.generate, self.config)
