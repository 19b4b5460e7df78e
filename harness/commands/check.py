"""`mutoscope check`: does a plugin keep the promises of `harness.api`?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import plugin_option

if TYPE_CHECKING:
    from rich.console import Console

    from harness.conformance import Check, Report

WIDTH = 22  # of the names of checks


@dataclass(frozen=True)
class Request:
    """What the user asked of `check`."""

    name: str
    suite: str | None
    sets: Sequence[str]
    json: bool
    plugins: Sequence[str]


@click.command()
@click.argument("name")
@click.option("--suite", help="Take a method's options from the row NAME of this suite.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Option of NAME, e.g. p_drop=0.2.")
@click.option("--json", is_flag=True, help="JSON on standard output instead of the report.")
@plugin_option
def check(**options: Any) -> None:
    """Try whether a method, metric, backbone, dataset or tracker keeps its promises; exit code 1 if not.

    A method is run on a tiny plan with the embedded backbone: declared needs, gradients, determinism, hidden
    randomness, state and resume, network evaluations, generators, clip sizes. A metric is asked about clips of the
    embedded world as they are, damaged and odd: range, determinism, order, batching, shards, names, direction. Weights
    that are missing are no failure of the plugin: they are named, with the command that gets them, and exit code 2.

    \b
    mutoscope check tqd
    mutoscope check my-method --plugin my_method.py --set strength=2
    mutoscope check avd --suite quick
    mutoscope check my/metric --plugin my_metric.py --json
    """
    sys.exit(check_name(Request(**options)))


def check_name(request: Request) -> int:
    """Print the report; 1 if anything failed. Raises UserError where NAME cannot be checked here."""
    from rich.console import Console

    from harness import registry
    from harness.commands import DONE, FAILED
    from harness.job import set_threads

    for plugin in request.plugins:
        registry.load_plugin(plugin)
    set_threads(1)
    console = Console(stderr=request.json)
    with console.status(f"checking {request.name}"):
        report = _examined(request)
    if request.json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report, console)
    return DONE if report.passed else FAILED


def _examined(request: Request) -> Report:
    from harness import conformance, registry
    from harness.config import merge, parse_sets
    from harness.errors import UserError, did_you_mean

    settings, name = parse_sets(request.sets), request.name
    if request.suite is not None:
        row = _row(request.suite, name)
        name, settings = row.pop("method", name), merge(row, settings)
        return conformance.examine_method(registry.methods.get(name), settings)
    examiners: dict[Any, Any] = {
        registry.methods: conformance.examine_method,
        registry.metrics: conformance.examine_metric,
        registry.backbones: conformance.examine_backbone,
        registry.datasets: conformance.examine_dataset,
        registry.trackers: conformance.examine_tracker,
    }
    for entries, examine in examiners.items():
        if entries.knows(name):
            report: Report = examine(entries.get(name), settings)
            return report
    known = {known for entries in examiners for known in entries.names()}
    raise UserError(f'no method, metric, backbone, dataset or tracker is called "{name}"', did_you_mean(name, known))


def _row(suite_name: str, name: str) -> dict[str, Any]:
    """A row's options in a suite."""
    from harness.errors import UserError, did_you_mean
    from harness.suite import load

    suite = load(suite_name)
    if name not in suite.methods:
        raise UserError(f'suite {suite.name} has no row "{name}"', did_you_mean(name, suite.methods))
    return dict(suite.methods[name])


# ---- the report ------------------------------------------------------------------------------------------------


def _show(report: Report, console: Console) -> None:
    """A line a check; those that share a reason for not being asked share a line."""
    marks = {"passed": "[green]passed[/]        ", "failed": "[bold red]FAILED[/]        "}
    console.print(f"[bold]{report.name}[/]  {report.kind}\n", highlight=False)
    for item in report.checks:
        if item.verdict in marks:
            _line(console, marks[item.verdict], item.name, item.message)
    for reason, names in _reasons(report.of("not applicable")).items():
        _line(console, "[yellow]not applicable[/]", ", ".join(names), reason)
    counts = {verdict: len(report.of(verdict)) for verdict in ("passed", "failed", "not applicable")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"\n{told}; {report.seconds:.0f} s", highlight=False)


def _line(console: Console, mark: str, name: str, message: str) -> None:
    from rich.markup import escape

    console.print(f"{mark}  {escape(name):<{WIDTH}}  {escape(message)}", highlight=False, soft_wrap=True)


def _reasons(checks: Sequence[Check]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for item in checks:
        out.setdefault(item.message, []).append(item.name)
    return out
