"""What may steer the teacher's step beyond classifier-free guidance: a part of kind `teacher_guidance`.

A guidance can bring rows of its own, computed offline by a stage: where to start, what the teacher answers there. The
trainer asks the teacher only about the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api import Batch, Options, register_part
from methods.consistency.equations import ode_step
from methods.consistency.grid import SolverGrid, wide


@dataclass(frozen=True)
class Recalled:
    """Rows of a batch whose solver step was prepared offline."""

    rows: Tensor  # [R] int64, places in the batch, on CPU
    index: Tensor  # [R] int64, solver steps, on CPU
    z: Tensor  # [R, C, F, H, W] noisy latents there
    cond: Tensor  # [R, C, F, H, W] the teacher's native answers to the caption ...
    uncond: Tensor  # ... and to the null condition
    g: Tensor  # [R, C, F, H, W] gradient that steers the step, 0 where there is none
    strength: Tensor  # [R] float64 on CPU, what the student is told; 0 where nothing steers
    logs: Mapping[str, float]


@dataclass(frozen=True)
class SolverStep:
    """One guided step of the teacher: its x0 and eps, from time t `[B]` to s `[B]`."""

    x0: Tensor
    eps: Tensor
    t: Tensor
    s: Tensor


class GuidanceOptions(Options):
    """What a guidance asks of the backbone and computes offline."""

    @property
    def caps(self) -> tuple[str, ...]:
        return ()

    @property
    def embeds(self) -> tuple[str, ...]:
        """Scalars the student is told besides w."""
        return ()

    def stages(self, solver: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Specs of the stages it reads, for a grid of `{"steps": N, "shift": s}`."""
        return ()

    def check(self, grid: SolverGrid) -> None:
        """Raises UserError when it cannot work on this grid."""


@register_part("teacher_guidance", "none")
class Guidance:
    """The plain solver: nothing beyond classifier-free guidance."""

    formula = "z_prev = alpha(s) x0_hat + sigma(s) eps_hat"
    source = "DDIM, Euler"

    Config: ClassVar[type[GuidanceOptions]] = GuidanceOptions

    def __init__(self, config: Any, grid: SolverGrid) -> None:
        config.check(grid)
        self.config, self.grid = config, grid

    def recall(self, batch: Batch, u: Tensor) -> Recalled | None:
        """The rows prepared offline, chosen by the uniform numbers `[B]` that choose solver steps; None without any."""
        return None

    def step(self, at: SolverStep, recalled: Recalled | None) -> Tensor:
        """z_prev `[B, C, F, H, W]`."""
        s = wide(at.s, at.x0)
        return ode_step(at.x0, at.eps, self.grid.schedule.alpha(s), self.grid.schedule.sigma(s)).to(at.x0.dtype)

    def told(self, t: Tensor) -> Mapping[str, Tensor]:
        """Scalars `[B]` that a student is told when it is sampled at times t `[B]`."""
        return {}

    def energies(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Energies of prepared steps, plain and guided, each `[N]`; None where nothing is prepared."""
        return None

    def taught(self, batch: Batch, recalled: Recalled | None) -> Mapping[str, Tensor]:
        """Scalars `[B]` float64 that the student is told in training."""
        strength = torch.zeros(len(batch.index), dtype=torch.float64)
        if recalled is not None:
            strength[recalled.rows] = recalled.strength
        return dict.fromkeys(self.config.embeds, strength)
