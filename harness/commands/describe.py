"""`list` and `describe`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from harness import registry, suite
from harness.commands.describe_row import describe_changed, describe_suite, is_suite, refuse_rows
from harness.config import load_yaml, merge, validate
from harness.entries import OURS
from harness.errors import UserError, did_you_mean

KINDS = {
    "methods": registry.methods,
    "metrics": registry.metrics,
    "backbones": registry.backbones,
    "datasets": registry.datasets,
    "trackers": registry.trackers,
}


def list_all(plugins: Sequence[str]) -> None:
    """Everything that can be named, read without importing it."""
    for plugin in plugins:
        registry.load_plugin(plugin)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("suites", "", end_section=True)
    for name, path in suite.shipped().items():
        table.add_row(f"  {name}", load_yaml(path).get("title", ""))
    for kind, entries in KINDS.items():
        table.add_row("", "")
        table.add_row(kind, "")
        for entry in entries.describe():
            about = f"warning: cannot be imported: {entry.trouble}" if entry.trouble else entry.about
            table.add_row(f"  {entry.name}", about if entry.origin == OURS else f"{about} [{entry.origin}]")
    Console().print(table, highlight=False, markup=False)


@dataclass(frozen=True)
class Request:
    """What the user asked of `describe`."""

    name: str
    rows: Sequence[str] = ()
    sets: Sequence[str] = ()
    equations: bool = False
    plugins: Sequence[str] = ()


def describe_name(request: Request) -> None:
    """The whole story of one name, or of rows of a suite."""
    for plugin in request.plugins:
        registry.load_plugin(plugin)
    console, name = Console(), request.name
    if is_suite(name):
        describe_suite(name, request.rows, request.sets, console)
        return
    for entries in KINDS.values():
        if entries.knows(name):
            refuse_rows(name, request.rows)
            cls = entries.get(name)
            if request.sets and entries.kind != "method":
                raise UserError(f"--set: {name} is a {entries.kind}", "it changes a method or a suite here")
            _describe(entries.kind, cls, request.equations, console)
            if entries.kind == "method":
                describe_changed(cls, request.sets, console)
            return
    everything = {*suite.shipped(), *(known for entries in KINDS.values() for known in entries.names())}
    raise UserError(f'nothing is called "{name}"', did_you_mean(name, everything))


def _describe(kind: str, cls: Any, equations: bool, console: Console) -> None:
    version = getattr(cls, "version", None)
    console.print(f"[bold]{cls.name}[/]  {kind}{'' if version is None else f', version {version}'}", highlight=False)
    console.print(inspect.cleandoc(cls.__doc__ or ""), highlight=False, markup=False)
    if kind == "metric":
        direction = {True: "higher is better", False: "lower is better", None: "descriptive, not ranked"}
        low, high = cls.range
        unit = f", {cls.unit}" if cls.unit else ""
        console.print(
            f"\n{cls.level} level, {direction[cls.higher_is_better]}, range [{low}, {high}]{unit}", highlight=False
        )
    options = _options(cls.Config, getattr(cls, "preset", {}))
    if options.row_count:
        console.print("\noptions", style="bold")
        console.print(options)
    if kind == "method":
        _describe_method(cls, equations, console)


def _describe_method(cls: Any, equations: bool, console: Console) -> None:
    if any(field.is_required() and key not in cls.preset for key, field in cls.Config.model_fields.items()):
        return
    config = validate(cls.Config, merge(cls.preset, {}), cls.name)
    needs = cls.needs(config)
    told = {
        "roles": needs.roles,
        "columns": tuple(name for name in needs.fields if name not in {"latent", "prompt"}),
        "scores": needs.scores,
        "rewards": tuple(spec["name"] for spec in needs.rewards),
        "caps": needs.caps,
        "stages": tuple(spec["name"] for spec in needs.stages),
        "trained by": tuple(f"row {row} ({role})" for role, row in needs.checkpoints.items()),
    }
    wanted = "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items() if names)
    turns = ", ".join(map(_turn, cls.turns_for(config))) or "none (nothing is trained)"
    console.print(f"\nneeds {wanted}\nturns {turns}", highlight=False, markup=False)
    if equations:
        console.print("\nequations", style="bold")
        for function in cls.equations():
            line = inspect.cleandoc(function.__doc__ or "").split("\n")[0]
            console.print(f"  {function.__module__}.{function.__name__}: {line}", highlight=False, markup=False)


def _turn(turn: Any) -> str:
    rate = "" if turn.rate == 1 else f" at {turn.rate:g} x the learning rate"
    return f"{turn.role} every {turn.every}{rate}"


def _options(model: type[BaseModel], preset: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "default", "meaning"):
        table.add_column(name, overflow="fold")
    for key, field in model.model_fields.items():
        default = preset.get(key, "required" if field.is_required() else field.get_default(call_default_factory=True))
        table.add_row(f"  {key}", str(default), field.description or "")
    return table
