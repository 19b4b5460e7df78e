"""The solver's grid on either schedule, and the student as a consistency function on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from harness.api import Backbone, Schedule, UserError, VariancePreserving
from methods.consistency.equations import (
    boundary_scalings,
    consistency_function,
    flow_time,
    sampling_steps,
    vp_index,
    vp_previous,
)

Boundary = Literal["auto", "lcm", "identity"]


def wide(t: Tensor, like: Tensor) -> Tensor:
    """`[B]` to `[B, 1, ...]` on the device of `like`, in float64: rounding first could move a VP index."""
    return t.to(like.device, torch.float64).reshape(-1, *[1] * (like.ndim - 1))


class SolverGrid:
    """N steps between noise and data, by solver index 0 .. N - 1: where each starts and ends.

    Args:
        steps: N; must divide a variance-preserving table. shift: of the flow grid only.
    """

    def __init__(self, schedule: Schedule, steps: int, shift: float) -> None:
        self.schedule, self.steps, self.shift = schedule, steps, shift
        self.levels = len(schedule.abar) if isinstance(schedule, VariancePreserving) else 0
        if self.levels % steps:
            raise UserError(
                f"solver_steps {steps} does not divide this backbone's {self.levels} noise levels",
                "choose a divisor, for example 50 or 200",
            )

    def time(self, index: Tensor) -> Tensor:
        """t where solver steps `[B]` start, `[B]` float64."""
        if isinstance(self.schedule, VariancePreserving):
            return self.schedule.time(vp_index(index, self.steps, self.levels))
        return flow_time(index + 1, self.steps, self.shift)

    def previous(self, index: Tensor) -> Tensor:
        """t where solver steps `[B]` end, `[B]` float64; step 0 ends at the data."""
        if isinstance(self.schedule, VariancePreserving):
            return self.schedule.time(vp_previous(index, self.steps, self.levels))
        return flow_time(index, self.steps, self.shift)

    def containing(self, t: Tensor) -> Tensor:
        """The solver steps `[B]` int64 whose spans (end, start] hold the times t `[B]`; the last one beyond them.

        Times of `shifted_uniform` with the grid's own shift, or of `uniform` at shift 1, give all steps alike.
        """
        starts = self.time(torch.arange(self.steps))
        return torch.searchsorted(starts, t.to(starts)).clamp(max=self.steps - 1)

    def sampling(self, k: int) -> Sequence[float]:
        """The K descending times a student of this grid is sampled at."""
        return self.time(torch.tensor(sampling_steps(self.steps, k))).tolist()

    @property
    def ends_blind(self) -> bool:
        """Whether alpha is 0 where the first step starts: eps determines no x0 there."""
        return bool(self.schedule.alpha(self.time(torch.tensor([self.steps - 1]))) == 0)


class ConsistencyFunction:
    """f(z, t, c): the student's clean latents, bound to z at the data end.

    Args:
        boundary: lcm scales with c_skip and c_out, identity takes x0 as it is (exact for flows, where x0 = z at t = 0);
            auto is identity for flows and lcm for variance preserving.
    """

    def __init__(self, schedule: Schedule, boundary: Boundary) -> None:
        self.schedule = schedule
        self.scaled = boundary == "lcm" or (boundary == "auto" and isinstance(schedule, VariancePreserving))

    def __call__(
        self, model: Backbone, z: Tensor, t: Tensor, cond: Tensor, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """z `[B, C, F, H, W]`, t `[B]`, cond `[B, L, D]`, the scalars this copy embeds."""
        x0 = model.predict(z, t.to(z.device), cond, "x0", embeds=embeds)
        if not self.scaled:
            return x0
        c_skip, c_out = boundary_scalings(self.index(wide(t, z)))
        return consistency_function(z, x0, c_skip.to(z), c_out.to(z))

    def index(self, t: Tensor) -> Tensor:
        """i of the boundary scalings: the table index, or a flow's 1000 t."""
        return self.schedule.index(t) if isinstance(self.schedule, VariancePreserving) else 1000 * t
