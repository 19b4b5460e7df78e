"""Supervised fine-tuning with three exchangeable parts: when (time law), what (retention), where (element weight)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from harness.api import Backbone, Batch, Method, Needs, Options, Sampler, Services, Term, make_part, shift
from methods.supervised.outline import lines
from methods.supervised.parts import KINDS, part_spec, scored_rows, wanted_scores
from methods.supervised.retention import draw_rejected, draw_weighted
from methods.supervised.sampler import SamplerOptions, chosen, flow_times, trailing_indices
from methods.supervised.timelaws import discrete_quantile, logit_normal_quantile

REMEDY = "use it on a few-step row: distribution matching or consistency"
NO_SAMPLE = "it looks at a clip the student made; here x0_hat is a mean over all clips that fit one noised clip"


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(native_hat - native)^2 elementwise, in float32, or in float64 when the prediction is."""
    dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
    return (prediction.to(dtype) - target.to(dtype)).square()


def weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """L = mean(w e) over all elements B, C, F, H, W; w broadcasts to e and is not normalised."""
    return (weight.to(error.dtype) * error).mean()


def drop_captions(cond: Tensor, drop: Tensor, student: Backbone) -> Tensor:
    """cond `[B, L, D]` with the clips marked in drop `[B]` bool (CPU) given the null condition."""
    if not drop.any():
        return cond
    return torch.where(drop.to(cond.device)[:, None, None], student.null_cond(len(cond)).to(cond), cond)


class SupervisedOptions(Options):
    """The three parts, caption dropout, and the row's own sampler settings."""

    refuses: ClassVar[Mapping[str, tuple[str, str]]] = {
        "gradient_terms": ("a gradient term is made from two scores of a sample, and none is compared here", REMEDY),
        "extra_losses": (NO_SAMPLE, REMEDY),
        "rewards": (NO_SAMPLE, REMEDY),
    }

    time_law: dict[str, Any] = Field({"name": "logit_normal"}, validate_default=True)
    retention: dict[str, Any] = Field({"name": "none"}, validate_default=True)
    element_weight: dict[str, Any] = Field({"name": "none"}, validate_default=True)
    p_drop: float = Field(0.1, ge=0, le=1, description="probability that a caption is replaced by the null condition")
    sampler: SamplerOptions = SamplerOptions()

    @field_validator(*KINDS, mode="before")
    @classmethod
    def _known_part(cls, value: Any, info: ValidationInfo) -> dict[str, Any]:
        return part_spec(str(info.field_name), value)

    @property
    def parts(self) -> Mapping[str, dict[str, Any]]:
        """`{kind: spec}`."""
        return {kind: getattr(self, kind) for kind in KINDS}


class Supervised(Method):
    """L = mean(w (native_hat - native)^2) at x_t = alpha x0 + sigma eps.

    Randomness of a step is drawn in a fixed order - eps, caption dropout, time - so that rows of one seed share all
    three: they see the same noise, drop the same captions, and their times are quantiles of the same uniform numbers.
    """

    Config: ClassVar[type[Options]] = SupervisedOptions

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Services) -> None:
        super().__init__(config, roles, services)
        self.student = roles["student"]
        self.time_law = make_part("time_law", config.time_law, services)
        usable = scored_rows(services, wanted_scores(config.parts))
        self.retention = make_part("retention", config.retention, services, usable)
        self.element_weight = make_part("element_weight", config.element_weight, services)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(scores=wanted_scores(config.parts))

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (
            *(squared_error, weighted_mean, shift, logit_normal_quantile, discrete_quantile),
            *(draw_rejected, draw_weighted, flow_times, trailing_indices),
        )

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        return lines(config)

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        return self.retention.draw(rng, size)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        x0, schedule = batch.latent, self.student.schedule
        eps = batch.noise.normal(x0)
        drop = batch.noise.uniform() < self.config.p_drop
        time = self.time_law(batch.noise.uniform(), batch)

        t = time.to(x0.device)
        # Rounding t to float32 first could move a variance-preserving index away from the one the network is told.
        x_t = schedule.add_noise(x0, eps, t.reshape(-1, *[1] * (x0.ndim - 1))).to(x0.dtype)
        prediction = self.student.predict(x_t, t, drop_captions(batch.cond, drop, self.student), "native")
        error = squared_error(prediction, self.student.target(x0, eps, t))
        weight = self.element_weight(batch, t)
        loss = weighted_mean(error, weight)

        mse, mean_weight = torch.stack([error.detach().mean(), weight.to(error).mean()]).tolist()
        logs = {"mse": mse, "weight": mean_weight, "t": time.mean().item(), "kept": self.retention.kept}
        return loss, logs | {"dropped": drop.double().mean().item()}

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return chosen(Services({}, 0, generate), config.sampler).nfe

    def sampler(self) -> Sampler:
        return chosen(self.services, self.config.sampler)
