"""Counting network evaluations: the unit in which training budgets and sampling costs are stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Backbone


@dataclass
class Count:
    """Network evaluations so far. One evaluation: one network answering for one clip, whatever its gradient."""

    clips: int = 0
    frames: int = 0  # latent frames, summed over those evaluations

    def add(self, x: Tensor) -> None:
        self.clips += x.shape[0]
        self.frames += x.shape[0] * x.shape[2]


class Counted:
    """A backbone that adds its evaluations to a count; otherwise the backbone."""

    def __init__(self, backbone: Backbone, count: Count) -> None:
        self.backbone, self.count = backbone, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Any, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        self.count.add(x)
        return self.backbone.predict(x, t, cond, want, embeds)

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        self.count.add(x)
        return self.backbone.temporal_attention(x, t, cond)


def counted(role: Any, count: Count) -> Any:
    """`role` with its evaluations counted; what is no backbone (an interpolation network) as it is."""
    return Counted(role, count) if hasattr(role, "predict") else role
