"""What a plugin author reads: what one can add (method, metric, backbone, dataset, tracker, part),
and what each is handed.

Nothing here imports torch, so that listing plugins stays cheap. Shapes: latents `[B, C, F, H, W]`, pixels
`[B, 3, F, H, W]` in [-1, 1], frames on disk uint8 `[F, H, W, 3]` RGB. Time `t` in [0, 1], 1 = pure noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from harness.backbones.base import RectifiedFlow, Schedule, VariancePreserving, convert, guide, shift
from harness.errors import UserError
from harness.judging import Clip, ClipInfo, Extractor, Features, FrameChunk, Metric, Open, Score, ScoreRow
from harness.models import Backbone, Sampler, Want, Weights
from harness.outline import Term, term_of
from harness.participants import Asked, Made, Maker, Offer
from harness.registry import (
    check_part,
    make_part,
    register_backbone,
    register_dataset,
    register_feature,
    register_method,
    register_metric,
    register_part,
    register_tracker,
)
from harness.rng import Noise, derive_seed
from harness.samples import Batch, ClipSpec, Dataset, Options, Row, Services
from harness.tracking import Tracker

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "Asked",
    "Backbone",
    "Batch",
    "Clip",
    "ClipInfo",
    "ClipSpec",
    "Dataset",
    "Extractor",
    "Features",
    "FrameChunk",
    "Made",
    "Maker",
    "Method",
    "Metric",
    "Needs",
    "Noise",
    "Offer",
    "Open",
    "Options",
    "Participant",
    "RectifiedFlow",
    "Row",
    "Sampler",
    "Schedule",
    "Score",
    "ScoreRow",
    "Services",
    "Stage",
    "Term",
    "Tracker",
    "Turn",
    "UserError",
    "VariancePreserving",
    "Want",
    "Weights",
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
    "register_tracker",
    "shift",
    "term_of",
]

# ---- methods ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Needs:
    """What a method asks for; checked before anything is loaded."""

    roles: tuple[str, ...] = ("student",)
    fields: tuple[str, ...] = ("latent", "prompt")
    scores: tuple[str, ...] = ()
    rewards: tuple[Mapping[str, Any], ...] = ()  # parts of kind "reward", each {"name": ..., **options}
    caps: tuple[str, ...] = ()
    stages: tuple[Mapping[str, Any], ...] = ()  # parts of kind "stage", computed before training
    checkpoints: Mapping[str, str] = field(default_factory=dict)  # role to the suite's row whose training supplies it


@dataclass(frozen=True)
class Turn:
    """One optimiser's place in a step: `role` is updated on steps divisible by `every`, `repeat` times."""

    role: str
    every: int = 1
    repeat: int = 1
    clip: float | None = None  # gradient norm
    rate: float = 1.0  # factor on the suite's learning rate


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
    def turns_for(cls, config: Any) -> Sequence[Turn]:
        """The turns under a configuration; `turns` unless options change them."""
        return cls.turns

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        """The network of a role: something with a `net`. Called before training and when a checkpoint is read.

        By default a copy of the backbone if it is trained, the frozen backbone itself, shared, if not.
        """
        return base.clone(trainable=True) if trainable else base

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int | None:
        """Network evaluations a generated clip costs under the suite's sampler settings; None: known when it runs."""
        return None

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        """The pure functions this method is made of, for `describe NAME --equations`."""
        return ()

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        """What a configuration computes, in the order it acts, for `describe`; none falls back on `equations`."""
        return ()

    @classmethod
    def maker(cls, config: Any, spec: ClipSpec) -> Maker | None:
        """What makes the clips in place of backbone and sampler, for a `Participant`; None: they are sampled."""
        return None

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Dataset rows `[size]` of one global batch; default: uniform with replacement."""
        return rng.integers(0, self.services.rows, size)

    def begin(self, batch: Batch) -> None:
        """Called once before step 0 with a fixed probe batch, not on resume: what it measures goes to `state_dict`."""

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

    def diagnostics(self, log: Sequence[Mapping[str, Any]], batch: Batch) -> Mapping[str, Figure]:
        """Pictures a researcher looks at, by title, drawn once when training ends; loss curves come by themselves.

        Args:
            log: the rows of `train/metrics.jsonl`: step, role, loss, gnorm and what `loss` returned to log.
            batch: the probe batch that `begin` saw.
        """
        return {}


class Participant(Method):
    """A row that is not trained here and does not use the suite's backbone: it only says what makes its clips."""

    turns = ()

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=(), fields=())

    @classmethod
    @abstractmethod
    def maker(cls, config: Any, spec: ClipSpec) -> Maker:
        """An API, a checkpoint with a pipeline of its own, clips on disk."""

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        line = (cls.__doc__ or "").strip().split("\n")[0]
        return (Term("clips", line, f"{cls.__module__}.{cls.__qualname__}", options=config.model_dump(mode="json")),)

    def loss(self, role: str, batch: Batch, step: int) -> NoReturn:
        raise TypeError(f"{self.name} is not trained here")

    def sampler(self) -> NoReturn:
        raise TypeError(f"{self.name} has a maker, not a sampler")


class Stage(ABC):
    """An offline artefact of every training clip, computed once from the frozen backbone and kept on disk.

    A part of kind "stage": `@register_part("stage", NAME)`. Its cache is keyed by name, version, options, data,
    backbone and clip spec; seeds and methods share it. A killed stage resumes after the last whole group of clips.
    """

    version: ClassVar[int] = 1
    Config: ClassVar[type[Options]] = Options
    group: ClassVar[int] = 4  # clips computed together, and saved in one file

    def __init__(self, config: Any, base: Backbone, services: Services) -> None:
        self.config, self.base, self.services = config, base, services

    @abstractmethod
    def compute(self, batch: Batch) -> Mapping[str, Tensor]:
        """Artefacts `[B, ...]` of one group of clips by name; they come back as `Batch.extras`."""
