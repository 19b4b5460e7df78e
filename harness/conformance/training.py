"""Questions about a method's loss: numbers, gradients, randomness, side effects, sizes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.api import Batch
from harness.conformance.bench import BATCH, CLIPS, SINGLE, Bench, Trial
from harness.conformance.randomness import scramble, undrawn
from harness.conformance.report import ONE_FRAME, Fault, NotApplicable, Question, demand, works_or_refuses

if TYPE_CHECKING:
    from torch import Tensor

RESERVED = {"step", "role", "evals", "gnorm", "skipped"}  # columns that the loop writes beside a loss's numbers
LATE = 1000  # steps after which a warm-up must be over


def trains(bench: Bench) -> None:
    """NotApplicable for a method that trains nothing."""
    if not bench.turns:
        raise NotApplicable("it trains nothing")


# ---- the loss --------------------------------------------------------------------------------------------------


def finite_loss(bench: Bench) -> str:
    trains(bench)
    said = []
    for turn in bench.turns:
        trial = started(bench)
        for step in (0, turn.every):
            loss, logs = trial.method.loss(turn.role, bench.batch(turn.role, step=step), step)
            _well_formed(turn.role, loss, logs)
        said.append(f"{turn.role} {loss.item():.4g}")
    return ", ".join(said)


def started(bench: Bench, **options: Any) -> Trial:
    """A trial after `begin`."""
    trial = bench.trial(**options)
    where = {key: value for key, value in options.items() if key in {"spec", "device"}}
    trial.method.begin(bench.batch("probe", **where))
    return trial


def _well_formed(role: str, loss: Tensor, logs: Mapping[str, float]) -> None:
    import torch

    what = f'the loss of "{role}"'
    demand(isinstance(loss, torch.Tensor) and loss.ndim == 0, f"{what} is not a 0-d tensor: {_shape(loss)}")
    demand(bool(torch.isfinite(loss)), f"{what} is {loss.item()}, not finite")
    demand(isinstance(logs, Mapping), f"{what} comes with {type(logs).__name__} to log, not a mapping of numbers")
    for name, value in logs.items():
        number = isinstance(value, numbers.Real)
        demand(number, f'{what} logs "{name}" as {type(value).__name__}; numbers are logged: use .item()')
        demand(math.isfinite(value), f'{what} logs "{name}" = {value}; leave it out where it is not finite')
        demand(name not in RESERVED, f'{what} logs "{name}", a column that the loop writes itself; rename it')


def _shape(value: Any) -> str:
    return f"shape {list(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def gradients(bench: Bench) -> str:
    """Which roles a role's loss gives gradient to: itself alone."""
    trains(bench)
    said = []
    for turn in bench.turns:
        reached = _reached(bench, turn.role, 0)
        later = "" if turn.role in reached else f" (from a later step on, not at step {turn.every})"
        if turn.role not in reached:
            reached = {**reached, **_reached(bench, turn.role, LATE * turn.every)}
        others = sorted(set(reached) - {turn.role})
        missing = f'no gradient to "{turn.role}" itself' if turn.role not in reached else ""
        extra = f"gradient to {', '.join(f'{q(role)} ({reached[role]})' for role in others)}" if others else ""
        if missing or extra:
            raise Fault(f'the loss of "{turn.role}" gives {" and ".join(filter(None, (extra, missing)))}')
        said.append(f"{turn.role}: {reached[turn.role]}{later}")
    return "; ".join(said)


def q(text: str) -> str:
    return f'"{text}"'


def _reached(bench: Bench, role: str, step: int) -> dict[str, str]:
    """Role to how many of its tensors have a gradient that is not 0, for all roles and the shared backbone."""
    import torch

    trial = started(bench)
    loss, _ = trial.method.loss(role, bench.batch(role, step=step), step)
    if not loss.requires_grad:
        return {}
    loss.backward()
    out, networks = {}, {**trial.roles, "the shared backbone": trial.base}
    for name, network in networks.items():
        parameters = list(network.net.parameters())
        touched = [p.grad for p in parameters if p.grad is not None]
        demand(
            all(bool(torch.isfinite(grad).all()) for grad in touched),
            f'the loss of "{role}" is finite, but its gradient to "{name}" is not',
        )
        reached = sum(bool(grad.any()) for grad in touched)
        for parameter in parameters:
            parameter.grad = None
        if reached and not (name == "the shared backbone" and any(r.net is network.net for r in trial.roles.values())):
            out[name] = f"{reached} of {len(parameters)} tensors"
    return out


def deterministic(bench: Bench) -> str:
    trains(bench)
    for role in bench.trained:
        found = []
        for seed in (1, 2):
            found.append(fingerprint(bench, bench.batch(role), role, seed))
        demand(
            found[0] == found[1],
            f'the loss of "{role}" or its gradient is another one when it is computed again from the same batch and '
            "noise, with Python's, numpy's and torch's global generators in another state; batch.noise is the only "
            "randomness a loss may use, and nothing may be kept outside the method",
        )
        first, second = (bench.trial().method.draw(np.random.default_rng(4), BATCH) for _ in range(2))
        _rows(first)
        demand(np.array_equal(first, second), "draw() gives other rows for the same rng, the only one it may use")
    return f"twice the same for {', '.join(bench.trained)}, bit for bit, whatever the global generators"


