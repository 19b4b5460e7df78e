"""The model side of the plugin surface, re-exported by `harness.api`: backbones, their weights, samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.backbones.base import Schedule
from harness.samples import ClipSpec, Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Want = Literal["x0", "eps", "flow", "v", "native"]


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
