"""The embedded world as a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.api import Dataset, Options, Row, register_dataset
from harness.data.world.dice import Dice
from harness.data.world.grammar import long_caption, short_caption
from harness.data.world.ground_truth import Truth, describe, truth
from harness.data.world.knobs import Knobs, draw_knobs
from harness.data.world.rendering import render
from harness.data.world.staging import KNOBS, WORLD_VERSION, Scene, cast, scene
from harness.errors import UserError


class ShapesConfig(Options):
    """`size` clips of the stream `seed`. Presets: clean, or TQD's training sets of spoilt clips (`world.knobs`)."""

    size: int = Field(ge=1)
    seed: int = Field(0, ge=0)
    split: Literal["train", "heldout"] = "train"
    preset: Literal["clean", "set-a", "set-b", "set-c"] = "clean"
    caption: Literal["short", "long"] = "short"


@register_dataset
class Shapes(Dataset):
    """Moving shapes with captions, quality scores and ground truth; every clip is a pure function of (seed, index)."""

    name: ClassVar[str] = "shapes"
    Config: ClassVar[type[Options]] = ShapesConfig
    config: ShapesConfig

    def rows(self) -> Sequence[Row]:
        return self._rows

    def video(self, index: int) -> NDArray[np.uint8]:
        return render(self.scene(index), self.spec, self.knobs(index))

    def truth(self, index: int) -> Truth:
        """Masks, boxes and tracks of the clip `video(index)`."""
        return truth(self.scene(index), self.spec, self.knobs(index))

    def scene(self, index: int) -> Scene:
        return scene(self.config.seed, self._checked(index), self.config.split, self._lively(self.knobs(index)))

    def knobs(self, index: int) -> Knobs:
        return draw_knobs(Dice(KNOBS, self.config.seed, self._checked(index)), self.config.preset)

    def digest(self) -> str:
        parts = {"config": self.config.model_dump(), "spec": self.spec.model_dump(), "world": WORLD_VERSION}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def notes(self) -> Mapping[str, Any]:
        return {"world": WORLD_VERSION}

    @cached_property
    def _rows(self) -> list[Row]:
        return [self._row(index) for index in range(self.config.size)]

    def _row(self, index: int) -> Row:
        config, knobs = self.config, self.knobs(index)
        drawn = cast(config.seed, index, config.split, self._lively(knobs))
        short = short_caption(drawn)
        return Row(
            id=f"{config.split}-{config.seed}-{index:06d}",
            prompt=long_caption(drawn) if config.caption == "long" else short,
            short_prompt=short,
            scores=knobs.scores(),
            meta={**describe(drawn), "knobs": knobs.as_dict()},
        )

    def _lively(self, knobs: Knobs) -> bool:
        """A spoilt set's clips of high motion quality must have motion to speak of."""
        return self.config.preset != "clean" and knobs.quadrant().startswith("HM")

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.config.size:
            raise UserError(f"shapes has no row {index}", f"rows are 0 to {self.config.size - 1}")
        return index
