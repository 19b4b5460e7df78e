"""The two kinds of part a distribution matching trainer is composed of. Write one and name it in a suite.

| kind            | derive from    | answer                                                                     |
|-----------------|----------------|----------------------------------------------------------------------------|
| `gradient_term` | `GradientTerm` | `__call__(match) -> loss` and its gradient, from the scores DMD compares   |
| `extra_loss`    | `ExtraLoss`    | `__call__(turn) -> (loss or None, logs)`, from the student, x and the data |

The DMD gradient itself is always there; a row's `gradient_terms` and `extra_losses` are added to it. Both are lists of
`{name: ..., **options}`, or mappings `{name: options}`, which merge over a preset's; null takes a part out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.api import Backbone, Batch, Options
from methods.supervised.parts import ElementWeight, part_spec

Logs = dict[str, Tensor | float]


@dataclass(frozen=True)
class Made:
    """What the student made, whatever it is compared with."""

    x: Tensor  # the student's clean latents [B, C, F, H, W]


@dataclass(frozen=True)
class Match(Made):
    """What a student's turn of distribution matching compares. All but `x` are without gradient."""

    real: Tensor  # the teacher's, guided, from x noised to t
    fake: Tensor  # the fake score's, from the same
    n: Tensor  # DMD's normaliser, [B, 1, 1, 1, 1]
    g: Tensor  # DMD's gradient (fake - real) / n
    t: Tensor  # [B] float64, where the scores were compared


@dataclass(frozen=True)
class Question:
    """Noisy latents that the student is asked about; extra ones ride along in the call that answers its own."""

    x: Tensor  # [B, C, F, H, W]
    t: Tensor  # [B] float64
    cond: Tensor  # [B, L, D]


@dataclass(frozen=True)
class StudentTurn:
    """What an extra loss may use."""

    batch: Batch
    match: Made  # a `Match` in distribution matching
    gradient: Tensor  # of the loss so far in x, times numel(x): L_KL with its terms, or the distillation loss
    answer: Tensor | None = None  # the student's native prediction, gradient on, to what this loss asked


@dataclass(frozen=True)
class Setting:
    """What an extra loss is built into."""

    student: Backbone
    teacher: Backbone | None  # None while clips are generated
    times: Tensor  # the student's list, [K] float64
    guidance: float  # the teacher's scale, of uncond + s (cond - uncond)
    places: Callable[[Batch], Tensor]  # positions [B] int64 in `times` that real clips are noised to; draws u
    weight: ElementWeight | None = None  # of a squared error on real clips


class GradientTerm(ABC):
    """A further gradient in x made from the two scores."""

    Config: ClassVar[type[Options]] = Options

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __call__(self, match: Match) -> tuple[Tensor, Tensor]:
        """(loss 0-d, its gradient in x times numel(x), `[B, C, F, H, W]`, for the logs), weight included."""

    def added_gain(self, frames: int) -> Sequence[float] | None:
        """How many times DMD's own gradient the term adds at each temporal frequency, `[F]`; None where that varies."""
        return None


class ExtraLoss(ABC):
    """A further loss of the student's turn. Randomness only from `turn.batch.noise`.

    Its Config may say what it needs and honours: `reads`, fields of the batch beyond prompts, such as ("latent",);
    `takes`, those of "time_law" and "element_weight" it obeys (`Setting.places`, `Setting.weight`); `caps` of the
    backbone; `rewards`, specs of parts.
    """

    Config: ClassVar[type[Options]] = Options

    def __init__(self, config: Any, setting: Setting) -> None:
        self.config, self.setting = config, setting

    def begin(self, batch: Batch) -> None:
        """Called once before step 0; what it measures belongs in `state_dict`."""

    def ask(self, batch: Batch) -> Question | None:
        """What the student should answer for this loss, if anything; draws any noise of the turn."""
        return None

    @abstractmethod
    def __call__(self, turn: StudentTurn) -> tuple[Tensor | None, Logs]:
        """(loss 0-d, weight included, or None where it does not apply; numbers to log)."""

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""


def named_options(value: Any, kind: str) -> list[dict[str, Any]]:
    """`[{name, **options}]` from a list of names or specs, or from a mapping name to options; null takes one out.

    Raises ValueError (a pydantic validator's language).
    """
    if isinstance(value, Mapping):
        items = [(name, options) for name, options in value.items() if options is not None]
        if any(not isinstance(options, Mapping) for _, options in items):
            raise ValueError(f"a mapping of {kind}s is name to options, {{}} for none")
        return [{"name": name, **options} for name, options in items]
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of {kind}s, each a name or a mapping with a name and options")
    return [{"name": item} if isinstance(item, str) else item for item in value]


def part_specs(kind: str, value: Any) -> tuple[dict[str, Any], ...]:
    """`named_options` with every option filled in; ValueError for an unknown or repeated part."""
    specs = tuple(part_spec(kind, item) for item in named_options(value, kind))
    names = [spec["name"] for spec in specs]
    if len(set(names)) < len(names):
        raise ValueError(f"a {kind} is listed twice: {', '.join(names)}")
    return specs


def floats(logs: Logs) -> dict[str, float]:
    """Numbers to log, brought over from the device in one transfer."""
    tensors = {name: value.detach() for name, value in logs.items() if isinstance(value, Tensor)}
    if not tensors:
        return {name: float(value) for name, value in logs.items()}
    device = next(iter(tensors.values())).device
    values = torch.stack([value.to(device, torch.float64) for value in tensors.values()]).tolist()
    found = dict(zip(tensors, values, strict=True))
    return {name: found.get(name, value) for name, value in logs.items()}
