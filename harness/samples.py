"""The data side of the plugin surface, re-exported by `harness.api`: clip spec, rows, datasets, a loss's batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from harness.rng import Noise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Options(BaseModel):
    """Base of every plugin's `Config`: unknown keys are errors, values are frozen."""

    refuses: ClassVar[Mapping[str, tuple[str, str]]] = {}  # keys that mean nothing here: why, and what to do instead

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClipSpec(Options):
    """Frames, size in pixels and rate of every clip of a suite."""

    frames: int = 17
    height: int = 64
    width: int = 64
    fps: float = 8.0


@dataclass(frozen=True)
class Row:
    """One row of a dataset, without its pixels."""

    id: str
    prompt: str
    short_prompt: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)  # raw columns, e.g. {"mq": 2.1, "vq": 3.3}
    meta: Mapping[str, Any] = field(default_factory=dict)  # JSON-able ground truth that metrics may read


class Dataset(ABC):
    """Captioned clips. Built from its `Config` and the suite's clip spec; cheap until `video` is called."""

    name: ClassVar[str]
    Config: ClassVar[type[Options]] = Options

    def __init__(self, config: Options, spec: ClipSpec) -> None:
        self.config, self.spec = config, spec

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """All rows, in order. No pixels are read."""

    @abstractmethod
    def video(self, index: int) -> NDArray[np.uint8]:
        """Frames of row `index`, uint8 `[F, H, W, 3]` RGB, exactly the clip spec."""

    @abstractmethod
    def digest(self) -> str:
        """Hex digest of everything that decides the pixels, captions and scores."""

    def notes(self) -> Mapping[str, Any]:
        """What was done to the data (resampling, crops, rows left out), for provenance."""
        return {}


@dataclass
class Batch:
    """What a method's loss is handed. All tensors are on the training device."""

    index: Tensor  # [B] int64, dataset rows
    latent: Tensor  # [B, C, F, H, W]
    cond: Tensor  # [B, L, D] encoded captions
    prompt: list[str]
    scores: Mapping[str, Tensor]  # raw score columns, each [B] float64 on CPU
    noise: Noise  # the only randomness a loss may use
    short_prompt: list[str] = field(default_factory=list)  # "" where the row has no short caption
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # what the method's stages computed, each [B, ...]


@dataclass(frozen=True)
class Services:
    """What a method may know beyond its batch."""

    scores: Mapping[str, NDArray[np.float64]]  # whole score columns of the training set, each [N]
    rows: int  # N
    generate: Mapping[str, Any] = field(default_factory=dict)  # the suite's sampler settings: steps, guidance, shift
