"""A method that keeps its promises, and many that break one each: (class, the check that must fail, its words)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.api import Backbone, Batch, Method, Needs, Sampler, Turn, UserError, make_part
from tests.conformance.breaking import breaker
from tests.conformance.broken_samplers import Few

Logs = dict[str, float]
BROKEN, breaks = breaker()


class Plain(Method):
    """Denoises with a frozen teacher's help; keeps every promise."""

    name: ClassVar[str] = "plain"

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher"))

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch), {}

    def error(self, role: str, batch: Batch, eps: Tensor | None = None) -> Tensor:
        """Squared error of the role's native answer, with a pull towards the teacher's."""
        model = self.roles[role]
        eps = batch.noise.normal(batch.latent) if eps is None else eps
        t = 0.1 + 0.8 * batch.noise.uniform()
        x = model.schedule.add_noise(batch.latent, eps, t.to(batch.latent).reshape(-1, 1, 1, 1, 1))
        answer = model.predict(x, t, batch.cond, "native")
        with torch.no_grad():
            other = self.roles["teacher"].predict(x, t, batch.cond, "native")
        return (answer - model.target(batch.latent, eps, t)).square().mean() + 0.1 * (answer - other).square().mean()

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int | None:
        return 3

    def sampler(self) -> Sampler:
        return Few()


class Two(Plain):
    """A critic beside the student."""

    turns = (Turn("student", every=2), Turn("critic"))

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher", "critic"))


class Keeping(Two):
    """State in a tensor, a number and a target network, all in state_dict: keeps every promise."""

    name = "plain-keeping"

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Any) -> None:
        super().__init__(config, roles, services)
        self.mean, self.calls = torch.zeros(2, dtype=torch.float64), 0

    def begin(self, batch: Batch) -> None:
        self.mean = batch.latent.double().mean().repeat(2)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * (1 + self.calls + self.mean.abs().sum().to(batch.latent)), {}

    def after(self, role: str, step: int) -> None:
        self.calls += 1

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "calls": torch.tensor(self.calls)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.calls = state["mean"], int(state["calls"])


class Refusing(Plain):
    """Refuses clips of one frame, politely."""

    name = "plain-refusing"

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        if batch.latent.shape[2] == 1:
            raise UserError("one frame has no motion", "raise clip.frames")
        return super().loss(role, batch, step)


KEEPING: tuple[type[Method], ...] = (Plain, Keeping, Refusing)


# ---- declarations and needs ------------------------------------------------------------------------------------


@breaks("declaration", 'turns train the role "critic", which needs() does not list')
class UnknownTurn(Plain):
    """A turn of a role that is not there."""

    turns = (Turn("student"), Turn("critic"))


@breaks("declaration", "needs().fields names ['flow']")
class UnknownField(Plain):
    """A field no batch has."""

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher"), fields=("latent", "prompt", "flow"))


@breaks("declaration", "it has no docstring")
class Silent(Plain):
    pass


@breaks("needs", 'reads batch.scores column "mq", which needs().scores does not list')
class ReadsColumn(Plain):
    """A score column that is not declared."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * batch.scores["mq"].mean(), {}


@breaks("needs", 'reads batch.scores column "mq"')
class ProbesColumn(Plain):
    """The same behind `get`, as if it were harmless."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        column = batch.scores.get("mq")
        return self.error(role, batch) * (1 if column is None else column.mean()), {}


@breaks("needs", 'reads batch.scores column "undeclared"')
class ReadsEveryColumn(Plain):
    """Whatever columns the data has."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * sum(column.mean() for column in batch.scores.values()), {}


@breaks("needs", 'reads services.scores column "vq"')
class ReadsWholeColumn(Plain):
    """A whole column, to draw rows with, with the error swallowed."""

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        try:
            best = int(np.argmax(self.services.scores["vq"]))
        except KeyError:
            best = 0
        return np.full(size, best)


@breaks("needs", 'uses the role "critic", which needs() does not list')
class UsesRole(Plain):
    """A role that is not declared."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) + self.error("critic", batch), {}


