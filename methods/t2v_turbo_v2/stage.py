"""The offline stage `motion_guidance`: per clip a noisy latent, the teacher's answers, and the motion gradient."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness.api import Backbone, Batch, Options, Services, Stage, UserError, convert, register_part
from methods.consistency import SolverGrid, SolverStep
from methods.consistency.equations import guided, solver_index
from methods.consistency.grid import wide
from methods.t2v_turbo_v2.equations import (
    clip_quantile,
    finite_or_zero,
    first_active,
    inversion_step,
    motion_energy,
    motion_gradient,
)
from methods.t2v_turbo_v2.guidance import STAGE, MotionOptions, steered


class MotionStageOptions(MotionOptions):
    """The trainer's motion options and its solver grid."""

    steps: int = Field(200, ge=1, description="N")
    shift: float = Field(5.0, gt=0, description="of the flow grid")


@register_part("stage", STAGE)
class MotionGuidance(Stage):
    """`draws` tuples a clip, each in the guided range of the solver: `motion_*`, `[B, draws, ...]`, latents in float32.

    index, z (noised), cond and uncond (native answers), g (0 where there is none), active (1 where g guides),
    energy_before and energy_after (of the plain and the guided step's result, at the level where they end).
    """

    formula = "g, the gradient of the motion energy at noised clips against their DDIM inversion, once per clip"
    source = "T2V-Turbo-v2, Eqs. 2 and 6"

    Config: ClassVar[type[Options]] = MotionStageOptions

    def __init__(self, config: Any, base: Backbone, services: Services) -> None:
        super().__init__(config, base, services)
        self.grid = SolverGrid(base.schedule, config.steps, config.shift)
        config.check(self.grid)
        self.first = first_active(config.steps, config.tau)

    def compute(self, batch: Batch) -> Mapping[str, Tensor]:
        found: list[Mapping[str, Tensor]] = []
        draws = [(batch.noise.uniform(), batch.noise.normal(batch.latent)) for _ in range(self.config.draws)]
        index = torch.stack([self._index(u) for u, _ in draws], 1)
        references = self._references(batch.latent, batch.cond, index) if self._moves(batch.latent) else None
        for k, (_, eps) in enumerate(draws):
            pair = None if references is None else (references[0][:, k], references[1][:, k])
            found.append(self._tuple(batch, index[:, k], eps, pair))
        return {f"motion_{name}": torch.stack([one[name] for one in found], 1) for name in found[0]}

    def _index(self, u: Tensor) -> Tensor:
        return self.first + solver_index(u, self.config.steps - self.first)

    @staticmethod
    def _moves(latent: Tensor) -> bool:
        return latent.shape[2] > 1  # one frame attends to itself alone: A = 1 everywhere, g = 0

    # -- the reference ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def _references(self, latent: Tensor, cond: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """DDIM inversion, own caption and no guidance, at the start and the end of solver steps index `[B, D]`.

        Returns two `[B, D, C, F, H, W]`. One trajectory a clip, as far as its highest index.
        """
        shape = (*index.shape, *latent.shape[1:])
        start, end = latent.new_zeros(shape), latent.new_zeros(shape)
        x, last = latent.clone(), index.max(1).values
        for step in range(int(last.max()) + 1):
            rows = (last >= step).nonzero()[:, 0].to(x.device)
            before = x[rows]
            x[rows] = self._invert(before, cond[rows], torch.full((len(rows),), step))
            clip, draw = (index == step).nonzero(as_tuple=True)
            clip = clip.to(x.device)
            start[clip, draw] = x[clip]
            end[clip, draw] = before[torch.searchsorted(rows, clip)]
        return start, end

    def _invert(self, x: Tensor, cond: Tensor, step: Tensor) -> Tensor:
        """From the end of a solver step to its start; the network is asked at the level it goes to (official)."""
        t, s = self.grid.time(step), self.grid.previous(step)
        schedule, native = self.base.schedule, self.base.native
        answer = self.base.predict(x, t.to(x.device), cond, "native")
        target, previous = wide(t, x), wide(s, x)  # x is at the level it comes from: eps is read off there
        eps = convert(answer, x, previous, schedule, native, "eps")
        levels = ((schedule.alpha(level), schedule.sigma(level)) for level in (previous, target))
        return inversion_step(x, eps, *levels).to(x.dtype)

    # -- one tuple a clip -------------------------------------------------------------------------------------

    def _tuple(
        self, batch: Batch, index: Tensor, eps: Tensor, references: tuple[Tensor, Tensor] | None
    ) -> Mapping[str, Tensor]:
        t, s = self.grid.time(index), self.grid.previous(index)
        z = self.base.schedule.add_noise(batch.latent, eps, wide(t, eps)).to(batch.latent.dtype)
        null = self.base.null_cond(len(z)).to(batch.cond)
        with torch.no_grad():
            cond, uncond = (self.base.predict(z, t.to(z.device), c, "native") for c in (batch.cond, null))
        g, active = torch.zeros_like(z), torch.zeros(len(z), dtype=torch.bool, device=z.device)
        energies = torch.zeros(2, len(z), dtype=torch.float64, device=z.device)
        if references is not None:
            g, active = finite_or_zero(self._gradient(z, t, batch.cond, references[0]))
            g = clip_quantile(g, self.config.g_quantile)
            energies = self._energies(batch.cond, (z, cond, uncond), (t, s), g, references[1])
        latents = {"z": z, "cond": cond, "uncond": uncond, "g": g}
        kept = {name: value.float() for name, value in latents.items()}
        before, after = energies.float()
        return {**kept, "index": index, "active": active.float(), "energy_before": before, "energy_after": after}

    def _attention(self, x: Tensor, t: Tensor, cond: Tensor) -> Mapping[str, Tensor]:
        found = self.base.temporal_attention(x, t.to(x.device), cond)
        patterns = self.config.layers or ("*",)
        chosen = {name: a for name, a in found.items() if any(fnmatch(name, pattern) for pattern in patterns)}
        if not chosen:
            raise UserError(
                f"no temporal attention layer matches {list(patterns)}", f"the backbone has: {', '.join(found)}"
            )
        return chosen

    def _gradient(self, z: Tensor, t: Tensor, cond: Tensor, reference: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._attention(reference, t, cond)
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            return motion_gradient(motion_energy(self._attention(z, t, cond), wanted), z)

    @torch.no_grad()
    def _energies(
        self,
        text: Tensor,
        answers: tuple[Tensor, Tensor, Tensor],
        levels: tuple[Tensor, Tensor],
        g: Tensor,
        reference: Tensor,
    ) -> Tensor:
        """Energies `[2, B]` where the plain and the guided step end, against the inverted clip there."""
        (z, cond, uncond), (t, s) = answers, levels
        schedule, native = self.base.schedule, self.base.native
        answer = guided(cond, uncond, torch.tensor(self.config.w, dtype=z.dtype, device=z.device))
        x0, eps = (convert(answer, z, wide(t, z), schedule, native, want).to(z.dtype) for want in ("x0", "eps"))
        step = SolverStep(x0, eps, t, s)
        ends = (steered(self.config, self.grid, step, pull) for pull in (torch.zeros_like(g), g))
        wanted = self._attention(reference, s, text)
        return torch.stack([motion_energy(self._attention(x, s, text), wanted) for x in ends]).double()
