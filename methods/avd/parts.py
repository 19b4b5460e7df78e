"""AVD's three losses as parts of any distribution matching row: temporal, regression, adaptive_regression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, distributed

from harness.api import Batch, Options, UserError, register_part
from methods.avd.equations import (
    RHO,
    Init,
    gate,
    regression_loss,
    relative_threshold,
    temporal_gradient_norm,
    temporal_loss,
    temporal_variance,
    visit,
)
from methods.dmd.parts import ExtraLoss, Logs, Question, Setting, StudentTurn
from methods.dmd.rollout import noised
from methods.supervised import MultistepCFG


class TemporalOptions(Options):
    """Weight, form and gate of L_temp, and how the teacher is sampled for a relative gate."""

    w_temp: float = Field(0.05, ge=0, description="weight")
    threshold: Literal["relative"] | float = Field(
        "relative",
        description="L_temp below which the term is off (0.6 for Wan); relative: its value at rho V_teacher",
    )
    rho: float = Field(RHO, gt=0, description="for the relative threshold")
    square: bool = Field(True, description="-log((V + eps)^2), the paper's; false is the released code's, half of it")
    eps: float = Field(1e-6, gt=0)
    teacher_steps: int = Field(25, ge=1, description="Euler steps of the teacher's samples")
    teacher_shift: float = Field(5.0, gt=0, description="flow shift of their time grid")


@register_part("extra_loss", "temporal")
class Temporal(ExtraLoss):
    """w_temp L_temp on the student's x of the matching loss; off while the student varies enough over time (8)."""

    formula = "+ w_temp (-ln((V + eps)^2)) while above the threshold, V = mean_{B,C,H,W} Var_f(x)"
    source = "AVD, Eq. 8"

    Config: ClassVar[type[Options]] = TemporalOptions

    def __init__(self, config: Any, setting: Setting) -> None:
        super().__init__(config, setting)
        self.teacher_variance = torch.tensor(math.nan, dtype=torch.float64)  # measured by `begin`

    def begin(self, batch: Batch) -> None:
        """Measure V_teacher on the teacher's guided samples for the probe batch's captions."""
        if self.config.threshold != "relative" or batch.latent.shape[2] == 1:
            return
        if self.setting.teacher is None:
            raise UserError("a relative threshold is measured on the teacher, which this run lacks", "set a number")
        sample = MultistepCFG(self.config.teacher_steps, self.setting.guidance, self.config.teacher_shift)
        noise = batch.noise.normal(batch.latent)
        self.teacher_variance = temporal_variance(sample(self.setting.teacher, noise, batch.cond)).cpu()

    def threshold(self) -> float:
        """L_temp below which the term is off; UserError while a relative one is unmeasured."""
        if self.config.threshold != "relative":
            return float(self.config.threshold)
        if torch.isnan(self.teacher_variance):
            raise UserError("the teacher's variance over time was not measured", "start this cell from step 0")
        return float(relative_threshold(self.teacher_variance, self.config.rho, self.config.square, self.config.eps))

    def __call__(self, turn: StudentTurn) -> tuple[Tensor | None, Logs]:
        config, x = self.config, turn.match.x
        variance = temporal_variance(x)
        value = temporal_loss(variance, config.square, config.eps)
        if x.shape[2] == 1 or torch.isnan(value):
            return None, {"temp_skipped": 1.0}
        threshold = self.threshold()
        active = bool(gate(value, threshold))
        logs: Logs = {
            "temp": value.detach(),
            "gate": float(active),
            "variance": variance.detach(),
            "threshold": threshold,
            "temp_skipped": 0.0,
        }
        matching = torch.linalg.vector_norm(turn.gradient) / x.numel()
        if matching > 0:
            size = temporal_gradient_norm(variance.detach(), x.numel(), config.square, config.eps)
            logs["temp_ratio"] = config.w_temp * size / matching
        return (config.w_temp * value if active else None), logs

    def state_dict(self) -> dict[str, Tensor]:
        return {"teacher_variance": self.teacher_variance}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.teacher_variance = state["teacher_variance"].clone()


class RegressionOptions(Options):
    """Weight of L_reg."""

    reads: ClassVar[tuple[str, ...]] = ("latent",)
    takes: ClassVar[tuple[str, ...]] = ("time_law", "element_weight")

    w_reg: float = Field(2.0, ge=0, description="weight; the paper's, absent from the released code")
    reg_const: float = Field(
        0.5, ge=0, description="constant w: the mean of the adaptive one, so that the two differ by adapting alone"
    )


