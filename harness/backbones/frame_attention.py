"""Attention over frames, read off a network's own self-attention layers while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

Reader = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Tensor]  # (layer, args, kwargs) to [B, P, F, F]


@contextmanager
def watch(layers: Mapping[str, nn.Module], reader: Reader) -> Iterator[dict[str, Tensor]]:
    """A dict that is filled with `reader(layer, args, kwargs)` by name as the layers are called inside."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        seen[name] = reader(layer, args, kwargs)

    handles = [layer.register_forward_pre_hook(partial(keep, name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def heads(layer: Any, x: Tensor, projection: str) -> Tensor:
    """Queries (`to_q`) or keys (`to_k`) of a diffusers Attention: x `[B, N, D]` to `[B, heads, N, d]`."""
    return getattr(layer, projection)(x).unflatten(2, (layer.heads, -1)).transpose(1, 2)


def softmax_scores(query: Tensor, key: Tensor) -> Tensor:
    """A = softmax_j(q_i . k_j / sqrt d): `[..., F, d]` twice to `[..., F, F]`, rows sum to 1."""
    return ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1)
