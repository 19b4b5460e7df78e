"""The three supervised parts as guests of another trainer: which clips it reads, at which times, what their elements
weigh. A guest that a row does not name is absent, from the arithmetic and from the row's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from harness.api import Options, Services, make_part
from methods.supervised.parts import KINDS, ElementWeight, TimeLaw, part_spec, scored_rows, wanted_scores
from methods.supervised.retention import Retention


class Hosting(Options):
    """Options of which some may be absent: None is not written, so rows without them keep the key they had."""

    guests: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _present(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None or key not in self.guests}


class GuestOptions(Hosting):
    """Parts of the supervised trainer that act wherever this one noises real clips."""

    guests: ClassVar[tuple[str, ...]] = KINDS

    time_law: dict[str, Any] | None = Field(None, description="part: the times real clips are noised to")
    retention: dict[str, Any] | None = Field(None, description="part: which rows of the training set are drawn")
    element_weight: dict[str, Any] | None = Field(None, description="part: weights of the loss on real clips")

    @field_validator(*KINDS, mode="before")
    @classmethod
    def _known_guest(cls, value: Any, info: ValidationInfo) -> dict[str, Any] | None:
        return None if value is None else part_spec(str(info.field_name), value)

    @property
    def invited(self) -> Mapping[str, dict[str, Any]]:
        """`{kind: spec}` of the parts that are named."""
        return {kind: spec for kind in KINDS if (spec := getattr(self, kind)) is not None}

    @property
    def wanted(self) -> tuple[str, ...]:
        """Score columns that the named parts read."""
        return wanted_scores(self.invited)


class Guests:
    """The named parts, built; None for those that are absent.

    Args:
        trains: rows are drawn; where clips are only sampled there is no training set to draw from.
    """

    def __init__(self, config: GuestOptions, services: Services, trains: bool) -> None:
        parts = {kind: make_part(kind, spec, services) for kind, spec in config.invited.items() if kind != "retention"}
        self.time_law: TimeLaw | None = parts.get("time_law") if trains else None
        self.element_weight: ElementWeight | None = parts.get("element_weight")
        self.retention: Retention | None = None
        if trains and config.invited:
            usable = scored_rows(services, config.wanted)  # a law that reads scores cannot place a clip without them
            self.retention = make_part("retention", config.retention or {"name": "none"}, services, usable)
        self.rows = services.rows

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Rows `[size]` of one batch; uniform with replacement without a retention."""
        return rng.integers(0, self.rows, size) if self.retention is None else self.retention.draw(rng, size)
