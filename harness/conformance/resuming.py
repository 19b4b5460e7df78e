"""Questions about a method in the real training loop: does it train, and does a killed run go on as if nothing was?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from harness import diagnostics
from harness.checkpoint import read_snapshot, trained_roles, write_snapshot
from harness.conformance.bench import PROMPTS, SPEC, Bench
from harness.conformance.report import Fault, Question, demand
from harness.conformance.training import started, trains
from harness.job import make_method
from harness.store import file_digest, read_jsonl
from harness.train import Loop

if TYPE_CHECKING:
    from harness.api import Method

CLOSE = 1e-4  # of the latents' standard deviation
HARNESS = {"config", "roles", "services"}  # attributes that a method is given


class Killed(BaseException):
    """Ends a training the way a kill does: nothing catches it."""


@dataclass(frozen=True)
class Trained:
    """What a finished training left behind."""

    files: Mapping[str, str]  # digest of every network's weights
    log: list[dict[str, Any]]
    method: Method


def training(bench: Bench) -> str:
    trains(bench)
    log = _whole(bench).log
    skipped = sum(row.get("skipped", 0) for row in log)
    demand(not skipped, f"{skipped} of {len(log)} updates are skipped: loss or gradient is not finite")
    updates = (f"{role} {sum(row['role'] == role for row in log)} updates" for role in bench.trained)
    return f"{bench.steps} steps with pictures at the end; {', '.join(updates)}"


def generation(bench: Bench) -> str:
    """Generation builds the method anew from the trained networks alone: its sampler must not miss anything."""
    import torch

    trains(bench)
    trained, job = _whole(bench).method, bench.job()
    for role in trained.roles.values():
        role.net.eval()
    roles = trained_roles(job)
    model, found = roles["student"], []
    for method in (trained, make_method(job.plan, job.cell, roles, bench.services)):
        noise = torch.randn(2, *model.latent_shape(SPEC), generator=torch.Generator().manual_seed(1))
        sources = [torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)]
        with torch.no_grad():
            found.append(method.sampler()(model, noise, model.encode_text(list(PROMPTS[:2])), sources))
    off = float((found[0] - found[1]).abs().max() / found[0].std())
    demand(
        off <= CLOSE,
        f"a method built for generation from the trained networks alone samples other clips (off by {off:.2g} standard "
        "deviations) than the one that was trained: the sampler uses state that is in no network",
    )
    return "a method built from the trained networks alone samples what the trained one does"


def _whole(bench: Bench) -> Trained:
    """An uninterrupted training, done once."""
    if "whole" not in bench.kept:
        bench.clear()
        loop = Loop(bench.job())
        loop.run()
        bench.kept["whole"] = _left(bench, loop)
    done: Trained = bench.kept["whole"]
    return done


def _resumed(bench: Bench, killed_at: int) -> Trained:
    """The same training, killed when `killed_at` steps are done, and gone on with by another loop."""
    bench.clear()

    def kill(_: str, done: int, __: int) -> None:
        if done == killed_at:
            raise Killed

    loop = Loop(bench.job())
    loop.job = bench.job(report=kill)
    with suppress(Killed):
        loop.run()
    loop = Loop(bench.job())
    with mock.patch.object(diagnostics, "draw"):  # one training's pictures are enough
        loop.run()
    return _left(bench, loop)


def _left(bench: Bench, loop: Loop) -> Trained:
    run = bench.job().run
    files = {path.stem: file_digest(path) for path in sorted((run / "checkpoint").glob("*.safetensors"))}
    files.pop("resume", None)
    return Trained(files, read_jsonl(run / "train" / "metrics.jsonl"), loop.method)


def round_trip(bench: Bench) -> str:
    """What state_dict() says comes back from a file, bit for bit, in a fresh method."""
    import torch

    trains(bench)
    trial = started(bench)
    for turn in bench.turns:
        for step in (0, turn.every):
            trial.method.loss(turn.role, bench.batch(turn.role, step=step), step)
            trial.method.after(turn.role, step)
    state = trial.method.state_dict()
    if not state:
        return "nothing beside the networks"
    for name, value in state.items():
        kind = type(value).__name__
        demand(isinstance(value, torch.Tensor), f'state_dict()["{name}"] is of {kind}; snapshots hold tensors')
    kept = {name: value.detach().clone() for name, value in state.items()}
    path = bench.root / "round-trip.safetensors"
    write_snapshot(path, state, {})
    read, _ = read_snapshot(path)
    fresh = bench.trial().method
    fresh.load_state_dict(read)
    back = fresh.state_dict()
    demand(set(back) == set(kept), f"after load_state_dict, state_dict() has {sorted(back)}, not {sorted(kept)}")
    for name, value in kept.items():
        same = back[name].dtype == value.dtype and torch.equal(back[name].cpu(), value.cpu())
        # NaN marks "not yet" in places; its bits count
        same = same or back[name].cpu().numpy().tobytes() == value.cpu().numpy().tobytes()
        demand(same, f'state_dict()["{name}"] does not come back bit for bit from load_state_dict')
    return f"{len(kept)} tensors"


def resuming(bench: Bench) -> str:
    """Killed one step after the snapshot in the middle, the run ends with the bytes of an uninterrupted one."""
    trains(bench)
    middle = bench.steps // 2
    whole, resumed = _whole(bench), _resumed(bench, middle + 1)
    lost = [name for name, digest in whole.files.items() if resumed.files.get(name) != digest]
    if not lost and whole.log == resumed.log:
        return f"killed after step {middle + 1} of {bench.steps}: weights and log are those of an uninterrupted run"
    rows = zip(whole.log, resumed.log, strict=False)
    first = next((a["step"] for a, b in rows if a != b), bench.steps)
    changed = _differences(whole.method, resumed.method)
    where = f"; what it forgot: {', '.join(changed)}" if changed else ""
    what = f"weights of {', '.join(lost)}" if lost else "logged numbers"
    raise Fault(
        f"killed after step {middle + 1} and resumed from the snapshot of step {middle}, it ends with other {what} "
        f"(first other at step {first}){where}; state_dict() must hold all that a loss depends on beside the networks"
    )


def _differences(one: Method, other: Method) -> list[str]:
    """Attributes of plain values that two methods disagree about."""
    mine, others = dict(_values(vars(one))), dict(_values(vars(other)))
    return [f"self.{name}" for name, value in mine.items() if name in others and others[name] != value][:4]


def _values(attributes: Mapping[str, Any], prefix: str = "", depth: int = 2) -> Iterator[tuple[str, Any]]:
    """(dotted name, comparable value) of plain attributes, containers opened."""
    import torch

    for key, value in attributes.items():
        name = f"{prefix}{key}"
        if key in HARNESS and not prefix:
            continue
        if isinstance(value, (bool, int, float, str)):
            yield name, value
        elif isinstance(value, torch.Tensor):
            yield name, value.detach().cpu().numpy().tobytes()
        elif isinstance(value, np.ndarray):
            yield name, value.tobytes()
        elif isinstance(value, torch.Generator):
            yield name, value.get_state().numpy().tobytes()
        elif isinstance(value, np.random.Generator):
            yield name, str(value.bit_generator.state)
        elif depth and isinstance(value, Mapping):
            yield from _values({str(k): v for k, v in value.items()}, f"{name}.", depth - 1)
        elif depth and isinstance(value, (list, tuple)):
            yield from _values({str(i): v for i, v in enumerate(value)}, f"{name}.", depth - 1)


QUESTIONS = (
    Question("state round trip", round_trip, after=("loss",)),
    Question("training", training, after=("state round trip",)),
    Question("generation", generation, after=("training",)),
    Question("resume", resuming, after=("training", "same seed, same loss", "inputs untouched")),
)
