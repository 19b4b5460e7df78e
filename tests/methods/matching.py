"""What the tests of the distribution matching family start from: three toy roles and a loop of turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import methods.avd
import methods.dmd
import methods.msm  # noqa: F401  all three register their names
from harness.api import Batch, Noise, Services
from harness.registry import methods as registered
from tests.methods.common import options
from tests.toys import ToyBackbone, ToyOptions

NAMES = ("dmd", "msm", "dmd+tr", "dmd+tr+reg", "avd")
ROWS = 6
CPU = torch.device("cpu")


def roles(family: Any = "flow") -> dict[str, ToyBackbone]:
    """Student and fake score as copies of a frozen teacher."""
    teacher = ToyBackbone(ToyOptions(family=family), CPU)
    teacher.net.requires_grad_(False).eval()
    return {"student": teacher.clone(True), "teacher": teacher, "fake": teacher.clone(True)}


def matching(name: str, family: Any = "flow", given: dict[str, ToyBackbone] | None = None, **settings: Any) -> Any:
    """A method of the family on three toy roles."""
    cls = registered.get(name)
    return cls(options(name, **settings), given or roles(family), Services({}, rows=ROWS))


def clips(
    role: str = "student", step: int = 0, size: int = 3, frames: int = 4, rows: tuple[int, int] | None = None
) -> Batch:
    """A batch of random float64 latents `[size, 3, frames, 2, 2]`, or its slice `rows`, with the loop's noise."""
    first, last = rows or (0, size)
    index = torch.arange(size)[first:last]
    source = torch.Generator().manual_seed(step)
    latent = torch.randn(size, 3, frames, 2, 2, generator=source, dtype=torch.float64)[first:last]
    prompts = [f"a clip of number {int(row)}" for row in index]
    cond = ToyBackbone(ToyOptions(), CPU).encode_text(prompts)
    noise = Noise(0, "train", role, step, 0, rows=(first, last, size))
    return Batch(index, latent, cond, prompts, {}, noise)


def train(method: Any, steps: int, start: int = 0, lr: float = 1e-3, frames: int = 4) -> list[dict[str, Any]]:
    """The harness's loop in miniature: the turns of every step, each with its own optimiser; returns the log rows."""
    turns = type(method).turns_for(method.config)
    if not hasattr(method, "optimizers"):
        method.optimizers = {
            turn.role: torch.optim.AdamW(method.roles[turn.role].net.parameters(), lr * turn.rate, weight_decay=0.1)
            for turn in turns
        }
    log = []
    if start == 0:
        method.begin(clips("probe", frames=frames))
    for step in range(start, start + steps):
        for turn in turns:
            if step % turn.every == 0:
                optimizer = method.optimizers[turn.role]
                optimizer.zero_grad(set_to_none=True)
                loss, logs = method.loss(turn.role, clips(turn.role, step, frames=frames), step)
                loss.backward()
                optimizer.step()
                log.append({"step": step, "role": turn.role, "loss": loss.item(), **logs})
    return log


def weights(role: Any) -> list[torch.Tensor]:
    """A snapshot of a role's parameters."""
    return [parameter.detach().clone() for parameter in role.net.parameters()]


def same(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    """Bit-identical."""
    return all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def frames(*values: float) -> torch.Tensor:
    """One clip of scalar frames, `[1, 1, F, 1, 1]` float64."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1, 1, 1)


def close(found: Any, wanted: Any, tolerance: float = 1e-8) -> bool:
    """Equal within an absolute tolerance, shapes flattened."""
    return bool(np.allclose(np.asarray(found).ravel(), np.asarray(wanted).ravel(), rtol=0, atol=tolerance))