class OnRealClips(ExtraLoss):
    """The student's native error on real clips noised to a time of its list (5); draws eps, then u (for k)."""

    def ask(self, batch: Batch) -> Question:
        y, student = batch.latent, self.setting.student
        eps = batch.noise.normal(y)
        self.positions = self.setting.places(batch)
        t = self.setting.times[self.positions].to(y.device)
        self.weight = None if self.setting.weight is None else self.setting.weight(batch, t)
        self.target = student.target(y, eps, t)
        return Question(noised(y, eps, t, student.schedule), t, batch.cond)

    def losses(self, turn: StudentTurn) -> Tensor:
        """L_reg of each clip, `[B]`."""
        if turn.answer is None:
            raise ValueError("the student was not asked about the real clips of this turn")
        return regression_loss(turn.answer, self.target, self.weight)


@register_part("extra_loss", "regression")
class Regression(OnRealClips):
    """w_reg w L_reg with constant w: the control of the adaptive weight (D-AVD5)."""

    formula = "+ w_reg reg_const L_reg on real clips y, L_reg = mean((native_hat(y_t, t_k) - native)^2)"
    source = "AVD, Eq. 5, its ablation"

    Config: ClassVar[type[Options]] = RegressionOptions

    def __call__(self, turn: StudentTurn) -> tuple[Tensor | None, Logs]:
        mean = self.losses(turn).mean()
        return self.config.w_reg * self.config.reg_const * mean, {"reg": mean.detach(), "w": self.config.reg_const}


class AdaptiveOptions(Options):
    """Weight of L_reg, and how fast and how sharply w adapts."""

    reads: ClassVar[tuple[str, ...]] = ("latent",)
    takes: ClassVar[tuple[str, ...]] = ("time_law", "element_weight")

    w_reg: float = Field(2.0, ge=0, description="weight; the paper's, absent from the released code")
    a: float = Field(0.95, ge=0, lt=1, description="decay of the averages of L_reg")
    k: float = Field(3.0, ge=0, description="sharpness: 3 suits differences up to 0.8; elsewhere 3 x 0.3 / std(L_reg)")
    init: Init = Field("first", description="an average starts at its first loss (released) or at 0 (Alg. 1)")
    ema_before_weight: bool = Field(False, description="update, then weigh (released), which is k a in place of k")


def over_processes(losses: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, int]:
    """Losses and list positions of all processes, in rank order, and where this one's begin: one cache for all.

    Every process must bring as many clips. Alone: what was given, and 0.
    """
    own = torch.stack([losses.detach().double(), positions.to(losses.device, torch.float64)])
    if not (distributed.is_available() and distributed.is_initialized()):
        return own[0], positions, 0
    everyone = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyone, own)
    together = torch.cat(everyone, dim=1)
    return together[0], together[1].long(), distributed.get_rank() * len(losses)


@register_part("extra_loss", "adaptive_regression")
class AdaptiveRegression(OnRealClips):
    """w_reg w L_reg, w falling where a clip's loss is above the running average of its time (5-7)."""

    formula = "+ w_reg w L_reg on real clips, w = 1 - sigmoid(k (L_reg - Lbar[t_k]))"
    source = "AVD, Eqs. 5-7"

    Config: ClassVar[type[Options]] = AdaptiveOptions

    def __init__(self, config: Any, setting: Setting) -> None:
        super().__init__(config, setting)
        self.cache = torch.full((len(setting.times),), math.nan, dtype=torch.float64)  # NaN: never visited

    def __call__(self, turn: StudentTurn) -> tuple[Tensor | None, Logs]:
        c = self.config
        losses = self.losses(turn)
        every, order, first = over_processes(losses, self.positions)
        weights, self.cache = visit(self.cache, order.tolist(), every, c.a, c.k, c.init, c.ema_before_weight)
        weights = weights[first : first + len(losses)]
        visited = {f"cache_{k}": value for k, value in enumerate(self.cache.tolist()) if not math.isnan(value)}
        logs: Logs = {"reg": losses.detach().mean(), "w": weights.mean(), **visited}
        return c.w_reg * (weights.to(losses) * losses).mean(), logs

    def state_dict(self) -> dict[str, Tensor]:
        return {"cache": self.cache}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.cache = state["cache"].clone()
