"""Options of every method that matches distributions; defaults are AVD's for Wan2.1 unless said otherwise."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.api import Options
from methods.dmd.parts import part_specs

KINDS = {"gradient_terms": "gradient_term", "extra_losses": "extra_loss"}


class MatchingOptions(Options):
    """Student, scores, turns, and the parts that are added."""

    times: tuple[float, ...] = Field(
        (1.0, 0.9, 0.757, 0.522), min_length=1, description="where the student is asked, in training and sampling"
    )
    rollout: Literal["simulate", "data"] = Field(
        "simulate", description="the student's input: its own samples on the way (needs prompts only), or noised clips"
    )
    guidance: float = Field(6.0, description="teacher's scale")
    cfg_convention: Literal["imagen", "causvid"] = Field(
        "imagen", description="uncond + s (cond - uncond), or cond + s (cond - uncond), whose 5 is 6 here"
    )
    score_shift: float = Field(5.0, gt=0, description="flow shift of the times at which scores are compared")
    score_min: float = Field(0.02, ge=0, lt=1, description="least of those times, after the shift")
    score_max: float = Field(0.98, gt=0, le=1, description="greatest of those times, after the shift")
    eps: float = Field(1e-6, gt=0, description="added to the normaliser mean |x - real|")
    ratio: int = Field(5, ge=1, description="the student is updated on steps divisible by it, the fake score on all")
    clip: float | None = Field(10.0, gt=0, description="gradient norm of both")
    student_rate: float = Field(1.0, gt=0, description="factor on train.lr")
    fake_rate: float = Field(1.0, gt=0, description="factor on train.lr")
    fake_warmup: int = Field(0, ge=0, description="first steps, in which only the fake score is updated")
    fake_limit: float = Field(
        100.0, gt=1, description="end the run when the fake score's loss is this many times its first value"
    )
    gradient_terms: tuple[dict[str, Any], ...] = Field((), description="parts added to the DMD gradient")
    extra_losses: tuple[dict[str, Any], ...] = Field((), description="parts added to the student's loss")

    @field_validator("gradient_terms", "extra_losses", mode="before")
    @classmethod
    def _known_parts(cls, value: Any, info: ValidationInfo) -> tuple[dict[str, Any], ...]:
        return part_specs(KINDS[str(info.field_name)], value)

    @field_validator("times")
    @classmethod
    def _descending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(later >= earlier for earlier, later in pairwise(value)) or not 0 < value[-1] <= value[0] <= 1:
            raise ValueError("times must descend within (0, 1], 1 is pure noise")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> MatchingOptions:
        if self.score_min >= self.score_max:
            raise ValueError(f"score_min {self.score_min} must be below score_max {self.score_max}")
        return self

    @property
    def scale(self) -> float:
        """The teacher's guidance in the imagen convention."""
        return self.guidance if self.cfg_convention == "imagen" else self.guidance + 1
