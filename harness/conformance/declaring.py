"""Questions about what a method says of itself: roles and turns, needs, offline stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.api import Batch, Method, make_part
from harness.conformance.bench import BATCH, SPEC, Bench, behind
from harness.conformance.randomness import scramble, undrawn
from harness.conformance.report import NotApplicable, Question, demand, described, told
from harness.conformance.training import fingerprint
from harness.conformance.watched import Watch
from harness.counted import Counted
from harness.job import load_backbone

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = {"latent", "prompt", "short_prompt"}


def declaration(bench: Bench) -> str:
    kind, needs, turns = bench.kind, bench.needs, bench.turns
    described(kind, Method)
    unknown = [name for name in needs.fields if name not in FIELDS]
    demand(not unknown, f"needs().fields names {unknown}; a batch has {sorted(FIELDS)}")
    for turn in turns:
        demand(
            turn.role in needs.roles,
            f'turns train the role "{turn.role}", which needs() does not list among its roles {list(needs.roles)}',
        )
        demand(turn.every >= 1 and turn.repeat >= 1, f'the turn of "{turn.role}": every and repeat start at 1')
    demand(kind.needs(bench.config) == needs, "needs() answers differently when it is asked again")
    demand(tuple(kind.turns_for(bench.config)) == turns, "turns_for() answers differently when it is asked again")
    demand(all(map(callable, kind.equations())), "equations() must name functions")
    told_needs = {"roles": needs.roles, "fields": needs.fields, "scores": needs.scores, "caps": needs.caps}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in told_needs.items() if names)


def needs_are_true(bench: Bench) -> str:
    """Everything once behind watched faces, then each undeclared field with other content."""
    watch = Watch(bench.needs)
    try:
        if bench.turns:
            _go_through(bench, watch)
        sampled(bench, watch)
    except Exception as error:
        watch.demand()
        raise NotApplicable(f"cannot be told: {told(error)}") from error  # the question about what fails says more
    watch.demand()
    hidden = sorted(FIELDS - set(bench.needs.fields)) if bench.turns else []
    for role in bench.trained:
        before, again = (fingerprint(bench, bench.batch(role), role, 1) for _ in range(2))
        for field in hidden if before == again else ():
            other = fingerprint(bench, _altered(bench.batch(role), field), role, 1)
            demand(  # a clock's loss differs, too, but not only where the field does
                other == before or fingerprint(bench, bench.batch(role), role, 1) != before,
                f'the loss of "{role}" depends on batch.{field}, which needs().fields does not list',
            )
    rest = f"; does not depend on {', '.join(hidden)}" if hidden else ""
    return f"nothing undeclared is touched{rest}"


def _go_through(bench: Bench, watch: Watch) -> None:
    trial = bench.trial(watch)
    trial.method.begin(behind(bench.batch("probe"), watch))
    for role in bench.trained:
        trial.method.draw(np.random.default_rng(0), BATCH)
        loss, _ = trial.method.loss(role, behind(bench.batch(role), watch), 0)
        if loss.requires_grad:
            loss.backward()
        trial.method.after(role, 0)


def sampled(bench: Bench, watch: Watch | None = None, size: int = BATCH) -> Tensor:
    """Latents of `size` clips, from fixed noise and generators."""
    import torch

    trial = bench.sampling(watch)
    model: Any = Counted(trial.roles["student"], trial.count)
    noise = torch.randn(size, *model.latent_shape(SPEC), generator=torch.Generator().manual_seed(1))
    cond = model.encode_text(["a red ball rolls"] * size)
    with torch.no_grad():
        return trial.method.sampler()(model, noise, cond, [torch.Generator().manual_seed(i) for i in range(size)])


def _altered(batch: Batch, field: str) -> Batch:
    import torch

    if field == "latent":
        other = torch.randn(batch.latent.shape, generator=torch.Generator().manual_seed(9))
        return replace(batch, latent=other.to(batch.latent))
    if field == "short_prompt":
        return replace(batch, short_prompt=["something else"] * len(batch.prompt))
    return replace(batch, prompt=["something else"] * len(batch.prompt), cond=batch.cond.flip(-1) + 1)


def stages(bench: Bench) -> str:
    """An offline stage gives the same artefacts again, a row for every clip, and draws from batch.noise alone."""
    import torch

    specs = bench.needs.stages
    if not specs:
        raise NotApplicable("it has no offline stage")
    base = load_backbone(bench.plan(), "cpu")
    for spec in specs:
        found = []
        for seed in (1, 2):
            stage, batch = make_part("stage", spec, base, bench.services), bench.batch("stage")
            scramble(seed)
            with undrawn(f'the stage "{spec["name"]}"', "batch.noise is the only randomness it may use"):
                found.append(stage.compute(batch))
        for name, value in found[0].items():
            what = f'the stage "{spec["name"]}" computes {name}'
            demand(len(value) == BATCH, f"{what} as shape {list(value.shape)} for {BATCH} clips; rows are clips")
            same = torch.equal(value.nan_to_num(), found[1][name].nan_to_num())
            demand(same, f"{what} differently from the same batch; batch.noise is the only randomness it may use")
    return ", ".join(str(spec["name"]) for spec in specs)


QUESTIONS = (
    Question("declaration", declaration),
    Question("needs", needs_are_true, after=("declaration",)),
    Question("stages", stages, after=("declaration",)),
)
