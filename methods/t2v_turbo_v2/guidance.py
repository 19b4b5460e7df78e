"""Motion guidance in training: the rows of a batch whose guided step was prepared, and the step itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from harness.api import Batch, UserError, register_part
from methods.consistency import Guidance, GuidanceOptions, Recalled, SolverGrid, SolverStep
from methods.consistency.equations import solver_index
from methods.consistency.grid import wide
from methods.t2v_turbo_v2.equations import Form, Gamma, first_active, gamma, guided_step, is_active

STAGE = "motion_guidance"


class MotionOptions(GuidanceOptions):
    """Strength and form of the push, where it acts, and how many tuples a clip gets. `lambda` sets m = lambda / 1e4."""

    m: float = Field(0.05, ge=0, description="motion_gs; the paper's lambda 500 is 0.05 x 100 x 100 (D-T2V2)")
    tau: float = Field(0.5, gt=0, le=1, description="share of solver steps, from the noise, that are guided")
    gamma: Gamma = "sigma"
    mg_form: Form = "code"
    draws: int = Field(1, ge=1, description="prepared tuples per clip")
    layers: tuple[str, ...] = Field((), description="patterns of attention layers; none means all the backbone has")
    g_quantile: float = Field(1.0, gt=0, le=1, description="clip g to this quantile of its magnitudes; 1 does not")
    w: float = Field(7.5, description="guidance scale of the step whose energies are recorded")

    @model_validator(mode="before")
    @classmethod
    def _lambda(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "lambda" not in data:
            return data
        if "m" in data:
            raise ValueError("lambda and m are one option: lambda = 1e4 m")
        return {"m": float(data["lambda"]) / 1e4, **{key: value for key, value in data.items() if key != "lambda"}}

    @property
    def caps(self) -> tuple[str, ...]:
        return "temporal_attention", "motion_embed"

    @property
    def embeds(self) -> tuple[str, ...]:
        return ("motion",)

    def stages(self, solver: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        return ({"name": STAGE, **solver, **self.model_dump(mode="json")},)

    def check(self, grid: SolverGrid) -> None:
        if first_active(grid.steps, self.tau) >= grid.steps:
            raise UserError(
                f"tau {self.tau} of {grid.steps} solver steps is less than one step", "raise tau or solver_steps"
            )
        if self.mg_form == "eps_full" and grid.ends_blind:
            raise UserError(
                "mg_form eps_full divides by alpha(t), which is 0 where this backbone's grid starts",
                "use mg_form: code",
            )


def push_scale(options: MotionOptions, grid: SolverGrid, t: Tensor) -> Tensor:
    """m gamma(t), shaped like t."""
    return options.m * gamma(grid.schedule.alpha(t), grid.schedule.sigma(t), options.gamma)


def steered(options: MotionOptions, grid: SolverGrid, at: SolverStep, g: Tensor) -> Tensor:
    """z_prev of the guided step from g `[B, C, F, H, W]`."""
    t, s = wide(at.t, g), wide(at.s, g)
    levels = ((grid.schedule.alpha(level), grid.schedule.sigma(level)) for level in (s, t))
    previous, current = levels
    push = push_scale(options, grid, t) * g
    return guided_step(at.x0, at.eps, push, previous, current, options.mg_form).to(at.x0.dtype)


@register_part("teacher_guidance", "motion")
class Motion(Guidance):
    """Steps that start at high noise are prepared offline and pushed towards the motion of the training clip itself."""

    formula = "z_prev with eps_hat - m gamma(t) g, g the gradient of the motion energy"
    source = "T2V-Turbo-v2, Eq. 2 and its code"

    Config: ClassVar[type[GuidanceOptions]] = MotionOptions

    def __init__(self, config: Any, grid: SolverGrid) -> None:
        super().__init__(config, grid)
        self.first = first_active(grid.steps, config.tau)
        self.begins = grid.time(torch.tensor([self.first])).item()

    def recall(self, batch: Batch, u: Tensor) -> Recalled | None:
        """Rows whose solver step would be in the guided range take one of their prepared tuples in its place."""
        steps = self.grid.steps
        rows = is_active(solver_index(u, steps), steps, self.config.tau).nonzero()[:, 0]
        if not len(rows):
            return None
        place = (u[rows] * steps - self.first) / (steps - self.first)  # uniform in [0, 1) given that the row is guided
        draw = solver_index(place, self.config.draws)

        def kept(name: str) -> Tensor:
            found = batch.extras[f"motion_{name}"]
            return found[rows.to(found.device), draw.to(found.device)]

        energies = {f"energy_{name}": kept(f"energy_{name}").double().mean().item() for name in ("before", "after")}
        index, active = kept("index").cpu(), kept("active").cpu().double()
        latents = {name: kept(name).to(batch.latent) for name in ("z", "cond", "uncond", "g")}
        return Recalled(rows=rows, index=index, strength=self.config.m * active, logs=energies, **latents)

    def step(self, at: SolverStep, recalled: Recalled | None) -> Tensor:
        if recalled is None:
            return super().step(at, None)
        g = torch.zeros_like(at.x0).index_copy(0, recalled.rows.to(at.x0.device), recalled.g)
        return steered(self.config, self.grid, at, g)

    def energies(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        active = batch.extras["motion_active"] > 0
        before, after = (batch.extras[f"motion_energy_{name}"][active].double().cpu() for name in ("before", "after"))
        return before.numpy(), after.numpy()

    def told(self, t: Tensor) -> Mapping[str, Tensor]:
        return {"motion": self.config.m * (t >= self.begins).double()}
