"""A few-step sampler that keeps its promises, and many that break one each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api import Backbone, UserError

Generators = Sequence[torch.Generator]


class Few:
    """Three calls, with each clip's fresh noise in between; keeps every promise."""

    nfe = 3

    def __call__(self, model: Backbone, noise: Tensor, cond: Tensor, generators: Generators) -> Tensor:
        x = noise
        for k in range(3):
            t = 1 - k / 3
            x0 = model.predict(x, torch.full((len(x),), t), cond, "x0")
            x = x0 if k == 2 else (1 - t) * x0 + t * self.fresh(x, generators)
        return self.last(x)

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        rows = [torch.randn(row.shape, generator=g) for row, g in zip(x, generators, strict=True)]
        return torch.stack(rows).to(x)

    def last(self, x: Tensor) -> Tensor:
        return x


class WrongCount(Few):
    """Says two, asks three times."""

    nfe = 2


class Global(Few):
    """Ignores its generators for torch's global one."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        return torch.randn_like(x)


class GlobalNumpy(Few):
    """Ignores its generators for numpy's global one."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        return torch.from_numpy(np.random.standard_normal(x.shape)).to(x)


class Own(Few):
    """Ignores its generators for one of its own, always seeded alike."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)


class OwnNumpy(Few):
    """The same with numpy."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        return torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape)).to(x)


class FirstOnly(Few):
    """One generator for the whole batch."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        return torch.randn(x.shape, generator=generators[0]).to(x)


class Thrown(Few):
    """Draws, and uses nothing of it."""

    def fresh(self, x: Tensor, generators: Generators) -> Tensor:
        super().fresh(x, generators)
        return torch.zeros_like(x)


class Centred(Few):
    """Takes the batch's mean out of every clip."""

    def last(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Swapped(Few):
    """Height and width exchanged."""

    def last(self, x: Tensor) -> Tensor:
        return x.transpose(3, 4)


class Infinite(Few):
    """Divides by nothing."""

    def last(self, x: Tensor) -> Tensor:
        return x / 0


class SecondFrame(Few):
    """Takes a second frame for granted."""

    def last(self, x: Tensor) -> Tensor:
        return x + 0 * x[:, :, 1].unsqueeze(2)


class Polite(Few):
    """Refuses one frame in a line."""

    def last(self, x: Tensor) -> Tensor:
        if x.shape[2] == 1:
            raise UserError("one frame has no motion", "raise clip.frames")
        return x


_seen: list[Tensor] = []


class Remembering(Few):
    """Adds something of the last call's clips."""

    def last(self, x: Tensor) -> Tensor:
        _seen.append(x)
        return x + 0.1 * len(_seen)


BROKEN: tuple[tuple[type[Any], str, str], ...] = (
    (WrongCount, "network evaluations", "says nfe = 2, but its network answers 3 times a clip"),
    (Global, "generators", "the sampler draws from (or seeds) the global generator of torch"),
    (GlobalNumpy, "generators", "the sampler draws from (or seeds) the global generator of numpy.random"),
    (Own, "generators", "the sampler ignores its generators and draws from one of its own (torch.randn)"),
    (OwnNumpy, "generators", "draws from one of its own (np.random.default_rng)"),
    (FirstOnly, "generators", "it draws from 1 of 3 generators; each clip has its own"),
    (Thrown, "generators", "it draws from its generators, but clip [0] is the same with another one"),
    (Remembering, "generators", "give other latents the second time"),
    (Centred, "batch mates", "when the others of its batch are replaced"),
    (Swapped, "clip spec", "the sampler returns latents [3, 3, 9, 6, 4] for noise [3, 3, 9, 4, 6]"),
    (Infinite, "clip spec", "the sampler returns values that are not finite"),
    (SecondFrame, "clip spec", "crashes on clips of one frame"),
)
