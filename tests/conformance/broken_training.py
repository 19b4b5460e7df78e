"""More broken methods: hidden randomness, side effects, clip and batch sizes, state that is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.api import Backbone, Batch, Needs, Sampler, Stage, register_part
from tests.conformance.breaking import breaker
from tests.conformance.broken_methods import Keeping, Logs, Plain
from tests.conformance.broken_samplers import Few

BROKEN, breaks = breaker()


# ---- randomness ------------------------------------------------------------------------------------------------


@breaks("global randomness", 'the loss of "student" draws from (or seeds) the global generator of torch')
class GlobalTorch(Plain):
    """Noise from torch's global generator."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch, torch.zeros_like(batch.latent)) * torch.rand(()), {}

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        return rng.integers(0, self.services.rows, size)


@breaks("global randomness", "draws from (or seeds) the global generator of numpy.random")
class GlobalNumpy(Plain):
    """A coin of numpy's."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * float(np.random.rand()), {}


@breaks("global randomness", "draws from (or seeds) the global generator of Python's random")
class GlobalPython(Plain):
    """A coin of Python's."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * random.random(), {}


@breaks("global randomness", "draw() draws from (or seeds) the global generator of numpy.random")
class DrawsGlobally(Plain):
    """Rows from numpy's global generator."""

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        return np.random.randint(0, self.services.rows, size)


@breaks("global randomness", "draws from (or seeds) the global generator of torch")
class Seeds(Plain):
    """Seeds the world, to be reproducible."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        torch.manual_seed(0)
        return self.error(role, batch, torch.randn(batch.latent.shape).to(batch.latent)), {}


@breaks("same seed, same loss", 'the loss of "student" or its gradient is another one')
class Unseeded(Plain):
    """A generator of its own that nobody seeded."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * float(np.random.default_rng().random()), {}


@breaks("same seed, same loss", 'the loss of "student" or its gradient is another one')
class Clock(Plain):
    """The time of day; its whole seconds would hide the rest in float32."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * (1 + time.perf_counter() % 1), {}


@breaks("same seed, same loss", "nothing may be kept outside the method")
class ClassState(Plain):
    """A counter on the class: every row of a process shares it."""

    calls: ClassVar[int] = 0

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        type(self).calls += 1
        return self.error(role, batch) * self.calls, {}


@register_part("stage", "broken-stage")
class GlobalStage(Stage):
    """Noise from torch's global generator."""

    def compute(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"eps": torch.randn(batch.latent.shape)}


@breaks("stages", 'the stage "broken-stage" draws from (or seeds) the global generator of torch')
class Staged(Plain):
    """An offline stage with hidden randomness."""

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher"), stages=({"name": "broken-stage"},))


@breaks("same seed, same loss", "draw() names row 6 of 6")
class BeyondTheData(Plain):
    """One row too far."""

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        return np.full(size, self.services.rows)


# ---- inputs, sizes ---------------------------------------------------------------------------------------------


@breaks("inputs untouched", 'the loss of "student" changes batch.latent in place')
class InPlace(Plain):
    """Scales the batch where it stands."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        batch.latent.mul_(2)
        return self.error(role, batch), {}


@breaks("inputs untouched", 'the loss of "student" changes weights of "teacher"')
class MovesTeacher(Plain):
    """Updates the teacher inside the loss."""

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        return base.clone(trainable)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        loss = self.error(role, batch)
        with torch.no_grad():
            for parameter in self.roles["teacher"].net.parameters():
                parameter.mul_(0.99)
        return loss, {}


@breaks("inputs untouched", 'after("student") changes the shared backbone')
class MovesBackbone(Plain):
    """An average of weights kept in the shared backbone."""

    def after(self, role: str, step: int) -> None:
        with torch.no_grad():
            for mine, theirs in zip(
                self.roles["teacher"].net.parameters(), self.roles["student"].net.parameters(), strict=True
            ):
                mine.mul_(0.9).add_(theirs, alpha=0.1).add_(1e-3)


@breaks("inputs untouched", 'build() hands out the shared backbone itself as the trained role "student"')
class TrainsBackbone(Plain):
    """No copy: training would change what every other row starts from."""

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        base.net.requires_grad_(True)
        return base if role == "student" else base.clone(False)


@breaks("batch sizes", "with 1 clip in the batch the loss of")
class Spread(Plain):
    """A deviation over the batch: NaN for one clip."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * (1 + batch.latent.mean((1, 2, 3, 4)).std()), {}


@breaks("one frame", "crashes on clips of one frame: IndexError")
class TwoFrames(Plain):
    """Takes a second frame for granted."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) + batch.latent[:, :, 1].mean(), {}


# ---- state -----------------------------------------------------------------------------------------------------


@breaks("resume", "what it forgot: self.calls")
class LostNumber(Keeping):
    """Counts its updates in an attribute that no snapshot holds."""

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean = state["mean"]


@breaks("resume", "what it forgot: self.mean")
class LostMeasurement(Keeping):
    """What begin() measured is gone after a resume."""

    def state_dict(self) -> dict[str, Tensor]:
        return {"calls": torch.tensor(self.calls)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.calls = int(state["calls"])


@breaks("resume", "what it forgot: self.rng")
class LostGenerator(Plain):
    """A generator of its own that goes on from step to step."""

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Any) -> None:
        super().__init__(config, roles, services)
        self.rng = np.random.default_rng(0)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * float(self.rng.random()), {}


@breaks("resume", "it ends with other weights of student")
class LostNetwork(Plain):
    """A moving target whose weights are in no snapshot."""

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        return base.clone(trainable)

    def after(self, role: str, step: int) -> None:
        with torch.no_grad():
            for parameter in self.roles["teacher"].net.parameters():
                parameter.add_(0.01)


@breaks("state round trip", 'state_dict()["calls"] is of int')
class PlainNumbers(Keeping):
    """A number in the state."""

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "calls": self.calls}  # type: ignore[dict-item]


@breaks("state round trip", 'state_dict()["mean"] does not come back bit for bit')
class Rounding(Keeping):
    """Half precision on the way back."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.calls = state["mean"].half().double(), int(state["calls"])


@breaks("state round trip", "does not come back bit for bit")
class ForgetsToLoad(Keeping):
    """Saves, and never loads."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        pass


@breaks("generation", "the sampler uses state that is in no network")
class SamplerState(Keeping):
    """The sampler shifts clips by what training has measured."""

    def sampler(self) -> Sampler:
        shift = float(self.calls)

        class Shifted(Few):
            """Few, moved."""

            def last(self, x: Tensor) -> Tensor:
                return x + shift

        return Shifted()


@breaks("training", "KeyError: 'no such column'")
class BrokenPicture(Plain):
    """Fails when the training is over and its pictures are drawn."""

    def diagnostics(self, log: Sequence[Mapping[str, Any]], batch: Batch) -> Mapping[str, Any]:
        return {"a picture": log[0]["no such column"]}
