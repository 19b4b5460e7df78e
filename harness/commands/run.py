"""`mutoscope run` and `mutoscope plan`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import config, registry, suite
from harness.commands import DONE, INCOMPLETE
from harness.errors import UserError
from harness.executors import Outcome, choose
from harness.plan import Cell, Plan, make_plan, write_suite
from harness.plugins import make_dataset
from harness.progress import Progress, progress
from harness.run import outdated
from harness.store import RunDir, lock, run_dirs


@dataclass(frozen=True)
class Request:
    """What the user asked of `run` or `plan`."""

    suite_name: str
    methods: Sequence[str]
    seeds: Sequence[int]
    sets: Sequence[str]
    limit: int | None
    runs: Path
    plugins: Sequence[str]
    dry_run: bool = False
    workers: int | None = None
    device: str = "auto"
    fresh: bool = False
    publish: bool = True
    tracking_uri: str | None = None


def run_suite(request: Request) -> int:
    """Plan, execute, show, publish. Returns the exit code."""
    console = Console()
    chosen = suite.load(request.suite_name, config.parse_sets(request.sets))
    if request.dry_run:
        return plan_suite(request, chosen, console)
    plan = _plan(request, chosen)
    if request.fresh:
        _discard(plan)
    states = [progress(plan, cell) for cell in plan.cells]
    pending = [cell for cell, state in zip(plan.cells, states, strict=True) if not _settled(plan, state)]
    partial = "" if plan.limit is None else f" (partial: {plan.wanted} of {len(plan.prompts)} prompts)"
    console.print(
        f"[bold]{plan.folder.name}[/]{partial}: {len(plan.cells)} cells, {len(plan.metrics)} metrics, "
        f"{len(pending)} to do",
        highlight=False,
    )
    _show_left_out(plan, console)
    failed = _execute(plan, pending, request, console) if pending else []
    from harness.commands.results import publish_suite, show_suite

    show_suite(plan.folder, console)
    console.print(f"clips   {plan.folder}/*/seed*/clips/*.mp4", highlight=False, soft_wrap=True)
    if request.publish:
        publish_suite(plan.folder, request.tracking_uri, console)
    for outcome in failed:
        _show_failure(outcome, console)
    _show_outdated(plan, console)
    return INCOMPLETE if failed else DONE


def _plan(request: Request, chosen: suite.Suite) -> Plan:
    return make_plan(chosen, request.runs, request.methods, request.seeds, request.limit, request.plugins)


def _show_left_out(plan: Plan, console: Console) -> None:
    """Training clips that could not be used: said before anything is trained on the rest."""
    if any(cell.trains for cell in plan.cells):
        for name, reason in make_dataset(plan.suite).notes().get("left_out", {}).items():
            console.print(f"left out of training: {name}: {reason}", highlight=False, soft_wrap=True, markup=False)


def _show_outdated(plan: Plan, console: Console) -> None:
    """Results made by code that is no longer there: said, since only their author knows whether it matters."""
    for cell in plan.cells:
        if changed := outdated(plan, cell):
            console.print(
                f"note: the code of {' and '.join(changed)} has changed since the results of {cell.label}: "
                "raise its version, or make them again with --fresh",
                highlight=False, soft_wrap=True, markup=False,
            )  # fmt: skip


def _settled(plan: Plan, state: Progress) -> bool:
    """Nothing left to do: complete, or as complete as the limit allows."""
    return state.finished and (state.done or plan.wanted < len(plan.prompts))


def _discard(plan: Plan) -> None:
    for cell in plan.cells:
        if cell.path.exists():
            with lock(cell.path / ".lock"):
                shutil.rmtree(cell.path)


def _execute(plan: Plan, pending: list[Cell], request: Request, console: Console) -> list[Outcome]:
    from harness.console import RunView

    write_suite(plan)
    todo = plan.only(pending)
    with RunView(pending, console) as view:
        outcomes = choose(request.workers, plan, pending).run(todo, resolve_device(request.device), view.tell)
    return [outcome for outcome in outcomes if outcome.problems]


def resolve_device(device: str) -> str:
    """`auto` is the first GPU, else the CPU."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _show_failure(outcome: Outcome, console: Console) -> None:
    console.print(f"[red]failed[/]  {outcome.cell.label}", highlight=False)
    for problem in outcome.problems[:10]:
        console.print(f"        {problem}", highlight=False, soft_wrap=True, markup=False)
    if len(outcome.problems) > 10:
        console.print(f"        and {len(outcome.problems) - 10} more", highlight=False)
    if outcome.trace:
        console.print(outcome.trace, highlight=False, soft_wrap=True, markup=False)


