"""Consistency distillation: f at a noisy latent must agree with f one step of the teacher's solver nearer the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.api import (
    Backbone,
    Batch,
    Method,
    Needs,
    Options,
    Sampler,
    Services,
    Term,
    Turn,
    UserError,
    convert,
    make_part,
)
from methods.consistency import diagnostics, equations, feedback
from methods.consistency.extras import Extras
from methods.consistency.feedback import Feedback
from methods.consistency.grid import ConsistencyFunction, SolverGrid, wide
from methods.consistency.guidance import Guidance, Recalled, SolverStep
from methods.consistency.options import ConsistencyOptions
from methods.consistency.outline import grid_of, lines
from methods.diagnosis import Log
from methods.fewstep import Renoise
from methods.supervised import Guests

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """No dropout inside; the official code leaves it on for the target."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


class Consistency(Method):
    """L = d(f_theta(z_n, t_n), sg f_target(z_prev, t_{n-1})) - J, z_prev the teacher's guided solver step from z_n.

    Randomness of a step is drawn in a fixed order - eps, solver step, w, then the frames that rewards see - so that
    rows of one seed share what they have in common.
    """

    Config: ClassVar[type[Options]] = ConsistencyOptions

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Services) -> None:
        super().__init__(config, roles, services)
        self.student, self.teacher = roles["student"], roles.get("teacher")
        schedule = self.student.schedule
        self.grid = SolverGrid(schedule, config.solver_steps, config.shift)
        if self.student.native == "eps" and self.grid.ends_blind:
            raise UserError(
                "this backbone predicts eps, and its noise ends at alpha = 0, where eps determines no x0",
                "use a backbone that predicts v or flow",
            )
        self.guests = Guests(config, services, trains=self.teacher is not None)
        self.f = ConsistencyFunction(schedule, config.boundary)
        self.guidance: Guidance = make_part("teacher_guidance", config.guidance, self.grid)
        self.target = roles.get("target")
        if self.target is not None:
            self.target.net.load_state_dict(self.student.net.state_dict())
            self.target.net.eval()
        self.extras = Extras(config, self.student, self.teacher, self.grid, self.guests)
        self.feedback: Feedback | None = None
        if self.teacher is not None and config.rewards:  # at generation there is only the student
            self.feedback = Feedback(config, self.student, next(self.student.net.parameters()).device)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        judged = [one for options in config.further for one in getattr(options, "rewards", ())]
        rewarded = bool(config.rewards) or bool(judged)
        return Needs(
            roles=("student", "teacher", *(("target",) if config.target == "ema" else ())),
            fields=("latent", "prompt", *(("short_prompt",) if rewarded else ())),
            scores=config.wanted,
            rewards=(*config.rewards, *judged),
            caps=(
                *(("guidance_embed",) if config.guidance_embed else ()),
                *(("decode_grad",) if rewarded else ()),
                *config.steering.caps,
            ),
            stages=config.steering.stages(grid_of(config)),
        )

    @classmethod
    def turns_for(cls, config: Any) -> Sequence[Turn]:
        return (Turn("student", clip=config.clip, rate=config.rate),)

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        return base if role == "teacher" else base.clone(trainable, embeds=config.embeds)

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return int(config.sample_steps)

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (
            *(equations.vp_index, equations.vp_previous, equations.flow_time, equations.sampling_steps),
            *(equations.guided, equations.ode_step, equations.boundary_scalings, equations.consistency_function),
            *(equations.pseudo_huber, equations.squared_distance, equations.ema_),
            *(feedback.random_frames, feedback.strided_frames, feedback.reward_objective, feedback.video_weight),
        )

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        return lines(config)

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        return self.guests.draw(rng, size)

    # -- training ---------------------------------------------------------------------------------------------

    def begin(self, batch: Batch) -> None:
        self.extras.begin(batch)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        eps, u = batch.noise.normal(batch.latent), batch.noise.uniform()
        w = self._scales(batch.noise.uniform())
        recalled = self.guidance.recall(batch, u)
        index, z = self._start(batch, eps, u, recalled)
        t, s = self.grid.time(index), self.grid.previous(index)
        z_prev = self._solve(batch, z, t, s, w, recalled)

        embeds = self._embeds(w, self.guidance.taught(batch, recalled))
        x0 = self.f(self.student, z, t, batch.cond, embeds)
        target = self.student if self.target is None else self.target
        with torch.no_grad(), evaluating(target.net):
            goal = self.f(target, z_prev, s, batch.cond, embeds)
        weigh = self.guests.element_weight
        cd = self.distance(x0, goal, None if weigh is None else weigh(batch, t.to(x0.device)))

        logs = {"cd": cd.item(), "w": w.mean().item(), "t": t.mean().item(), "guided": 0.0}
        if recalled is not None:
            logs |= {"guided": len(recalled.rows) / len(z), **recalled.logs}
        loss, numbers = self.extras(cd, x0, batch, self._told)
        if self.feedback is None:
            return loss, logs | numbers
        j, rewards = self.feedback(x0, batch)
        return loss - j, logs | numbers | rewards

    def distance(self, x0: Tensor, goal: Tensor, weight: Tensor | None = None) -> Tensor:
        """d(f, sg f_target), its elements weighted, in float32, or in float64 when the latents are."""
        dtype = torch.float64 if x0.dtype == torch.float64 else torch.float32
        difference = x0.to(dtype) - goal.to(dtype)
        if self.config.distance == "l2":
            return equations.squared_distance(difference, weight)
        return equations.pseudo_huber(difference, self.config.huber_c, weight)

    def _scales(self, u: Tensor) -> Tensor:
        """w `[B]` float64: random where the student is told it, else the one of inference."""
        if self.config.guidance_embed:
            return equations.between(u, *self.config.w_range)
        return torch.full_like(u, self.config.w)

    def _start(self, batch: Batch, eps: Tensor, u: Tensor, recalled: Recalled | None) -> tuple[Tensor, Tensor]:
        """Solver steps `[B]` and the noisy latents where they start: fresh, or as they were prepared."""
        law = self.guests.time_law
        index = equations.solver_index(u, self.grid.steps) if law is None else self.grid.containing(law(u, batch))
        t = wide(self.grid.time(index), eps)
        z = self.student.schedule.add_noise(batch.latent, eps, t).to(batch.latent.dtype)
        if recalled is None:
            return index, z
        return index.index_copy(0, recalled.rows, recalled.index), _put(z, recalled.rows, recalled.z)

    @torch.no_grad()
    def _solve(self, batch: Batch, z: Tensor, t: Tensor, s: Tensor, w: Tensor, recalled: Recalled | None) -> Tensor:
        """z_prev: the teacher's step with guidance 1 + w, plus whatever else guides it."""
        cond, uncond = self._ask(batch.cond, z, t, recalled)
        answer = equations.guided(cond, uncond, wide(w, z)).to(z.dtype)
        level, schedule, native = wide(t, z), self.student.schedule, self.student.native
        x0, eps = (convert(answer, z, level, schedule, native, want).to(z.dtype) for want in ("x0", "eps"))
        return self.guidance.step(SolverStep(x0, eps, t, s), recalled)

    def _ask(self, cond: Tensor, z: Tensor, t: Tensor, recalled: Recalled | None) -> tuple[Tensor, Tensor]:
        """The teacher's native answers to the caption and to the null condition; only for rows not yet answered."""
        known = torch.zeros(len(z), dtype=torch.bool)
        if recalled is not None:
            known[recalled.rows] = True
        rows = (~known).nonzero()[:, 0]
        answers = [torch.zeros_like(z), torch.zeros_like(z)]
        if len(rows):
            places = rows.to(z.device)
            both = torch.cat([cond[places], self._teacher.null_cond(len(rows)).to(cond)])
            twice = torch.cat([places, places])
            found = self._teacher.predict(z[twice], t.to(z.device)[twice], both, "native")
            answers = [_put(a, rows, half) for a, half in zip(answers, found.chunk(2), strict=True)]
        if recalled is not None:
            known_answers = (recalled.cond, recalled.uncond)
            answers = [_put(a, recalled.rows, part) for a, part in zip(answers, known_answers, strict=True)]
        return answers[0], answers[1]

    @property
    def _teacher(self) -> Backbone:
        if self.teacher is None:
            raise UserError("consistency distillation has no teacher here", "train with the roles that needs() names")
        return self.teacher

    def after(self, role: str, step: int) -> None:
        if self.target is None:
            return
        pairs = zip(self.target.net.parameters(), self.student.net.parameters(), strict=True)
        for mine, online in pairs:
            equations.ema_(mine, online, self.config.ema_decay)

    def state_dict(self) -> dict[str, Tensor]:
        target = {} if self.target is None else {f"target/{k}": v for k, v in self.target.net.state_dict().items()}
        return target | self.extras.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self.target is not None:
            self.target.net.load_state_dict(
                {k.removeprefix("target/"): v for k, v in state.items() if k.startswith("target/")}
            )
        self.extras.load_state_dict(state)

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        return diagnostics.figures(log, *(self.guidance.energies(batch) or (None, None)))

    # -- sampling ---------------------------------------------------------------------------------------------

    def sampler(self) -> Sampler:
        return Renoise(self.grid.sampling(self.config.sample_steps), self.sample, self.config.stochastic)

    def sample(self, model: Backbone, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """f at inference: told the w of inference and what the guidance says at t `[B]`."""
        return self.f(model, x, t, cond, self._told(t))

    def _told(self, t: Tensor) -> dict[str, Tensor]:
        """The scalars `[B]` a student is told when it is sampled at times t `[B]`."""
        return self._embeds(torch.full((len(t),), self.config.w, dtype=torch.float64), self.guidance.told(t))

    def _embeds(self, w: Tensor, more: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The scalars `[B]` a student is told."""
        return {**({"guidance": w} if self.config.guidance_embed else {}), **more}


def _put(into: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """`into` `[B, ...]` with its rows `[R]` replaced by values `[R, ...]`."""
    return into.index_copy(0, rows.to(into.device), values.to(into))
