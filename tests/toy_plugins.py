"""Small plugins that exercise every seam of the crank in milliseconds. Loaded with `--plugin tests.toy_plugins`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api import (
    Backbone,
    Batch,
    Clip,
    ClipSpec,
    Dataset,
    Features,
    Method,
    Metric,
    Options,
    Row,
    Sampler,
    Score,
    Turn,
    register_backbone,
    register_dataset,
    register_method,
    register_metric,
)
from methods.supervised import SupervisedUniform
from tests.toys import ToyBackbone

register_backbone(ToyBackbone)


class ToyDataOptions(Options):
    size: int = 8
    first: int = 0
    scored: bool = True


@register_dataset
class Toys(Dataset):
    """Flat clips whose grey level is in the caption."""

    name = "toys"
    Config = ToyDataOptions

    def rows(self) -> Sequence[Row]:
        c: Any = self.config
        return [
            Row(
                f"toy-{i}",
                f"grey level {i}",
                f"level {i}",
                {"mq": i / 8, "vq": 1 - i / 9} if c.scored else {},
                {"level": i},
            )
            for i in range(c.first, c.first + c.size)
        ]

    def video(self, index: int) -> np.ndarray:
        shape = (self.spec.frames, self.spec.height, self.spec.width, 3)
        ramp = np.arange(self.spec.frames, dtype=np.uint8)[:, None, None, None]
        return np.full(shape, 20 * index % 200, np.uint8) + ramp

    def digest(self) -> str:
        return f"toys-{self.config.model_dump_json()}-{self.spec.model_dump_json()}"


@register_metric
class Brightness(Metric):
    """Mean of all pixels."""

    name = "toy/brightness"

    def score(self, clip: Clip, features: Features) -> Score:
        return Score(float(features.frames.mean()) / 255, {"red": float(features.frames[..., 0].mean())})


@register_metric
class Spread(Metric):
    """Standard deviation over the set of each clip's mean; state merges in any order."""

    name = "toy/spread"
    level = "set"
    range = (0.0, 255.0)

    def reset(self) -> None:
        self.values: list[float] = []

    def update(self, clip: Clip, features: Features) -> None:
        self.values.append(float(features.frames.mean()))

    def merge(self, other: Metric) -> None:
        assert isinstance(other, Spread)
        self.values = sorted(self.values + other.values)

    def compute(self) -> float:
        return float(np.std(sorted(self.values)))


@register_metric
class OutOfRange(Metric):
    """Breaks its own promise."""

    name = "toy/out-of-range"

    def score(self, clip: Clip, features: Features) -> float:
        return 1.5


@register_metric
class Picky(Metric):
    """Applies to no clip."""

    name = "toy/picky"

    def score(self, clip: Clip, features: Features) -> Score:
        return Score(None, note="never applies")


@register_metric
class Crashing(Metric):
    """Raises."""

    name = "toy/crashing"

    def score(self, clip: Clip, features: Features) -> float:
        raise RuntimeError("boom")


@register_method
class TwoRoles(SupervisedUniform):
    """Two roles on different turns, with state of its own: everything a checkpoint must carry."""

    name = "toy-two-roles"
    turns = (Turn("student", every=2, clip=1.0), Turn("critic", repeat=2))

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Any) -> None:
        super().__init__(config, roles, services)
        self.average = torch.zeros((), dtype=torch.float64)

    @classmethod
    def needs(cls, config: Any) -> Any:
        from dataclasses import replace

        return replace(super().needs(config), roles=("student", "critic"))

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        model = self.roles[role]
        eps = batch.noise.normal(batch.latent)
        t = batch.noise.uniform()
        x = model.schedule.add_noise(batch.latent, eps, t.to(eps).reshape(-1, 1, 1, 1, 1))
        loss = (model.predict(x, t, batch.cond, "native") - model.target(batch.latent, eps, t)).square().mean()
        return loss * (1 + self.average.to(loss)), {"average": float(self.average)}

    def after(self, role: str, step: int) -> None:
        self.average = 0.9 * self.average + 0.1 * step

    def state_dict(self) -> dict[str, Tensor]:
        return {"average": self.average}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.average = state["average"]


@register_method
class Exploding(SupervisedUniform):
    """Its loss is not a number."""

    name = "toy-exploding"

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        loss, logs = super().loss(role, batch, step)
        return loss * float("nan"), logs


class Constant:
    """A sampler that is no network: an external generator."""

    nfe = 0

    def __call__(self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        return torch.zeros_like(noise)


@register_method
class SamplerOnly(Method):
    """A participant that is nothing but a sampler."""

    name = "toy-sampler-only"
    turns = ()

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        raise TypeError("nothing is trained")

    def sampler(self) -> Sampler:
        return Constant()


def toy_suite(**changes: Any) -> dict[str, Any]:
    """A whole suite of toys as YAML-able data."""
    base = {
        "name": "toy",
        "backbone": {"name": "toy"},
        "clip": ClipSpec(frames=5, height=16, width=16, fps=8).model_dump(),
        "dataset": {"name": "toys", "size": 8},
        "train": {"steps": 6, "batch": 4, "snapshot_every": 2},
        "generate": {"steps": 3, "batch": 2, "guidance": 2.0, "shift": 1.0},
        "prompts": {"dataset": {"name": "toys", "first": 100, "size": 5}},
        "metrics": ["toy/brightness", "toy/spread"],
        "methods": {"base": {}, "supervised-logitnormal": {}, "toy-two-roles": {}},
        "seeds": [0],
    }
    return {**base, **changes}