# ---- the plan ----------------------------------------------------------------------------------------------------


def plan_suite(request: Request, chosen: suite.Suite, console: Console) -> int:
    """What the suite needs, then its cells; what is missing is said, not an error. Loads and downloads nothing."""
    from harness.commands.needs import show_needs
    from harness.requirements import find_out

    for plugin in request.plugins:
        registry.load_plugin(plugin)
    needs = find_out(chosen, request.methods)
    show_needs(chosen, needs, console)
    try:
        plan = _plan(request, chosen)
    except UserError as error:
        if not needs.missing:
            raise
        console.print(f"no cells yet: {error.problem}", highlight=False, soft_wrap=True, markup=False)
        return DONE
    show_plan(plan, [progress(plan, cell) for cell in plan.cells], console)
    return DONE


def show_plan(plan: Plan, states: Sequence[Progress], console: Console) -> None:
    """Cells, keys, what is done, and how long the rest should take."""
    table = Table(
        title=f"{plan.folder.name}: {len(plan.prompts)} prompts, {len(plan.metrics)} metrics", title_justify="left"
    )
    for name in ("cell", "train key", "clip key", "train", "generate", "evaluate", "left"):
        table.add_column(name, justify="left" if name in {"cell", "train key", "clip key"} else "right")
    speeds = _speeds(plan)
    total, unknown = 0.0, False
    for cell, state in zip(plan.cells, states, strict=True):
        seconds = _estimate(speeds, state)
        unknown |= seconds is None
        total += seconds or 0.0
        counts = [f"{done}/{of}" if of else "-" for done, of in (state.train, state.generate, state.evaluate)]
        left = "done" if _settled(plan, state) else "?" if seconds is None else f"{seconds:.0f} s"
        table.add_row(cell.label, cell.train_key[:8], cell.clip_key[:8], *counts, left)
    console.print(table)
    for mark in plan.marks:
        console.print(f"marked: {mark}", highlight=False)
    if unknown:
        console.print("no estimate: nothing of this suite has been timed on this machine yet", highlight=False)
    else:
        console.print(f"about {total:.0f} s of one worker's time left", highlight=False)


def _speeds(plan: Plan) -> dict[str, float]:
    """Seconds per item of each stage, from what this runs folder has timed for the suite."""
    seconds: dict[str, float] = {}
    items: dict[str, int] = {}
    for run in run_dirs(plan.folder):
        for row in RunDir(run.path).timings():
            seconds[row["stage"]] = seconds.get(row["stage"], 0.0) + row["seconds"]
            items[row["stage"]] = items.get(row["stage"], 0) + row["items"]
    return {stage: seconds[stage] / items[stage] for stage in seconds if items[stage]}


def _estimate(speeds: dict[str, float], state: Progress) -> float | None:
    total = 0.0
    metrics = max(1, state.evaluate[1] // max(1, state.generate[1]))
    for stage, (done, of), per in (
        ("train", state.train, 1), ("generate", state.generate, 1), ("evaluate", state.evaluate, metrics),
    ):  # fmt: skip
        if done < of:
            if stage not in speeds:
                return None
            total += speeds[stage] * (of - done) / per
    return total
