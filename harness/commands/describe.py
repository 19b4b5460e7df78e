"""`list` and `describe`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from harness import registry, suite
from harness.config import load_yaml, merge, validate
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
        for name, line, origin in entries.describe():
            table.add_row(f"  {name}", line if origin == "mutoscope" else f"{line} [{origin}]")
    Console().print(table, highlight=False, markup=False)


def describe_name(name: str, equations: bool, plugins: Sequence[str]) -> None:
    """The whole story of one name."""
    for plugin in plugins:
        registry.load_plugin(plugin)
    console = Console()
    if name in suite.shipped():
        console.print(suite.shipped()[name].read_text(encoding="utf-8"), highlight=False, markup=False)
        return
    for entries in KINDS.values():
        if name in entries.names():
            _describe(entries.kind, entries.get(name), equations, console)
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
