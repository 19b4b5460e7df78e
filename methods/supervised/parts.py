"""The three kinds of part a supervised trainer is composed of. Write one and name it in a suite; no trainer is touched.

    @register_part("time_law", "late")
    class Late(TimeLaw):
        def quantile(self, u, batch):
            return 1 - u**2

| kind             | derive from     | answer                                                        |
|------------------|-----------------|---------------------------------------------------------------|
| `time_law`       | `TimeLaw`       | `quantile(u, batch) -> t`, the inverse distribution function  |
| `retention`      | `Retention`     | `probability() -> p`, how likely each row is kept             |
| `element_weight` | `ElementWeight` | `__call__(batch, t) -> w`, broadcastable to the latent        |

A part's options are its `Config`; a `scores` property there names the score columns it reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from harness.api import Batch, Options, Services, UserError, check_part

KINDS = ("time_law", "retention", "element_weight")


class LawOptions(Options):
    """Bounds every time law is clamped to."""

    t_min: float = Field(1e-3, ge=0, le=1)
    t_max: float = Field(0.999, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> LawOptions:
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min {self.t_min} must be below t_max {self.t_max}")
        return self


class TimeLaw(ABC):
    """Where in [0, 1] a clip is trained. Laws share their uniform draws, so two laws differ only by their quantiles."""

    Config: ClassVar[type[LawOptions]] = LawOptions

    def __init__(self, config: Any, services: Services) -> None:
        self.config, self.services = config, services

    @abstractmethod
    def quantile(self, u: Tensor, batch: Batch) -> Tensor:
        """Inverse distribution function at u `[B]` float64 in [0, 1), for the clips of `batch`; `[B]` float64, CPU."""

    def __call__(self, u: Tensor, batch: Batch) -> Tensor:
        return self.quantile(u, batch).clamp(self.config.t_min, self.config.t_max)


class ElementWeight(ABC):
    """How much each element of the squared error counts."""

    Config: ClassVar[type[Options]] = Options

    def __init__(self, config: Any, services: Services) -> None:
        self.config, self.services = config, services

    @abstractmethod
    def __call__(self, batch: Batch, t: Tensor) -> Tensor:
        """Weights broadcastable to `batch.latent` `[B, C, F, H, W]`; t `[B]` float64 on the same device."""


def part_spec(kind: str, value: Any) -> dict[str, Any]:
    """`{"name": ..., **options}` with every option filled in; a bare name is short for one without options.

    Raises ValueError (a pydantic validator's language) naming the option that is wrong.
    """
    spec = {"name": value} if isinstance(value, str) else value
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ValueError(f"a {kind} is a name, or a mapping with a name and options")
    try:
        options = check_part(kind, spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = "unknown option" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{spec['name']}{f'.{where}' if where else ''}: {problem}") from None
    except UserError as error:
        raise ValueError(str(error)) from None
    return {"name": spec["name"], **options.model_dump(mode="json")}


def wanted_scores(specs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Score columns that the parts `{kind: spec}` read, each once, in order."""
    columns = (column for kind, spec in specs.items() for column in getattr(check_part(kind, spec), "scores", ()))
    return tuple(dict.fromkeys(columns))


def score_column(services: Services, column: str) -> NDArray[np.float64]:
    """One raw score column `[N]`; UserError when the training set has none of that name."""
    if column not in services.scores:
        known = ", ".join(sorted(services.scores)) or "none"
        raise UserError(f'the training set has no score column "{column}"', f"columns it has: {known}")
    return np.asarray(services.scores[column], dtype=np.float64)


def scored_rows(services: Services, columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Rows `[N]` that have a finite value in every column; the others are never trained on."""
    usable = np.ones(services.rows, dtype=bool)
    for column in columns:
        usable &= np.isfinite(score_column(services, column))
    return usable
