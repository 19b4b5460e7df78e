"""Distribution matching with slots: a rollout, gradient terms, extra losses. DMD, MSM and AVD are presets of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    guide,
    make_part,
    shift,
)
from methods.diagnosis import Log
from methods.dmd import diagnostics, equations
from methods.dmd.options import MatchingOptions
from methods.dmd.outline import lines
from methods.dmd.parts import ExtraLoss, GradientTerm, Logs, Match, Question, Setting, StudentTurn, floats
from methods.dmd.rollout import Places, Rollout, answers, clean, noised, pick, scores
from methods.fewstep import Renoise
from methods.supervised import Guests

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DistributionMatching(Method):
    """L_G = L_dmd + sum of gradient terms + sum of extra losses; the fake score denoises what the student makes.

    Three copies of the backbone: the student, the frozen teacher, and the fake score, which starts as the teacher and
    follows the student's distribution. No network has dropout on. The order of draws in a turn is fixed: the rollout's,
    then eps and u of the scores, then those of the extra losses as they are listed, so rows of one seed share them.
    """

    Config: ClassVar[type[Options]] = MatchingOptions
    turns = (Turn("student", every=5, clip=10.0), Turn("fake", clip=10.0))

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Services) -> None:
        super().__init__(config, roles, services)
        self.student, self.times = roles["student"], torch.tensor(config.times, dtype=torch.float64)
        for name in ("student", "fake"):
            if name in roles:
                roles[name].net.eval()
        teacher = roles.get("teacher")  # None while clips are generated
        self.guests = Guests(config, services, trains=teacher is not None)
        self.score_law = make_part("time_law", config.score_law, services) if config.score_law else None
        law = self.guests.time_law
        places = Places(self.times, law)
        setting = Setting(self.student, teacher, self.times, config.scale, places, self.guests.element_weight)
        self.rollout = Rollout(self.student, self.times, config.rollout, law)
        self.terms: dict[str, GradientTerm] = {
            spec["name"]: make_part("gradient_term", spec) for spec in config.gradient_terms
        }
        self.extras: dict[str, ExtraLoss] = {
            spec["name"]: make_part("extra_loss", spec, setting) for spec in config.extra_losses
        }
        self.first_fake = math.nan  # the fake score's first loss

    @classmethod
    def needs(cls, config: Any) -> Needs:
        def gathered(name: str) -> tuple[Any, ...]:
            return tuple(one for options in config.further for one in getattr(options, name, ()))

        reads = {"prompt", *gathered("reads"), *(("latent",) if config.rollout == "data" else ())}
        return Needs(
            roles=("student", "teacher", "fake"),
            fields=tuple(name for name in ("latent", "prompt", "short_prompt") if name in reads),
            scores=config.wanted,
            rewards=gathered("rewards"),
            caps=tuple(dict.fromkeys(gathered("caps"))),
        )

    @classmethod
    def turns_for(cls, config: Any) -> Sequence[Turn]:
        return (
            Turn("student", every=config.ratio, clip=config.clip, rate=config.student_rate),
            Turn("fake", clip=config.clip, rate=config.fake_rate),
        )

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        own = (equations.score_times, equations.normaliser, equations.score_gradient, equations.pseudo_loss)
        more = (equations.matching_loss, equations.denoising_loss, equations.temporal_spectrum)
        return (*own, *more, equations.temporal_basis, pick, noised, guide, shift)

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        return lines(config)

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        return self.guests.draw(rng, size)

    # -- the two turns --------------------------------------------------------------------------------------------

    def begin(self, batch: Batch) -> None:
        for extra in self.extras.values():
            extra.begin(batch)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        if role == "fake":
            return self.fake_loss(batch, step)
        if step < self.config.fake_warmup:
            # Depends on no weight, so gradients stay None and the optimiser leaves the student bit-identical.
            return torch.zeros((), requires_grad=True), {"warmup": 1.0}
        return self.student_loss(batch)

    def student_loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """L_G at the student's answer to one of its own times."""
        match, further = self.observe(batch)
        loss, total = equations.pseudo_loss(match.x, match.g), match.g
        logs: Logs = {"kl": loss.detach(), "g_abs": match.g.abs().mean(), "norm": match.n.mean()}
        spectra = {"dmd": match.g}
        for name, term in self.terms.items():
            value, gradient = term(match)
            loss, total = loss + value, total + gradient
            logs[name], spectra[name] = value.detach(), gradient
        for name, extra in self.extras.items():
            added, numbers = extra(StudentTurn(batch, match, total, further.get(name)))
            loss = loss if added is None else loss + added
            logs |= numbers
        for name, gradient in {**spectra, "total": total}.items():
            sizes = equations.temporal_spectrum(gradient)
            logs |= {f"{name}_f{k}": size for k, size in enumerate(sizes)}
        return loss, floats(logs)

    def observe(self, batch: Batch) -> tuple[Match, dict[str, Tensor]]:
        """The student's x with what the two scores say about it, and its answers to the extra losses that asked."""
        x_k, k = self.rollout(batch)
        eps, t = batch.noise.normal(batch.latent), self.score_times(batch)
        own = Question(x_k, self.times[k], batch.cond)
        asked = {name: question for name, extra in self.extras.items() if (question := extra.ask(batch)) is not None}
        native, *rest = answers(self.student, [own, *asked.values()])
        x = clean(native, own.x, own.t, self.student)
        made = x.detach()
        x_t = noised(made, eps, t, self.student.schedule)
        real, fake = scores(self.roles["teacher"], self.roles["fake"], x_t, t, batch.cond, self.config.scale)
        n = equations.normaliser(made, real, self.config.eps)
        g = equations.score_gradient(made, real, fake, self.config.eps)
        return Match(x, real, fake, n, g, t), dict(zip(asked, rest, strict=True))

    def score_times(self, batch: Batch) -> Tensor:
        """t `[B]` float64 on CPU: the same law for comparing scores and for training the fake one."""
        config, u = self.config, batch.noise.uniform()
        if self.score_law is not None:
            return self.score_law(u, batch).clamp(config.score_min, config.score_max)
        return equations.score_times(u, config.score_shift, config.score_min, config.score_max)

    def fake_loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """L_fake: denoise a fresh answer of the student, to which nothing flows."""
        fake = self.roles["fake"]
        with torch.no_grad():
            x_k, k = self.rollout(batch)
            eps, t = batch.noise.normal(batch.latent), self.score_times(batch)
            (native,) = answers(self.student, [Question(x_k, self.times[k], batch.cond)])
            x = clean(native, x_k, self.times[k], self.student)
            x_t = noised(x, eps, t, fake.schedule)
        t = t.to(x.device)
        loss = equations.denoising_loss(fake.predict(x_t, t, batch.cond, "native"), fake.target(x, eps, t))
        self.watch(float(loss.detach()), step)
        return loss, {"t": t.mean().item()}

    def watch(self, loss: float, step: int) -> None:
        """End the run when the fake score explodes: the student's gradient means nothing then."""
        if math.isnan(self.first_fake) and math.isfinite(loss):
            self.first_fake = loss
        if math.isfinite(loss) and loss > self.config.fake_limit * self.first_fake:
            raise UserError(
                f"the fake score's loss is {loss:.3g} at step {step}, it began at {self.first_fake:.3g}",
                "lower train.lr or fake_rate, or raise fake_limit if this was one odd batch",
            )

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        return diagnostics.figures(log, self.expected_gain(batch.latent.shape[2]))

    def expected_gain(self, frames: int) -> Sequence[float] | None:
        """What all terms multiply each temporal frequency of DMD's gradient by, `[F]`; None where one does not say."""
        added = [term.added_gain(frames) for term in self.terms.values()]
        return [1 + math.fsum(gains) for gains in zip(*added, strict=True)] if added and None not in added else None

    # -- state and sampling ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        state = {
            f"{name}/{key}": value for name, part in self.extras.items() for key, value in part.state_dict().items()
        }
        return {"first_fake": torch.tensor(self.first_fake, dtype=torch.float64), **state}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.first_fake = float(state["first_fake"])
        for name, part in self.extras.items():
            part.load_state_dict({k.removeprefix(f"{name}/"): v for k, v in state.items() if k.startswith(f"{name}/")})

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return len((config.sampler and config.sampler.times) or config.times)

    def sampler(self) -> Sampler:
        chosen = self.config.sampler
        if chosen is None:
            return Renoise(self.config.times)
        return Renoise(chosen.times or self.config.times, stochastic=chosen.stochastic)
