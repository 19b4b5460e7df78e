"""S2, the few-step sampler: predict clean latents, put noise back, predict again. For consistency and DMD students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from harness.api import Backbone, Schedule, UserError, convert

StudentStep = Callable[[Backbone, Tensor, Tensor, Tensor], Tensor]  # (model, x, t [B], cond) -> x0


def predict_x0(model: Backbone, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """f(x, t, c): the student's clean latents `[B, C, F, H, W]`, without guidance."""
    return model.predict(x, t, cond, "x0")


def renoise(x0: Tensor, eps: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """x_t = alpha(t) x0 + sigma(t) eps for one time `t` (0-d) of the whole batch."""
    return schedule.add_noise(x0, eps, t.to(x0.device)).to(x0.dtype)


def fresh_noise(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal of the shape of `like` `[B, ...]`, row b from the CPU generator b."""
    rows = [
        torch.randn(row.shape, generator=source, dtype=row.dtype) for row, source in zip(like, generators, strict=True)
    ]
    return torch.stack(rows).to(like.device)


class Renoise:
    """`x = noise; for k: x0 = f(x, t_k); x = alpha(t_{k+1}) x0 + sigma(t_{k+1}) eps`; returns the last x0.

    One network call a step and no guidance.

    Args:
        times: t_1 > t_2 > ... in (0, 1], where the student is asked; their number is the NFE.
        student: f, by default the backbone's x0; a consistency student wraps it.
        stochastic: eps is fresh, from each clip's generator; False re-uses the eps of the prediction.
    """

    def __init__(self, times: Sequence[float], student: StudentStep = predict_x0, stochastic: bool = True) -> None:
        if not times or any(later >= earlier for earlier, later in pairwise(times)):
            raise UserError(f"sampling times {list(times)} must descend", "list them from noise (1) down")
        if not 0 < times[-1] <= times[0] <= 1:
            raise UserError(f"sampling times {list(times)} must lie in (0, 1]", "1 is pure noise")
        self.times, self.student, self.stochastic = tuple(times), student, stochastic
        self.nfe = len(self.times)

    @torch.no_grad()
    def __call__(
        self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """noise `[B, C, F, H, W]`, cond `[B, L, D]` to x0."""
        times = torch.tensor(self.times, dtype=torch.float64)
        x = self.start(noise)
        for k, t in enumerate(times):
            x0 = self.student(model, x, t.expand(len(x)).to(x.device), cond)
            if k + 1 == len(times):
                return self.arrange(k, x0)
            eps = None if self.stochastic else convert(x0, x, t.to(x.device), model.schedule, "x0", "eps")
            x0 = self.arrange(k, x0)
            x = renoise(x0, fresh_noise(x0, generators) if eps is None else eps, times[k + 1], model.schedule)
        raise AssertionError("there is at least one time")

    def start(self, noise: Tensor) -> Tensor:
        """The noise that the first call sees."""
        return noise

    def arrange(self, k: int, x0: Tensor) -> Tensor:
        """The clean latents after call k (from 0), before noise is put back."""
        return x0