@breaks("needs", 'reads batch.extras["motion"], which no stage')
class ReadsExtra(Plain):
    """An artefact without its stage."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * batch.extras["motion"].mean(), {}


@breaks("needs", 'decodes with gradient without the cap "decode_grad"')
class Decodes(Plain):
    """Gradient through the codec."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        x0 = self.roles[role].predict(batch.latent, batch.noise.uniform(), batch.cond, "x0")
        return self.error(role, batch) + self.roles[role].decode(x0).mean(), {}


@breaks("needs", 'clones with the embedding "guidance" without the cap "guidance_embed"')
class Embeds(Plain):
    """A student that is told its guidance scale."""

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        return base.clone(trainable, embeds=("guidance",)) if trainable else base


@breaks("needs", 'calls temporal_attention() without the cap "temporal_attention"')
class Attends(Plain):
    """Attention over frames."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        self.roles["teacher"].temporal_attention(batch.latent, batch.noise.uniform(), batch.cond)
        return self.error(role, batch), {}


@breaks("needs", 'builds the reward "shapes-reader", which needs().rewards does not list')
class Rewarded(Plain):
    """A reward behind the plan's back."""

    def __init__(self, config: Any, roles: Mapping[str, Backbone], services: Any) -> None:
        super().__init__(config, roles, services)
        self.reward = make_part("reward", {"name": "shapes-reader"}, torch.device("cpu"))


@breaks("needs", 'the loss of "student" depends on batch.short_prompt')
class ReadsShort(Plain):
    """Short captions that are not declared."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * (1 + len("".join(batch.short_prompt))), {}


@breaks("needs", 'the loss of "student" depends on batch.latent')
class ReadsLatent(Plain):
    """Says it needs captions alone."""

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("student", "teacher"), fields=("prompt",))


# ---- the loss --------------------------------------------------------------------------------------------------


@breaks("loss", 'the loss of "student" is nan, not finite')
class NotANumber(Plain):
    """NaN from the first step."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) * float("nan"), {}


@breaks("loss", "is not a 0-d tensor: shape [3]")
class PerClip(Plain):
    """A loss for every clip."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch).repeat(len(batch.index)), {}


@breaks("loss", 'logs "size" as Tensor')
class LogsTensor(Plain):
    """A tensor among the numbers."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        loss = self.error(role, batch)
        return loss, {"size": loss.detach()}  # type: ignore[dict-item]


@breaks("loss", 'logs "step", a column that the loop writes itself')
class LogsStep(Plain):
    """Overwrites the loop's step."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch), {"step": 0.0}


@breaks("gradient", 'the loss of "critic" gives gradient to "student" (8 of 8 tensors) and no gradient to "critic"')
class WrongRole(Two):
    """The critic's loss is computed with the student."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error("student", batch), {}


@breaks("gradient", 'the loss of "student" gives gradient to "teacher" (8 of 8 tensors)')
class IntoTeacher(Plain):
    """The teacher is a trainable copy, and nothing stops the gradient."""

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        return base.clone(trainable=True)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        t = batch.noise.uniform()
        goal = self.roles["teacher"].predict(batch.latent, t, batch.cond, "x0")
        return (self.roles[role].predict(batch.latent, t, batch.cond, "x0") - goal - 1).square().mean(), {}


@breaks("gradient", 'the loss of "student" gives gradient to "critic"')
class Leaks(Two):
    """The student's loss does not detach the critic."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) + (self.error("critic", batch) if role == "student" else 0), {}


@breaks("gradient", 'the loss of "student" gives no gradient to "student" itself')
class Detached(Plain):
    """A loss that no weight can change."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch).detach().requires_grad_(True), {}


@breaks("gradient", "is finite, but its gradient to")
class RootOfZero(Plain):
    """sqrt at 0: the loss is fine, its gradient is not."""

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, Logs]:
        return self.error(role, batch) + (self.error(role, batch) * 0).sqrt(), {}
