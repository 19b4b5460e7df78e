"""Rewards as an extra loss of any row that has those: `extra_losses: {rewards: {rewards: [shapes-reader]}}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator
from torch import Tensor

from harness.api import Options, register_part
from methods.consistency.feedback import Feedback
from methods.dmd.parts import ExtraLoss, Logs, Setting, StudentTurn
from methods.supervised.parts import part_spec


class RewardLossOptions(Options):
    """The rewards and their weights, as the consistency trainer names them."""

    reads: ClassVar[tuple[str, ...]] = ("short_prompt",)
    caps: ClassVar[tuple[str, ...]] = ("decode_grad",)

    rewards: tuple[dict[str, Any], ...] = Field(min_length=1, description="parts of kind reward")
    beta_img: float = Field(0.2, ge=0)
    beta_v: float = Field(0.5, ge=0)
    effective_ddp: bool = Field(False, description="beta_v as the released launch weighs it, a third")
    reward_frames: int = Field(2, ge=1, description="M, frames an image reward sees")
    reward_rows: int = Field(0, ge=0, description="clips of a batch that are decoded and judged; 0 is all")

    @field_validator("rewards", mode="before")
    @classmethod
    def _known_rewards(cls, value: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError("rewards is a list of parts")
        return tuple(part_spec("reward", spec) for spec in value)


@register_part("extra_loss", "rewards")
class RewardLoss(ExtraLoss):
    """-J of the student's clean latents, decoded, on clips with a short caption. Its draws come after all others."""

    Config: ClassVar[type[Options]] = RewardLossOptions
    formula = "- beta_img mean(sum R_img(decode(x))) - beta_v mean(sum R_v(decode(x)))"
    source = "T2V-Turbo-v2"

    def __init__(self, config: Any, setting: Setting) -> None:
        super().__init__(config, setting)
        self.feedback: Feedback | None = None
        if setting.teacher is not None:  # in sampling there is nothing to judge
            self.feedback = Feedback(config, setting.student, next(setting.student.net.parameters()).device)

    def __call__(self, turn: StudentTurn) -> tuple[Tensor | None, Logs]:
        if self.feedback is None:
            return None, {}
        j, logs = self.feedback(turn.match.x, turn.batch)
        return -j, dict(logs)
