"""Which rows a batch is made of: each row is kept with its own probability."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.api import Options, Services, UserError, register_part

log = logging.getLogger(__name__)


def draw_weighted(rng: np.random.Generator, cumulative: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Rows `[size]` drawn with probability p_i / sum p, from `cumulative` = cumsum(p) / sum(p) `[N]`."""
    return np.searchsorted(cumulative, rng.random(size), side="right").astype(np.int64)


def draw_rejected(rng: np.random.Generator, p: NDArray[np.float64], size: int, proposals: int) -> NDArray[np.int64]:
    """Uniform proposals, each accepted with its p: up to `size` rows, fewer when `proposals` run out.

    The marginal of an accepted row is p_i / sum p, and N / sum p proposals are spent on each. The first `size`
    proposals are what a uniform draw from the same generator would have returned.
    """
    accepted = [np.empty(0, dtype=np.int64)]
    missing, block = size, size
    while missing > 0 and proposals > 0:
        proposal = rng.integers(0, len(p), min(block, proposals))
        kept = proposal[rng.random(len(proposal)) < p[proposal]][:missing]
        accepted.append(kept)
        missing, proposals, block = missing - len(kept), proposals - len(proposal), 2 * block
    return np.concatenate(accepted)


class RetentionOptions(Options):
    """How kept rows are drawn: the two modes have the same marginal."""

    mode: Literal["reject", "weighted"] = "reject"
    tries: int = Field(100, ge=1, description="proposals per row of a batch before drawing the rest by weight")


class Retention(ABC):
    """Draws the rows of a batch by their keep probability; rows outside `usable` are never drawn.

    Raises UserError when no row can be drawn, ValueError when a probability is outside [0, 1].
    """

    Config: ClassVar[type[RetentionOptions]] = RetentionOptions

    def __init__(self, config: Any, services: Services, usable: NDArray[np.bool_]) -> None:
        self.config, self.services, self.usable = config, services, usable
        p = np.where(usable, self.probability(), 0.0)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"{type(self).__name__}: keep probabilities must lie in [0, 1]")
        if not p.any():
            raise UserError(
                f"no row of the training set can be drawn: {int((~usable).sum())} of {len(p)} lack a score, "
                "the rest are kept with probability 0",
                "check the score columns",
            )
        total = np.cumsum(p)
        self.p, self.cumulative = p, total / total[-1]  # ends at exactly 1: a draw below 1 never runs off the end
        self.warned = False

    @abstractmethod
    def probability(self) -> NDArray[np.float64]:
        """Keep probability of each row, `[N]` in [0, 1]; NaN is allowed where `usable` is False."""

    @property
    def kept(self) -> float:
        """Expected share of proposals that are kept, mean p."""
        return float(self.p.mean())

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Rows `[size]` of one batch."""
        if self.config.mode == "weighted":
            return draw_weighted(rng, self.cumulative, size)
        rows = draw_rejected(rng, self.p, size, self.config.tries * size)
        if len(rows) < size:
            self._note(size - len(rows), size)
            rows = np.concatenate([rows, draw_weighted(rng, self.cumulative, size - len(rows))])
        return rows

    def _note(self, missing: int, size: int) -> None:
        if not self.warned:
            log.warning(
                "%d of %d rows were not found in %d tries each (mean keep probability %.2g); drawing them by weight",
                *(missing, size, self.config.tries, self.kept),
            )
        self.warned = True


@register_part("retention", "none")
class KeepAll(Retention):
    """Every row is kept: uniform with replacement."""

    formula = "every row alike, with replacement"
    source = ""

    def probability(self) -> NDArray[np.float64]:
        return np.ones(self.services.rows)
