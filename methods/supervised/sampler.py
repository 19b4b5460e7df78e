"""S1: the multi-step sampler with classifier-free guidance, for teachers and everything trained by supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.api import Backbone, Schedule, Services, UserError, VariancePreserving, convert, guide, shift
from methods.fewstep import Renoise, predict_x0
from methods.supervised.guests import Hosting


def flow_times(steps: int, s: float) -> list[float]:
    """t_i = shift(1 - i/n; s), i = 0 .. n-1: the rectified-flow grid from 1 down; the last step goes to 0."""
    return [shift(1 - i / steps, s) for i in range(steps)]


def trailing_indices(steps: int, n: int) -> list[int]:
    """i_k = round(N - k N/n) - 1, k = 0 .. n-1: the "trailing" grid of variance-preserving indices, from N - 1."""
    if steps > n:
        raise UserError(f"{steps} sampling steps, but the schedule has {n} times", f"use at most {n}")
    return [round(n - k * n / steps) - 1 for k in range(steps)]


def sampling_times(schedule: Schedule, steps: int, s: float) -> Tensor:
    """Descending times `[n]` float64 of either grid; `s` shapes only the flow grid."""
    if isinstance(schedule, VariancePreserving):
        return schedule.time(torch.tensor(trailing_indices(steps, len(schedule.abar))))
    return torch.tensor(flow_times(steps, s), dtype=torch.float64)


class MultistepCFG:
    """`x <- alpha(s) x0_hat + sigma(s) eps_hat` along a grid: Euler for flows, DDIM (eta = 0) for variance preserving.

    Args:
        steps: n. guidance: s of `uncond + s (cond - uncond)`; 1 spares the unconditional half. shift: of the flow grid.
    """

    def __init__(self, steps: int = 50, guidance: float = 5.0, shift: float = 5.0) -> None:
        self.steps, self.guidance, self.shift = steps, guidance, shift
        self.nfe = steps if guidance == 1 else 2 * steps

    @torch.no_grad()
    def __call__(
        self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """noise `[B, C, F, H, W]`, cond `[B, L, D]` to x0; deterministic, so `generators` stay untouched."""
        null = None if self.guidance == 1 else model.null_cond(len(noise)).to(cond)
        times = sampling_times(model.schedule, self.steps, self.shift)
        x = noise
        for i, t in enumerate(times):
            prediction = self._predict(model, x, t, cond, null)
            x0 = convert(prediction, x, t, model.schedule, model.native, "x0")
            if i + 1 == len(times):
                return x0
            eps = convert(prediction, x, t, model.schedule, model.native, "eps")
            x = model.schedule.step(x0, eps, times[i + 1])
        raise AssertionError("a sampler has at least one step")

    def _predict(self, model: Backbone, x: Tensor, t: Tensor, cond: Tensor, null: Tensor | None) -> Tensor:
        """The guided native prediction, from one network call on `[cond, uncond]`."""
        if null is None:
            return model.predict(x, t.expand(len(x)).to(x.device), cond, "native")
        both = model.predict(torch.cat([x, x]), t.expand(2 * len(x)).to(x.device), torch.cat([cond, null]), "native")
        conditional, unconditional = both.chunk(2)
        return guide(conditional, unconditional, self.guidance)


class FewSteps(Renoise):
    """S2 with a network that was never distilled: the guided x0 prediction, noised again; what few steps cost it.

    Args:
        times: as in `Renoise`. guidance: s of `uncond + s (cond - uncond)`; 1 spares the unconditional half.
    """

    def __init__(self, times: Sequence[float], guidance: float = 5.0, stochastic: bool = True) -> None:
        super().__init__(times, self.predict, stochastic)
        self.guidance = guidance
        self.nfe = len(self.times) * (1 if guidance == 1 else 2)

    def predict(self, model: Backbone, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Guided clean latents `[B, C, F, H, W]` at t `[B]`; guiding x0 is guiding the native prediction."""
        if self.guidance == 1:
            return predict_x0(model, x, t, cond)
        texts = torch.cat([cond, model.null_cond(len(x)).to(cond)])
        conditional, unconditional = predict_x0(model, torch.cat([x, x]), torch.cat([t, t]), texts).chunk(2)
        return guide(conditional, unconditional, self.guidance)


class SamplerOptions(Hosting):
    """Overrides of the suite's `generate` settings for one row; None keeps the suite's."""

    guests: ClassVar[tuple[str, ...]] = ("name", "times", "stochastic")

    steps: int | None = Field(None, ge=1)
    guidance: float | None = None
    shift: float | None = Field(None, gt=0)
    name: Literal["multistep", "renoise"] | None = Field(None, description="multistep unless named")
    times: tuple[float, ...] | None = Field(None, min_length=1, description="of renoise: where the network is asked")
    stochastic: bool | None = Field(None, description="of renoise: fresh noise (default), or the predicted one again")

    @model_validator(mode="after")
    def _one_sampler(self) -> SamplerOptions:
        renoises = self.name == "renoise"
        foreign = ("steps", "shift") if renoises else ("times", "stochastic")
        if given := [name for name in foreign if getattr(self, name) is not None]:
            raise ValueError(f"{self.name or 'multistep'} has no {' and '.join(given)}")
        if renoises and self.times is None:
            raise ValueError("renoise needs times, from noise (1) down, for example [1, 0.9, 0.75, 0.5]")
        return self


def multistep(services: Services, options: SamplerOptions) -> MultistepCFG:
    """The suite's sampler with a row's overrides."""
    names = ("steps", "guidance", "shift")
    settings = {key: services.generate[key] for key in names if key in services.generate}
    return MultistepCFG(**{**settings, **options.model_dump(include=set(names), exclude_none=True)})


def chosen(services: Services, options: SamplerOptions) -> MultistepCFG | FewSteps:
    """The sampler a row names."""
    if options.name != "renoise":
        return multistep(services, options)
    guidance = services.generate.get("guidance", 5.0) if options.guidance is None else options.guidance
    return FewSteps(options.times or (), guidance, options.stochastic is not False)
