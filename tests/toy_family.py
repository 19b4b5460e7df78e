"""Toys for what the distillation family asks of the crank. Loaded with `--plugin tests.toy_family`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import Backbone, Batch, Method, Needs, Options, Sampler, Stage, Turn, register_method, register_part
from methods.supervised import MultistepCFG, SupervisedUniform

CALLS: list[tuple[str, int]] = []  # (what, rows), so that tests can count


class BrightOptions(Options):
    gain: float = 2.0


@register_part("stage", "toy-bright")
class Bright(Stage):
    """gain x mean latent and a draw of noise per clip; asks the network once, so that its evaluations are counted."""

    Config = BrightOptions
    group = 3

    def compute(self, batch: Batch) -> Mapping[str, Tensor]:
        CALLS.append(("stage", len(batch.index)))
        with torch.no_grad():
            self.base.predict(batch.latent, torch.full((len(batch.index),), 0.5), batch.cond, "x0")
        mean = self.config.gain * batch.latent.mean((1, 2, 3, 4))
        return {"bright": mean, "eps": batch.noise.normal(batch.latent), "row": batch.index}


class StagedOptions(Options):
    every: int = 2
    gain: float = 2.0


@register_method
class Staged(Method):
    """A frozen teacher, a student at half the rate, an offline stage, something measured before step 0."""

    name = "toy-staged"
    Config = StagedOptions

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Any) -> None:
        super().__init__(config, roles, services)
        self.probed = torch.zeros((), dtype=torch.float64)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher"), stages=({"name": "toy-bright", "gain": config.gain},))

    @classmethod
    def turns_for(cls, config: Any) -> Sequence[Turn]:
        return (Turn("student", every=config.every, rate=0.5),)

    def begin(self, batch: Batch) -> None:
        CALLS.append(("begin", len(batch.index)))
        self.probed = batch.extras["bright"].double().mean()

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        assert torch.equal(batch.extras["row"], batch.index)
        assert batch.short_prompt == [f"level {int(row)}" for row in batch.index]
        t = batch.noise.uniform()
        x = self.roles["student"].schedule.add_noise(
            batch.latent, batch.extras["eps"].to(batch.latent), t.to(batch.latent).reshape(-1, 1, 1, 1, 1)
        )
        with torch.no_grad():
            goal = self.roles["teacher"].predict(x, t, batch.cond, "x0")
        error = self.roles["student"].predict(x, t, batch.cond, "x0") - goal - self.probed.to(goal)
        return error.square().mean(), {"probed": float(self.probed)}

    def state_dict(self) -> dict[str, Tensor]:
        return {"probed": self.probed}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.probed = state["probed"]

    def sampler(self) -> Sampler:
        return MultistepCFG(2, 1.0, 1.0)


class Gain:
    """A role that is no denoiser."""

    def __init__(self) -> None:
        self.net = nn.Linear(1, 1).double()


@register_method
class Side(SupervisedUniform):
    """Trains something beside the backbone."""

    name = "toy-side"
    turns = (Turn("gain"),)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("gain",))

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Gain:
        return Gain()

    def __init__(self, config: Any, roles: Mapping[str, Any], services: Any) -> None:
        Method.__init__(self, config, roles, services)
        self.retention = None  # type: ignore[assignment]

    def draw(self, rng: Any, size: int) -> Any:
        return rng.integers(0, self.services.rows, size)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        return self.roles["gain"].net(batch.latent.mean((1, 2, 3, 4))[:, None].double()).square().mean(), {}


class BuiltOptions(Options):
    student: str = "toy-staged"
    gain: str = "toy-side"


@register_method
class Built(Method):
    """Samples with what two other rows trained."""

    name = "toy-built"
    Config = BuiltOptions
    turns = ()

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(fields=(), checkpoints={"student": config.student, "gain": config.gain})

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        raise TypeError("nothing is trained")

    def sampler(self) -> Sampler:
        assert float(self.roles["gain"].net.weight) != 0
        return MultistepCFG(2, 1.0, 1.0)
