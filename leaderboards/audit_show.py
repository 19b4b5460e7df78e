"""The audit on a terminal: rows that do not add up first, then what else does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboards.audit import Audited, Report
from leaderboards.causes import short
from leaderboards.formulas import Check

PLAIN_WIDTH = 180  # columns of output that is not a terminal
NAMED = 4  # missing numbers
KINDS = {
    "claim": "The text says otherwise than its tables",
    "repeat": "Printed twice, differently",
    "share": "Shares that no count of videos gives",
    "range": "Out of range",
}
RULE = (
    "A printed number stands for all true values that round to it. A row adds up if some of them give a result that "
    "rounds to the printed one. Deviation: printed minus recomputed from the printed numbers."
)


def render(report: Report, console: Console, every: bool = False) -> None:
    """Print the report.

    Args:
        every: also rows that add up or have nothing to recompute.
    """
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    if report.failing:
        console.print(_failures(report))
    if every:
        console.print(_others(report))
    for kind, title in KINDS.items():
        found = [remark for remark in report.remarks if remark.kind == kind]
        if found:
            console.print(Text(title, style="bold"))
            for remark in found:
                where = f"{remark.paper} {remark.where}".strip()
                console.print(Text(f"  {where}: {remark.text}"), soft_wrap=True)
            console.print()
    console.print(Text(summary(report), style="bold"))
    console.print(Text(RULE, style="dim"))


def summary(report: Report) -> str:
    """One line."""
    count = Counter(row.verdict for row in report.rows)
    verdicts = (
        ("adds up", "add up"),
        ("does not add up", "do not add up"),
        ("nothing to recompute", "have nothing to recompute"),
    )
    said = [f"{count[one]} {one if count[one] == 1 else many}" for one, many in verdicts]
    return f"{len(report.rows)} rows: {', '.join(said)}. Other remarks: {len(report.remarks)}."


def _failures(report: Report) -> Table:
    grid = Table(title="Rows that do not add up", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in ("paper", "table", "row"):
        grid.add_column(heading)
    grid.add_column("number", no_wrap=True)
    for heading in ("printed", "recomputed", "deviation"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("from")
    grid.add_column("likely cause")
    for row in report.failing:
        head = (row.paper, row.table, row.row)
        for check in row.failed:
            cause = "; or ".join(row.causes) if check is row.failed[0] else ""
            cells = (*head, short(check.target), check.printed, *_numbers(check), check.about, cause)
            grid.add_row(*map(Text, cells))
            head = ("", "", "")
    return grid


def _numbers(check: Check) -> tuple[str, str]:
    digits = len(check.printed.partition(".")[2]) + 1
    return f"{check.recomputed:.{digits}f}", f"{check.deviation:+.{digits}f}"


def _others(report: Report) -> Table:
    grid = Table(title="Other rows", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in ("paper", "table", "row", "verdict", "notes"):
        grid.add_column(heading)
    for row in report.rows:
        if not row.failed:
            grid.add_row(*map(Text, (row.paper, row.table, row.row, row.verdict, "; ".join(_notes(row)))))
    return grid


def _notes(row: Audited) -> Iterator[str]:
    for check in row.checks:
        yield f"{short(check.target)} {check.printed} ≈ {_numbers(check)[0]}"
    for target, value in row.derived.items():
        yield f"{short(target)} is not printed, would be {value:.4g}"
    for target, names in row.missing.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{short(target)} needs {', '.join(map(short, names[:NAMED]))}{more}"
    if row.unknown:
        yield f"not used: {', '.join(row.unknown)}"
