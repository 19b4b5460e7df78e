"""The slots of the consistency trainer: what its names differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from harness.api import check_part
from methods.consistency.grid import Boundary
from methods.consistency.guidance import GuidanceOptions
from methods.dmd.parts import part_specs
from methods.supervised import GuestOptions
from methods.supervised.parts import part_spec


class ConsistencyOptions(GuestOptions):
    """The slots of the one trainer; names differ only here."""

    guests: ClassVar[tuple[str, ...]] = (*GuestOptions.guests, "extra_losses")
    refuses: ClassVar[Mapping[str, tuple[str, str]]] = {
        "gradient_terms": (
            "a gradient term is made from two scores of the student's sample, and this trainer compares no scores",
            "use it on a distribution matching row",
        ),
        "sampler": ("a consistency student is asked on its solver's grid", "set sample_steps and stochastic"),
    }

    solver_steps: int = Field(50, ge=1, description="N of the teacher's solver; 200 in T2V-Turbo-v2")
    shift: float = Field(5.0, gt=0, description="of the flow grid, in training and sampling")
    w_range: tuple[FiniteFloat, FiniteFloat] = Field(
        (5.0, 15.0), description="guidance scales w, in LCM's convention (s = 1 + w)"
    )
    w: FiniteFloat = Field(7.5, description="w at inference, and in training without guidance_embed")
    guidance_embed: bool = Field(True, description="tell the student w; False trains every clip at one w")
    guidance: dict[str, Any] = Field({"name": "none"}, validate_default=True, description="part teacher_guidance")
    target: Literal["online", "ema"] = "ema"
    ema_decay: float = Field(0.95, ge=0, lt=1)
    distance: Literal["huber", "l2"] = "huber"
    huber_c: float = Field(0.001, gt=0)
    boundary: Boundary = "auto"
    rewards: tuple[dict[str, Any], ...] = Field((), description="parts of kind reward")
    beta_img: float = Field(0.2, ge=0)
    beta_v: float = Field(0.5, ge=0)
    effective_ddp: bool = Field(False, description="beta_v as the released launch weighs it, a third")
    reward_frames: int = Field(2, ge=1, description="M, frames an image reward sees")
    reward_rows: int = Field(0, ge=0, description="clips of a batch that are decoded and judged; 0 is all")
    sample_steps: int = Field(4, ge=1, description="K")
    stochastic: bool = Field(True, description="sample with fresh noise; False re-uses the predicted one")
    clip: float | None = Field(1.0, gt=0, description="gradient norm")
    rate: float = Field(1.0, gt=0, description="factor on the suite's learning rate")

    extra_losses: tuple[dict[str, Any], ...] | None = Field(
        None, description="parts added to the student's loss, on its clean latents"
    )

    @field_validator("extra_losses", mode="before")
    @classmethod
    def _known_losses(cls, value: Any) -> tuple[dict[str, Any], ...] | None:
        specs = None if value is None else part_specs("extra_loss", value)
        return specs or None

    @field_validator("guidance", mode="before")
    @classmethod
    def _known_guidance(cls, value: Any) -> dict[str, Any]:
        return part_spec("teacher_guidance", value)

    @field_validator("rewards", mode="before")
    @classmethod
    def _known_rewards(cls, value: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError("rewards is a list of parts")
        return tuple(part_spec("reward", spec) for spec in value)

    @field_validator("w_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] <= value[1]:
            raise ValueError(f"w_range {list(value)} must be [low, high]")
        return value

    @model_validator(mode="after")
    def _on_the_grid(self) -> ConsistencyOptions:
        if self.sample_steps > self.solver_steps:
            raise ValueError(f"sample_steps {self.sample_steps} is more than solver_steps {self.solver_steps}")
        return self

    @model_validator(mode="after")
    def _law_reaches_all_steps(self) -> ConsistencyOptions:
        if self.time_law and self.steering.stages({"steps": self.solver_steps, "shift": self.shift}):
            raise ValueError(
                f"time_law chooses the solver steps, but guidance {self.guidance['name']} prepared its own, all alike\n"
                "leave one of the two out"
            )
        return self

    @property
    def further(self) -> tuple[Any, ...]:
        """Options of the added losses."""
        return tuple(check_part("extra_loss", spec) for spec in self.extra_losses or ())

    @property
    def steering(self) -> GuidanceOptions:
        """The options of the guidance part."""
        options: GuidanceOptions = check_part("teacher_guidance", self.guidance)
        return options

    @property
    def embeds(self) -> tuple[str, ...]:
        """Scalars the student is told."""
        return (*(("guidance",) if self.guidance_embed else ()), *self.steering.embeds)
