"""What a plugin author reads: what one can add (method, metric, backbone, dataset, part) and what each is handed.

Nothing here imports torch, so that listing plugins stays cheap. Shapes: latents `[B, C, F, H, W]`, pixels
`[B, 3, F, H, W]` in [-1, 1], frames on disk uint8 `[F, H, W, 3]` RGB. Time `t` in [0, 1], 1 = pure noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from harness.backbones.base import RectifiedFlow, Schedule, VariancePreserving, convert, guide, shift
from harness.errors import UserError
from harness.registry import (
    check_part,
    make_part,
    register_backbone,
    register_dataset,
    register_feature,
    register_method,
    register_metric,
    register_part,
)
from harness.rng import Noise, derive_seed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = [
    "Backbone",
    "Batch",
    "Clip",
    "ClipSpec",
    "Dataset",
    "Features",
    "Method",
    "Metric",
    "Needs",
    "Noise",
    "Options",
    "RectifiedFlow",
    "Row",
    "Sampler",
    "Schedule",
    "Score",
    "Services",
    "Turn",
    "UserError",
    "VariancePreserving",
    "Want",
    "check_part",
    "convert",
    "derive_seed",
    "guide",
    "make_part",
    "register_backbone",
    "register_dataset",
    "register_feature",
    "register_method",
    "register_metric",
    "register_part",
    "shift",
]

Want = Literal["x0", "eps", "flow", "v", "native"]


class Options(BaseModel):
    """Base of every plugin's `Config`: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClipSpec(Options):
    """Frames, size in pixels and rate of every clip of a suite."""

    frames: int = 17
    height: int = 64
    width: int = 64
    fps: float = 8.0


# ---- data ------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Services:
    """What a method may know beyond its batch."""

    scores: Mapping[str, NDArray[np.float64]]  # whole score columns of the training set, each [N]
    rows: int  # N
    generate: Mapping[str, Any] = field(default_factory=dict)  # the suite's sampler settings: steps, guidance, shift


# ---- backbones -------------------------------------------------------------------------------------------------


class Backbone(ABC):
    """An adapter that makes one generator family answer the same questions."""

    name: ClassVar[str]
    Config: ClassVar[type[Options]] = Options
    net: nn.Module  # what is optimised and checkpointed
    schedule: Schedule
    native: Literal["flow", "v", "eps", "x0"]
    caps: frozenset[str]  # of {"decode_grad", "temporal_attention", "guidance_embed", "motion_embed"}

    @classmethod
    @abstractmethod
    def load(cls, config: Any, device: torch.device) -> Backbone:
        """Read the weights. Raises UserError when a file is missing, naming it and the command that gets it."""

    @classmethod
    @abstractmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        """What `caps` will be, without loading anything."""

    @classmethod
    @abstractmethod
    def digest(cls, config: Any) -> str:
        """Hex digest of config and weight files, without importing torch."""

    @abstractmethod
    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        """`(C, F, H, W)` of the latents of one clip."""

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, cond: Tensor, want: Want) -> Tensor:
        """The network's answer at noisy latents x `[B, C, F, H, W]`, time t `[B]` in [0, 1], as `want`."""

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The native regression target (flow: eps - x0; v: alpha eps - sigma x0; eps)."""

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """`[B, L, D]`."""

    @abstractmethod
    def null_cond(self, n: int) -> Tensor:
        """The unconditional (negative-prompt) condition `[n, L, D]`; the same for training dropout and guidance."""

    @abstractmethod
    def encode(self, video: Tensor) -> Tensor:
        """Pixels `[B, 3, F, H, W]` in [-1, 1] to normalised latents `[B, C, F, H, W]`."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents to pixels in [-1, 1]; differentiable if "decode_grad" is in caps."""

    @abstractmethod
    def clone(self, trainable: bool) -> Backbone:
        """A copy with its own network weights (teacher, fake score, target); codec and text encoder are shared."""


class Sampler(Protocol):
    """From noise to clean latents."""

    nfe: int  # network evaluations per clip

    def __call__(self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """noise `[B, C, F, H, W]`, cond `[B, L, D]`, one CPU generator per clip for any further noise; returns x0."""
        ...


# ---- methods ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Needs:
    """What a method asks for; checked before anything is loaded."""

    roles: tuple[str, ...] = ("student",)
    fields: tuple[str, ...] = ("latent", "prompt")
    scores: tuple[str, ...] = ()
    rewards: tuple[str, ...] = ()
    caps: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One optimiser's place in a step: `role` is updated on steps divisible by `every`, `repeat` times."""

    role: str
    every: int = 1
    repeat: int = 1
    clip: float | None = None  # gradient norm


class Method(ABC):
    """A trainer and a sampler. `turns = ()` means there is nothing to train."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[Options]] = Options
    preset: ClassVar[Mapping[str, Any]] = {}  # what this name sets in Config; user settings are merged over it
    turns: Sequence[Turn] = (Turn("student"),)

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Services) -> None:
        self.config, self.roles, self.services = config, roles, services

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        """The pure functions this method is made of, for `describe NAME --equations`."""
        return ()

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Dataset rows `[size]` of one global batch; default: uniform with replacement."""
        return rng.integers(0, self.services.rows, size)

    @abstractmethod
    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Scalar to minimise for `role`, and numbers to log."""

    def after(self, role: str, step: int) -> None:
        """Called after the optimiser step of `role`, e.g. for a target network."""

    def state_dict(self) -> dict[str, Tensor]:
        """State beyond the networks that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""

    @abstractmethod
    def sampler(self) -> Sampler:
        """How clips are generated from the trained student."""


# ---- metrics ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """One video file."""

    id: str
    path: Path
    sha256: str
    prompt: str | None = None
    seed: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class Features(Protocol):
    """Everything known about one clip, computed once: decoded frames and named features shared by metrics."""

    @property
    def fps(self) -> float:
        """Frames a second."""
        ...

    @property
    def frames(self) -> NDArray[np.uint8]:
        """`[F, H, W, 3]` RGB."""
        ...

    def get(self, name: str) -> NDArray[Any]:
        """The feature registered under `name`."""
        ...


@dataclass(frozen=True)
class Score:
    """A value with its parts. `value=None` means not applicable: counted and shown, never averaged."""

    value: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


class Metric(ABC):
    """Scores one clip (`score`) or a set of clips (`reset/update/merge/compute`)."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[Options]] = Options
    level: ClassVar[Literal["clip", "set"]] = "clip"
    higher_is_better: ClassVar[bool | None] = True  # None: descriptive, shown but not ranked
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # closed and finite; a value outside fails
    unit: ClassVar[str] = ""
    features: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None  # the optional-dependency group to install

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """Files whose bytes decide the score; they enter the fingerprint and are checked before a run."""
        return ()

    def score(self, clip: Clip, features: Features) -> Score | float | None:
        """Clip level. None: not applicable."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it does not score single clips")

    def reset(self) -> None:
        """Set level: forget everything seen."""

    def update(self, clip: Clip, features: Features) -> None:
        """Set level: take one clip in."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")

    def merge(self, other: Metric) -> None:
        """Set level: take in another shard's state; the order of shards must not matter."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")

    def compute(self) -> Score | float | None:
        """Set level: the score of all clips taken in."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")
