"""A toy that attends over frames, a reward of brightness, and a consistency method on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.api import Batch, Method, Noise, derive_seed, register_part
from harness.registry import make_part, methods
from methods.rewards.base import Reward
from tests.methods.common import batch, options, services
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")
SMALL = {"solver_steps": 20}
REWARDS = [{"name": "toy-brightness"}, {"name": "toy-warmth", "weight": 2.0}]


class AttendingToy(ToyBackbone):
    """Temporal attention from the features before the toy's nonlinearity: half of them queries, half keys."""

    @classmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        return super().capabilities(config) | {"temporal_attention"}

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        net: Any = self.net
        known = net.time(torch.stack([t, t.square()], 1)) + net.prompt(cond.flatten(1))
        features = net.into(x) + known[:, :, None, None, None]
        query, key = features.permute(0, 3, 4, 2, 1).flatten(1, 2).chunk(2, -1)  # [B, P, F, hidden / 2]
        return {name: (query @ (scale * key).mT).softmax(-1) for name, scale in (("up.0", 1.0), ("up.1", 2.0))}


@register_part("reward", "toy-brightness")
class Brightness(Reward):
    kind, frames = "image_text", 1

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        assert len(prompts) == len(video)
        assert all(prompts)
        return video.mean((1, 2, 3, 4))


@register_part("reward", "toy-warmth")
class Warmth(Reward):
    """Red minus blue; not a number for a clip whose prompt says so."""

    kind, frames = "video_text", 4

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        assert video.shape[2] == self.frames
        broken = torch.tensor([float("nan") if "broken" in prompt else 0.0 for prompt in prompts])
        return (video[:, 0] - video[:, 2]).mean((1, 2, 3)) + broken


def toy(family: Any = "flow", hidden: int = 8) -> AttendingToy:
    backbone = AttendingToy(ToyOptions(family=family, hidden=hidden, pool=1), CPU)
    backbone.net.requires_grad_(False)
    return backbone


def distiller(name: str, base: AttendingToy | None = None, **settings: Any) -> Any:
    """The method on roles built from `base` as the training loop builds them."""
    base, cls = base or toy(), methods.get(name)
    config = options(name, **{**SMALL, **settings})
    trained = {turn.role for turn in cls.turns_for(config)}
    roles = {role: cls.build(config, role, base, role in trained) for role in cls.needs(config).roles}
    return cls(config, roles, services())


def rows_of(method: Method, size: int = 6, seed: int = 0, short: str = "a clip", frames: int = 4) -> Batch:
    """A batch of `size` clips, the same for every method, with what its stages compute of each clip."""
    base: Any = method.roles["teacher"]
    latent = torch.randn(size, 3, frames, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = batch([row % 6 for row in range(size)], latent=latent, seed=seed, student=base)
    data.short_prompt = [short] * size
    extras: dict[str, Tensor] = {}
    for spec in method.needs(method.config).stages:
        stage = make_part("stage", spec, base, method.services)
        extras.update(stage.compute(part(data, 0, size, "stage")))
    data.extras = extras
    return data


def part(data: Batch, first: int, last: int, *name: object) -> Batch:
    """Rows first .. last of a batch, with noise drawn for all of it: what a micro-batch is."""
    noise = Noise(derive_seed(*name), rows=(first, last, len(data.index)))
    rows = slice(first, last)
    extras: Mapping[str, Tensor] = {key: value[rows] for key, value in data.extras.items()}
    scores = {key: value[rows] for key, value in data.scores.items()}
    texts = data.prompt[rows], data.short_prompt[rows]
    return Batch(data.index[rows], data.latent[rows], data.cond[rows], texts[0], scores, noise, texts[1], extras)
