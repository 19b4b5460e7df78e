"""What the student is given in training: noisy latents at one of its own times, and the clean latents it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.api import Backbone, Batch, Schedule, convert, guide
from methods.dmd.equations import one_time_per_clip, widen
from methods.dmd.parts import Question
from methods.fewstep import predict_x0
from methods.supervised import TimeLaw


def pick(u: Tensor, count: int) -> Tensor:
    """k = floor(u K): list position of each clip, all equally likely; u `[B]` in [0, 1), k `[B]` int64."""
    return (u * count).long().clamp(max=count - 1)


def nearest(t: Tensor, times: Tensor) -> Tensor:
    """k = argmin_j |t - t_j|: the position in the list `[K]` nearest to each time `[B]`, `[B]` int64."""
    return (t[:, None] - times.to(t)[None]).abs().argmin(1)


@dataclass(frozen=True)
class Places:
    """Which of the student's times each real clip is noised to: all alike, or the nearest to a time law's."""

    times: Tensor  # [K] float64, descending
    law: TimeLaw | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """List positions `[B]` int64 on CPU; draws u."""
        u = batch.noise.uniform()
        return pick(u, len(self.times)) if self.law is None else nearest(self.law(u, batch), self.times)


def noised(x0: Tensor, eps: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """x_t = alpha(t) x0 + sigma(t) eps, one time `[B]` (float64) a clip; t is not rounded to x0's precision first."""
    return schedule.add_noise(x0, eps, t.to(x0.device).reshape(-1, *[1] * (x0.ndim - 1))).to(x0.dtype)


@dataclass(frozen=True)
class Rollout:
    """Noisy latents x_{t_k} for the student, from its own samples ("simulate") or from noised clips ("data").

    Noise is drawn for all clips and all steps, whichever a clip needs: eps, u (for k), then, to simulate, fresh noise
    for each later element of the list.
    """

    student: Backbone
    times: Tensor  # [K] float64, descending
    kind: str = "simulate"
    law: TimeLaw | None = None  # of noised clips

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(x_{t_k} `[B, C, F, H, W]`, k `[B]` int64 on CPU)."""
        return self.data(batch) if self.kind == "data" else self.simulate(batch)

    def data(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Real latents noised to t_k: (x_{t_k} `[B, C, F, H, W]`, k `[B]`)."""
        eps = batch.noise.normal(batch.latent)
        k = Places(self.times, self.law)(batch)
        return noised(batch.latent, eps, self.times[k], self.student.schedule), k

    @torch.no_grad()
    def simulate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The student's own path from noise to t_k, as the sampler S2 takes it: (x_{t_k}, k). No latents are read.

        A clip leaves the path at its own k: the others go on without it.
        """
        x = batch.noise.normal(batch.latent)
        k = pick(batch.noise.uniform(), len(self.times))
        for j, t in enumerate(self.times[1:]):
            eps = batch.noise.normal(x)
            rows = torch.nonzero(k > j).flatten().to(x.device)
            if len(rows):
                before = self.times[j].expand(len(rows)).to(x.device)
                x0 = predict_x0(self.student, x[rows], before, batch.cond[rows])
                x = x.index_copy(0, rows, noised(x0, eps[rows], t.expand(len(rows)), self.student.schedule).to(x))
        return x, k


def clean(native: Tensor, x_t: Tensor, t: Tensor, model: Backbone) -> Tensor:
    """x0_hat from a native prediction at (x_t, t `[B]`), in float32 or float64; t is not rounded first."""
    at = t.to(x_t.device).reshape(-1, *[1] * (x_t.ndim - 1))
    return convert(widen(native), x_t, at, model.schedule, model.native, "x0").to(widen(native).dtype)


def answers(student: Backbone, questions: Sequence[Question]) -> list[Tensor]:
    """The student's native predictions for several batches, from one call: larger batches cost less a clip."""
    t = torch.cat([one_time_per_clip(q.t, q.x).to(q.x.device) for q in questions])
    x, cond = (torch.cat([getattr(q, part) for q in questions]) for part in ("x", "cond"))
    return list(student.predict(x, t, cond, "native").split([len(q.x) for q in questions]))


@torch.no_grad()
def scores(
    teacher: Backbone, fake: Backbone, x_t: Tensor, t: Tensor, cond: Tensor, guidance: float
) -> tuple[Tensor, Tensor]:
    """(real, fake): both networks' clean latents at x_t; the teacher guided, the fake score not. t `[B]`.

    The teacher is asked with and without the caption in one call, in its native space, where guiding is the same.
    """
    t = one_time_per_clip(t, x_t).to(x_t.device)
    fake_x0 = clean(fake.predict(x_t, t, cond, "native"), x_t, t, fake)
    if guidance == 1:
        return clean(teacher.predict(x_t, t, cond, "native"), x_t, t, teacher), fake_x0
    texts = torch.cat([cond, teacher.null_cond(len(x_t)).to(cond)])
    both = teacher.predict(torch.cat([x_t, x_t]), torch.cat([t, t]), texts, "native")
    conditional, unconditional = widen(both).chunk(2)
    return clean(guide(conditional, unconditional, guidance), x_t, t, teacher), fake_x0
