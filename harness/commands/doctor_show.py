"""What `doctor --metrics` found, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness import provenance
from harness.corruptions import CORRUPTIONS
from harness.store import write_json

if TYPE_CHECKING:
    from harness.commands.doctor_metrics import Finding, Request, Shown

MARKS = {"ok": "[green]ok[/]", "no": "[bold red]NO[/]", "unclear": "[yellow]?[/]", "no expectation": "", "no value": ""}
PLAIN_WIDTH = 100
_SPAN = 4.0  # of the picture's colours, in standard errors


def show(
    findings: Sequence[Finding],
    left_out: Mapping[str, Sequence[str]],
    abroad: Sequence[str],
    seconds: float,
    console: Console,
) -> None:
    """A line a metric, a column a corruption; then every wrong way, every failure, and what was left out.

    Args:
        abroad: metrics that judge clips of the embedded world, where the clips are none.
    """
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    table = Table(
        caption="▲ ▼ clearly up or down, · not clearly moved, - no value; ok as it should, NO the wrong way, "
        "? should have moved or stayed and it is not clear that it did; nothing: no expectation is declared",
        caption_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("metric", overflow="fold")
    for name in CORRUPTIONS:
        table.add_column(name.replace("_", "\n").replace("compression", "compres-\nsion"), justify="center")
    for metric, row in by_metric(findings).items():
        table.add_row(_broken(metric), *(_cell(row[name]) for name in CORRUPTIONS))
    console.print(table)
    for finding in findings:
        if finding.verdict == "no":
            console.print(f"[red]wrong[/]   {finding.metric} under {finding.corruption}: {_said(finding)}")
    for metric, row in by_metric(findings).items():
        reasons = {reason: clip for finding in row.values() for clip, reason in finding.failures.items()}
        for reason, clip in reasons.items():
            text = f"failed  {metric}: {'' if clip == '*' else f'{clip}: '}{reason}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
    for metric, row in by_metric(findings).items():
        if not any(finding.n or finding.failures for finding in row.values()):
            console.print(f"no value  {metric}: it has none for any of these clips", highlight=False, soft_wrap=True)
    if abroad:
        text = f"of little meaning here: {', '.join(abroad)}: for clips of the embedded world, which these are not"
        console.print(text, highlight=False, soft_wrap=True)
    for reason, names in _by_remedy(left_out).items():
        console.print(f"left out: {', '.join(names)}: {reason}", highlight=False, soft_wrap=True, markup=False)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in MARKS}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"{told}; {seconds:.0f} s", highlight=False)


def _broken(name: str, width: int = 16) -> str:
    """A name in lines, broken after `/` and `_`."""
    lines = [""]
    for part in re.findall(r"[^/_]+[/_]?", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _by_remedy(left_out: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """One line for all metrics whose weights one command fetches; which files these are is in the JSON."""
    found: dict[str, list[str]] = {}
    for reason, names in left_out.items():
        command = re.search(r"missing; fetch with `(mutoscope weights fetch [^` ]+)", reason)
        found.setdefault(f"weights are missing; {command[1]}" if command else reason, []).extend(names)
    return found


def by_metric(findings: Sequence[Finding]) -> dict[str, dict[str, Finding]]:
    """`{metric: {corruption: finding}}`."""
    table: dict[str, dict[str, Finding]] = {}
    for finding in findings:
        table.setdefault(finding.metric, {})[finding.corruption] = finding
    return table


def write(
    findings: Sequence[Finding],
    left_out: Mapping[str, Sequence[str]],
    shown: Sequence[Shown],
    request: Request,
    console: Console,
) -> None:
    """The report as JSON, to standard output or a file, as asked. A number that does not exist is null."""
    if not (request.json or request.out):
        return
    rows = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(f).items()}
        for f in findings
    ]
    report: dict[str, Any] = {
        "clips": [clip.id for clip in shown],
        "level": request.level,
        "corruptions": {name: {"about": c.about, "kind": c.kind} for name, c in CORRUPTIONS.items()},
        "findings": rows,
        "left_out": left_out,
        "versions": provenance.versions(),
    }
    if request.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    if request.out:
        write_json(request.out, report)
        console.print(f"report  {request.out}", highlight=False, soft_wrap=True)


def draw(findings: Sequence[Finding], path: Path) -> None:
    """Save a heat map: change in standard errors, red down and blue up, with the verdict in every cell."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.style import context

    from harness.diagnostics import STYLE, save

    table = by_metric(findings)
    grid = np.array([[_errors(row[name]) for name in CORRUPTIONS] for row in table.values()])
    with context(STYLE, after_reset=True):
        figure = Figure(figsize=(10, 1.6 + 0.34 * len(table)), layout="constrained")
        ax = figure.subplots()
        image = ax.imshow(grid, cmap="RdBu", vmin=-_SPAN, vmax=_SPAN, aspect="auto")
        ax.set_xticks(range(len(CORRUPTIONS)), [name.replace("_", " ") for name in CORRUPTIONS], rotation=30)
        ax.set_yticks(range(len(table)), list(table))
        ax.grid(False)
        for y, row in enumerate(table.values()):
            for x, name in enumerate(CORRUPTIONS):
                text = {"ok": "ok", "no": "NO", "unclear": "?"}.get(row[name].verdict, "")
                dark = abs(grid[y, x]) > 0.7 * _SPAN
                ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        figure.colorbar(image, ax=ax, label="change in standard errors", shrink=0.8)
        save(figure, path)


def _cell(finding: Finding) -> str:
    if finding.n == 0:
        return "-"
    arrow = ("▲" if finding.difference > 0 else "▼") if finding.clear else "·"
    return f"{arrow} {MARKS[finding.verdict]}".strip()


def _said(finding: Finding) -> str:
    way = "up" if finding.difference > 0 else "down"
    about = (
        f"should stay the same, went {way}"
        if finding.expected == "same"
        else f"should go {finding.expected}, went {way}"
    )
    return f"{about} by {abs(finding.difference):.4g} ± {finding.se:.2g} (n = {finding.n})"


def _errors(finding: Finding) -> float:
    """Change in standard errors, cut off at the picture's span; NaN without a value."""
    if finding.n == 0 or math.isnan(finding.se):
        return math.nan
    if finding.se == 0:
        return math.copysign(_SPAN, finding.difference) if finding.difference else 0.0
    return max(-_SPAN, min(_SPAN, finding.difference / finding.se))