def _rows(index: Any) -> None:
    index = np.asarray(index)
    right = index.shape == (BATCH,) and np.issubdtype(index.dtype, np.integer)
    demand(right, f"draw() returns {index.dtype} {list(index.shape)}; expected {BATCH} whole numbers")
    demand(
        bool(((index >= 0) & (index < CLIPS)).all()), f"draw() names row {index.max()} of {CLIPS}; see services.rows"
    )


def fingerprint(bench: Bench, batch: Batch, role: str, seed: int) -> bytes:
    """Loss and gradient of a fresh method on this batch, as bytes; `seed` puts the global generators somewhere."""
    scramble(seed)
    trial = started(bench)
    scramble(seed)  # building the networks has seeded torch
    loss, _ = trial.method.loss(role, batch, 0)
    if loss.requires_grad:
        loss.backward()
    network = trial.roles[role].net
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return b"".join(tensor.detach().cpu().double().numpy().tobytes() for tensor in (loss, *grads))


def global_randomness(bench: Bench) -> str:
    trains(bench)
    advice = "batch.noise (and draw's rng) is the only randomness a method may use"
    for role in bench.trained:
        with undrawn("building the method", "start from fixed numbers", exempt=("torch",)):  # new layers may draw
            trial = bench.trial()
        scramble(3)
        with undrawn("begin()", advice):
            trial.method.begin(bench.batch("probe"))
        with undrawn("draw()", advice):
            trial.method.draw(np.random.default_rng(0), BATCH)
        batch = bench.batch(role)
        with undrawn(f'the loss of "{role}"', advice):
            trial.method.loss(role, batch, 0)
        with undrawn(f'after("{role}")', advice):
            trial.method.after(role, 0)
    return "Python's, numpy's and torch's global generators stay as they were"


def inputs_untouched(bench: Bench) -> str:
    """A loss changes neither its batch, nor whole score columns, nor any weights."""
    import torch

    trains(bench)
    for role in bench.trained:
        trial, batch = started(bench), bench.batch(role)
        tensors = {"latent": batch.latent, "cond": batch.cond, "index": batch.index}
        tensors |= {f'scores["{name}"]': column for name, column in batch.scores.items()}
        tensors |= {f'extras["{name}"]': value for name, value in batch.extras.items()}
        before = {name: value.clone() for name, value in tensors.items()}
        columns = {name: column.copy() for name, column in bench.services.scores.items()}
        demand(
            trial.roles[role].net is not trial.base.net,
            f'build() hands out the shared backbone itself as the trained role "{role}"; base.clone(trainable=True)',
        )
        networks = {**trial.roles, "the shared backbone": trial.base}
        weights = {name: _weights(network) for name, network in networks.items()}
        trial.method.loss(role, batch, 0)
        for name, value in tensors.items():
            demand(torch.equal(value, before[name]), f'the loss of "{role}" changes batch.{name} in place')
        for name, column in columns.items():
            same = np.array_equal(column, bench.services.scores[name])
            demand(same, f'the loss of "{role}" changes services.scores["{name}"] in place')
        for name, network in networks.items():
            demand(
                _weights(network) == weights[name],
                f'the loss of "{role}" changes weights of "{name}"; they change in the optimiser and in after()',
            )
        trial.method.after(role, 0)
        demand(
            _weights(trial.base) == weights["the shared backbone"],
            f'after("{role}") changes the shared backbone, which other rows use too; build() a copy of it',
        )
    return "batch, score columns and weights stay as they were"


def _weights(network: Any) -> list[bytes]:
    return [p.detach().cpu().float().numpy().tobytes() for p in network.net.parameters()]


# ---- shapes and devices ----------------------------------------------------------------------------------------


def batch_sizes(bench: Bench) -> str:
    trains(bench)
    for role in bench.trained:
        for size in (1, 3):
            loss, logs = started(bench).method.loss(role, bench.batch(role, size), 0)
            try:
                _well_formed(role, loss, logs)
            except Fault as fault:
                raise Fault(f"with {size} clip{'s' * (size > 1)} in the batch {fault}") from None
    return "works with 1 and with 3 clips"


def one_frame(bench: Bench) -> str:
    """Works, or refuses with a UserError; anything else is a crash the user cannot read."""
    trains(bench)

    def losses() -> None:
        for role in bench.trained:
            loss, logs = started(bench, spec=SINGLE).method.loss(role, bench.batch(role, spec=SINGLE), 0)
            _well_formed(role, loss, logs)

    return works_or_refuses(losses, ONE_FRAME)


def on_the_gpu(bench: Bench) -> str:
    import torch

    trains(bench)
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    said = []
    for role in bench.trained:
        losses = []
        for device in ("cpu", "cuda"):
            trial = started(bench, device=device)
            losses.append(trial.method.loss(role, bench.batch(role, device=device), 0)[0].item())
        close = math.isclose(*losses, rel_tol=0.05, abs_tol=1e-4)
        demand(close, f'the loss of "{role}" is {losses[0]:.5g} on the CPU and {losses[1]:.5g} on the GPU')
        said.append(f"{role} {losses[1]:.4g}")
    return f"the same losses: {', '.join(said)}"


QUESTIONS = (
    Question("loss", finite_loss, after=("needs",)),
    Question("gradient", gradients, after=("loss",)),
    Question("global randomness", global_randomness, after=("loss",)),
    Question("same seed, same loss", deterministic, after=("loss",)),
    Question("inputs untouched", inputs_untouched, after=("loss",)),
    Question("batch sizes", batch_sizes, after=("loss",)),
    Question("one frame", one_frame, after=("loss",)),
    Question("GPU", on_the_gpu, after=("loss",)),
)
