"""The data a method is examined on: a few small clips with whatever columns it declares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import Dataset, Options, Row, derive_seed, register_dataset
from harness.data.shapes import Shapes, ShapesConfig

DECOY = "undeclared"  # a column that no method declares
LOW, SPAN = 1.0, 3.0  # of the made-up scores


class ProbeConfig(Options):
    """`columns`: score columns to make up; `short`: whether rows have short captions."""

    size: int = 6
    columns: tuple[str, ...] = ()
    short: bool = False


@register_dataset
class Probe(Dataset):
    """Clips of the embedded world with made-up score columns, for `mutoscope check`."""

    name: ClassVar[str] = "conformance"
    Config: ClassVar[type[Options]] = ProbeConfig
    config: ProbeConfig

    @property
    def world(self) -> Shapes:
        return Shapes(ShapesConfig(size=self.config.size, seed=3), self.spec)

    def rows(self) -> Sequence[Row]:
        columns = (*self.config.columns, DECOY)
        return [
            Row(
                id=row.id,
                prompt=row.prompt,
                short_prompt=row.prompt if self.config.short else "",
                scores={name: LOW + SPAN * (derive_seed(name, row.id) % 1000) / 1000 for name in columns},
            )
            for row in self.world.rows()
        ]

    def video(self, index: int) -> NDArray[np.uint8]:
        return self.world.video(index)

    def digest(self) -> str:
        return hashlib.sha256(f"{self.config.model_dump_json()} {self.world.digest()}".encode()).hexdigest()
