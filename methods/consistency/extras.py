"""Extra losses on a consistency student: the parts written for distribution matching, on its clean latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.api import Backbone, Batch, make_part
from methods.consistency.grid import SolverGrid
from methods.dmd.parts import ExtraLoss, Made, Question, Setting, StudentTurn, floats
from methods.dmd.rollout import Places
from methods.supervised import Guests

Told = Callable[[Tensor], Mapping[str, Tensor]]  # times [B] to the scalars the student is told there


class Extras:
    """The added losses of a row, none by default.

    A loss that asks is answered by the student at its sampling times, told what it is told in sampling.
    """

    def __init__(
        self, config: Any, student: Backbone, teacher: Backbone | None, grid: SolverGrid, guests: Guests
    ) -> None:
        times = torch.tensor(grid.sampling(config.sample_steps), dtype=torch.float64)
        places = Places(times, guests.time_law)
        setting = Setting(student, teacher, times, 1 + config.w, places, guests.element_weight)
        specs = config.extra_losses or ()
        self.student = student
        self.parts: dict[str, ExtraLoss] = {spec["name"]: make_part("extra_loss", spec, setting) for spec in specs}

    def begin(self, batch: Batch) -> None:
        for part in self.parts.values():
            part.begin(batch)

    def __call__(self, loss: Tensor, x: Tensor, batch: Batch, told: Told) -> tuple[Tensor, dict[str, float]]:
        """The distillation loss of x `[B, C, F, H, W]` with the added ones, and numbers to log."""
        if not self.parts:
            return loss, {}
        gradient = torch.autograd.grad(loss, x, retain_graph=True)[0] * x.numel()
        logs: dict[str, Tensor | float] = {}
        for part in self.parts.values():
            question = part.ask(batch)
            answer = None if question is None else self.answer(question, told)
            added, numbers = part(StudentTurn(batch, Made(x), gradient, answer))
            loss = loss if added is None else loss + added.to(loss)
            logs |= numbers
        return loss, floats(logs)

    def answer(self, question: Question, told: Told) -> Tensor:
        """The student's native prediction `[B, C, F, H, W]`, gradient on."""
        t = question.t.to(question.x.device)
        return self.student.predict(question.x, t, question.cond, "native", embeds=told(t))

    def state_dict(self) -> dict[str, Tensor]:
        return {f"extra/{name}/{k}": v for name, part in self.parts.items() for k, v in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, part in self.parts.items():
            prefix = f"extra/{name}/"
            part.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
