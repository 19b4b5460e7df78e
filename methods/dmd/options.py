"""Options of every method that matches distributions; defaults are AVD's for Wan2.1 unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.api import Options, check_part
from methods.dmd.parts import part_specs
from methods.supervised import GuestOptions
from methods.supervised.parts import part_spec

KINDS = {"gradient_terms": "gradient_term", "extra_losses": "extra_loss"}
NO_CLIPS = "no real clip is noised in this row: its student sees only samples of its own"


class StudentSampling(Options):
    """How the trained student is sampled; the default is every time of its list, with fresh noise."""

    name: Literal["renoise"] = "renoise"
    times: tuple[float, ...] | None = Field(None, min_length=1, description="some of the row's times")
    stochastic: bool = Field(True, description="fresh noise between the calls; False re-uses the predicted one")


class MatchingOptions(GuestOptions):
    """Student, scores, turns, and the parts that are added."""

    guests: ClassVar[tuple[str, ...]] = (*GuestOptions.guests, "score_law", "sampler")
    refuses: ClassVar[Mapping[str, tuple[str, str]]] = {
        "rewards": ("rewards are an extra loss here", "extra_losses: {rewards: {rewards: [...]}}"),
        "target": ("no network is averaged here: the teacher and the fake score are compared", "leave it out"),
    }

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

    score_law: dict[str, Any] | None = Field(
        None, description="part time_law, in place of score_shift: the times at which scores are compared"
    )
    sampler: StudentSampling | None = Field(None, description="how the trained student is sampled")

    @field_validator("score_law", mode="before")
    @classmethod
    def _law_of_scores(cls, value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        spec = part_spec("time_law", value)
        if wanted := getattr(check_part("time_law", spec), "scores", ()):
            raise ValueError(
                f"{spec['name']} reads the columns {', '.join(wanted)}, but scores are compared on the student's own "
                "samples, which have none\nput it on real clips: time_law"
            )
        return spec

    @field_validator("sampler", mode="before")
    @classmethod
    def _few_steps(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("name", "renoise") != "renoise":
            raise ValueError(
                f"{value['name']} asks at times a few-step student was never trained at\nuse renoise, the default"
            )
        return value

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
        if self.sampler and not set(self.sampler.times or ()) <= set(self.times):
            raise ValueError(f"sampler.times must be some of times, {list(self.times)}")
        return self

    @model_validator(mode="after")
    def _guests_have_work(self) -> MatchingOptions:
        """A guest that would change nothing is a mistake, not a row."""
        noised = {"time_law", "retention"} if self.rollout == "data" else set()
        remedy = "set rollout: data, or add an extra loss on real clips, such as regression"
        for field in self.invited:
            if field not in noised | self.taken:
                if field == "element_weight":
                    remedy = "add an extra loss on real clips: regression or adaptive_regression"
                    problem = "weighs the error of a prediction, but the matching loss has none: it compares two scores"
                    raise ValueError(f"{field} {problem}\n{remedy}")
                raise ValueError(f"{field}: {NO_CLIPS}\n{remedy}")
        return self

    @property
    def further(self) -> tuple[Any, ...]:
        """Options of the added parts."""
        specs = ((kind, spec) for field, kind in KINDS.items() for spec in getattr(self, field))
        return tuple(check_part(kind, spec) for kind, spec in specs)

    @property
    def taken(self) -> set[str]:
        """Guests that an added part has work for."""
        reading = any("latent" in getattr(options, "reads", ()) for options in self.further)
        obeyed = {name for options in self.further for name in getattr(options, "takes", ())}
        return obeyed | ({"retention"} if reading else set())

    @property
    def scale(self) -> float:
        """The teacher's guidance in the imagen convention."""
        return self.guidance if self.cfg_convention == "imagen" else self.guidance + 1
