"""TQD's two parts: a Beta time law per clip, and retention by the better of two scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from harness.api import Batch, Options, Services, UserError, register_part, shift
from methods.supervised.parts import LawOptions, TimeLaw, score_column
from methods.supervised.retention import Retention, RetentionOptions
from methods.tqd.equations import beta_parameters, beta_quantile, keep_probability, normalise, score_bounds

Array = NDArray[np.float64]
Bounds = tuple[float, float]


class QualityOptions(Options):
    """Which columns are motion and visual quality, and the ranges they are normalised by."""

    motion: str = Field("mq", description="score column")
    visual: str = Field("vq", description="score column")
    norm: Literal["set", "global"] = Field("set", description="min and max of the training set, or the ranges below")
    motion_range: Bounds | None = None
    visual_range: Bounds | None = None

    @property
    def scores(self) -> tuple[str, ...]:
        return self.motion, self.visual

    @model_validator(mode="after")
    def _ranges(self) -> QualityOptions:
        ranges = (self.motion_range, self.visual_range)
        if self.norm == "set" and ranges != (None, None):
            raise ValueError("motion_range and visual_range need norm: global")
        if self.norm == "global" and None in ranges:
            raise ValueError("norm: global needs motion_range and visual_range, each [min, max]")
        if any(pair is not None and not pair[0] < pair[1] for pair in ranges):
            raise ValueError("a range is [min, max] with min < max")
        return self


@dataclass(frozen=True)
class Quality:
    """Raw scores to (m, q) in [0, 1]. Only rows with both scores decide the range."""

    motion: Bounds
    visual: Bounds

    @classmethod
    def fit(cls, options: QualityOptions, services: Services) -> Quality:
        """Ranges from the training set's columns or from the options; UserError when a score is outside the latter."""
        columns = {name: score_column(services, name) for name in options.scores}
        complete = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
        given = (options.motion_range, options.visual_range)
        return cls(
            *(_bounds(name, columns[name][complete], pair) for name, pair in zip(options.scores, given, strict=True))
        )

    def __call__(self, motion: Array, visual: Array) -> tuple[Array, Array]:
        return normalise(motion, self.motion), normalise(visual, self.visual)


def _bounds(name: str, scores: Array, given: Bounds | None) -> Bounds:
    found = score_bounds(scores, name)
    if given is None:
        return found
    if found[0] < given[0] or found[1] > given[1]:
        raise UserError(
            f'score column "{name}" spans {list(found)}, outside its range {list(given)}', "widen the range"
        )
    return given


class TqdBetaOptions(QualityOptions, LawOptions):
    """Concentrations: 4 and 30 are the paper's for Wan, 2 and 20 for CogVideoX."""

    k_base: float = Field(4.0, gt=0, description="kappa of a balanced clip; 2 is uniform, 4.77 has Wan's variance")
    k_max: float = Field(30.0, gt=0, description="kappa of the most one-sided clip")
    floor: float = Field(1e-3, gt=0, description="least a and b; 1 keeps every law unimodal")
    apply_shift: bool = Field(False, description="put the suite's generate.shift on top; the paper does not")


@register_part("time_law", "tqd_beta")
class TqdBeta(TimeLaw):
    """t ~ Beta(mu kappa, (1 - mu) kappa) with mu and kappa from the clip's scores (Eqs. 2-4)."""

    formula = "t ~ Beta(mu kappa, (1 - mu) kappa), mu = (1 + m - q) / 2, kappa = k_base + (k_max - k_base) |m - q|"
    source = "TQD, Eqs. 2-4"

    Config: ClassVar[type[LawOptions]] = TqdBetaOptions

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.quality = Quality.fit(config, services)
        if config.apply_shift and "shift" not in services.generate:
            raise UserError("apply_shift: the suite sets no generate.shift", "set it, or leave apply_shift off")
        self.shift = float(services.generate["shift"]) if config.apply_shift else 1.0

    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        m, q = self.quality(*(batch.scores[name].numpy() for name in self.config.scores))
        a, b = beta_parameters(m, q, self.config.k_base, self.config.k_max, self.config.floor)
        return shift(torch.from_numpy(beta_quantile(u.numpy(), a, b)), self.shift)


class TqdRetentionOptions(QualityOptions, RetentionOptions):
    """Columns and ranges, and how the kept rows are drawn."""


@register_part("retention", "tqd")
class TqdRetention(Retention):
    """A clip is kept with probability max(q, m) (Eq. 1); the loss is not multiplied by it again."""

    formula = "each row kept with p = max(q, m)"
    source = "TQD, Eq. 1"

    Config: ClassVar[type[RetentionOptions]] = TqdRetentionOptions

    def probability(self) -> Array:
        raw = (score_column(self.services, name) for name in self.config.scores)
        return keep_probability(*Quality.fit(self.config, self.services)(*raw))
