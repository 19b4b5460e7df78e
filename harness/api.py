"""What a plugin author reads: what one can add (method, metric, backbone, dataset, tracker, part),
and what each is handed.

Nothing here imports torch, so that listing plugins stays cheap. Shapes: latents `[B, C, F, H, W]`, pixels
`[B, 3, F, H, W]` in [-1, 1], frames on disk uint8 `[F, H, W, 3]` RGB. Time `t` in [0, 1], 1 = pure noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.backbones.base import RectifiedFlow, Schedule, VariancePreserving, convert, guide, shift
from harness.errors import UserError
from harness.judging import Clip, ClipInfo, Extractor, Features, FrameChunk, Metric, Open, Score, ScoreRow
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
    import torch
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = [
    "Backbone",
    "Batch",
    "Clip",
    "ClipInfo",
    "ClipSpec",
    "Dataset",
    "Extractor",
    "Features",
    "FrameChunk",
    "Method",
    "Metric",
    "Needs",
    "Noise",
    "Open",
    "Options",
    "RectifiedFlow",
    "Row",
    "Sampler",
    "Schedule",
    "Score",
    "ScoreRow",
    "Services",
    "Stage",
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
]

Want = Literal["x0", "eps", "flow", "v", "native"]


# ---- backbones -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """What is known of a backbone's weights without loading them."""

    path: str  # as configured: a folder or a hub id
    trained: str  # the component that is optimised, e.g. "transformer"
    parameters: Mapping[str, int] = field(default_factory=dict)  # by component; empty while they are not here
    latent_channels: int = 0
    problem: str = ""  # what is missing
    remedy: str = ""  # the command that gets it


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

    @classmethod
    def weights(cls, config: Any) -> Weights | None:
        """What is known of the weights without loading them; None for a backbone that needs no files."""
        return None

    @abstractmethod
    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        """`(C, F, H, W)` of the latents of one clip."""

    @abstractmethod
    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The network's answer at noisy latents x `[B, C, F, H, W]`, time t `[B]` in [0, 1], as `want`.

        Args:
            embeds: scalars `[B]` for the embeddings this copy was cloned with, e.g. `{"guidance": w}`; one that is
                left out embeds 0. Naming one it was not cloned with is a TypeError.
        """

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

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """Layer name to attention over frames `[B, P, F, F]`, P = heads x positions, rows sum to 1; differentiable.

        Only with "temporal_attention" in caps.
        """
        raise TypeError(f"backbone {self.name} has no temporal attention")

    @abstractmethod
    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> Backbone:
        """A copy with its own network weights (teacher, fake score, target); codec and text encoder are shared.

        Args:
            embeds: scalar conditions the copy gains, of "guidance" and "motion" (caps "guidance_embed",
                "motion_embed"): each a 256-d sinusoid of 1000 w through a new bias-free linear layer, zero at first,
                added to the time embedding. A copy that has them keeps them when it is cloned again.
        """


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
