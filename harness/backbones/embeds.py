"""Scalar conditions (guidance scale, motion strength) added to a network's time embedding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 256
# The motion strength is only ever 0 or m, so its 128 cosines are all 1 and Adam moves their weights in step: without
# this factor a rate of 5e-4 shifts the embedding by 0.06 a step, which wiped out a small student in 80. w varies, and
# its moves average out.
GAIN = {"motion": WIDTH**-0.5}


def sinusoid(w: Tensor) -> Tensor:
    """[sin, cos] of 1000 w exp(-k ln(10000) / 127), k = 0 .. 127: w `[B]` to `[B, 256]` float64.

    Source: T2V-Turbo `utils/common_utils.py`, guidance_scale_embedding.
    """
    half = WIDTH // 2
    rates = torch.exp(-torch.arange(half, device=w.device, dtype=torch.float64) * (math.log(10000.0) / (half - 1)))
    angles = 1000.0 * w.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class ScalarEmbeds(nn.Module):
    """One bias-free linear layer a condition, zero at first: a new copy answers what its original does.

    Lives inside the network it serves, as `scalar_embeds`, so that it is trained, saved and copied with it.
    """

    def __init__(self, names: Sequence[str], width: int, like: Tensor) -> None:
        super().__init__()
        layers = {name: nn.Linear(WIDTH, width, bias=False, device=like.device, dtype=like.dtype) for name in names}
        self.layers = nn.ModuleDict(layers)
        for layer in layers.values():
            nn.init.zeros_(layer.weight)
        self.told: Mapping[str, Tensor] = {}

    def add(self, module: nn.Module, inputs: Any, time: Tensor) -> Tensor:
        """Forward hook of the time embedding, `[B, width]` (or `[B, 1, width]`): adds what `given` was told."""
        for name, layer in self.layers.items():
            w: Tensor | None = self.told.get(name)
            w = torch.zeros(len(time), device=time.device) if w is None else w.to(time.device)
            extra = GAIN.get(name, 1.0) * layer(sinusoid(w).to(time.dtype))
            time = time + extra.reshape(len(time), *[1] * (time.ndim - 2), -1)
        return time


def attach(net: nn.Module, time_embedding: nn.Module, width: int, names: Sequence[str]) -> None:
    """Give `net` embeddings for `names`, added to the output `[B, width]` of its `time_embedding`.

    Nothing to do for a net that has them; TypeError for one that has others.
    """
    known = names_of(net)
    if set(names) <= set(known):
        return
    if known:
        raise TypeError(f"this network embeds {known} already; it cannot gain {tuple(names)}")
    embeds = ScalarEmbeds(names, width, next(net.parameters()))
    net.scalar_embeds = embeds
    time_embedding.register_forward_hook(embeds.add)  # a bound method: deep copies of the net rebind it to their own


def names_of(net: nn.Module) -> tuple[str, ...]:
    """The conditions a network embeds."""
    found = getattr(net, "scalar_embeds", None)
    return tuple(found.layers) if isinstance(found, ScalarEmbeds) else ()


@contextmanager
def given(net: nn.Module, embeds: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Tell the network its scalars `[B]` for the calls inside; TypeError for one it has no embedding for."""
    unknown = set(embeds or ()) - set(names_of(net))
    if unknown:
        raise TypeError(f"this network embeds {names_of(net) or 'no scalars'}, not {sorted(unknown)}")
    own = getattr(net, "scalar_embeds", None)
    if own is None:
        yield
        return
    own.told = embeds or {}
    try:
        yield
    finally:
        own.told = {}
