"""`import`: result files of official tools as score rows, in a folder like `evaluate` leaves, marked as imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from harness import registry
from harness.commands import DONE
from harness.config import digest
from harness.errors import UserError
from harness.plugins import MetricSpec
from harness.store import Json, file_digest, write_json, write_jsonl

IMPORTED = "imported.json"  # marks a folder whose scores are not ours: what the file said, and where it came from


@dataclass(frozen=True)
class Found:
    """A result file: clips, score rows and bounds by metric, the file's own averages, and what is odd about it."""

    clips: Sequence[Mapping[str, Any]]
    rows: Mapping[str, Sequence[Any]]
    bounds: Mapping[str, tuple[float, float]]
    scores: Mapping[str, float]
    notes: Sequence[str]


def write_imported(file: Path, out: Path, found: Found) -> None:
    """Write the folder. Every file is an evaluator of its own: imported scores never meet others in one ranking.

    Raises:
        UserError: there is something in the folder already.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: there is something in it", "give a new folder")
    sha256 = file_digest(file)
    config = {"imported": sha256}
    specs = [
        MetricSpec(name, config, 1, digest({"name": name, **config}), "clip", True, found.bounds[name], "")
        for name in found.rows
    ]
    write_jsonl(out / "clips.jsonl", found.clips)
    for spec in specs:
        write_jsonl(out / "scores" / f"{spec.id}.jsonl", found.rows[spec.name])
    write_json(out / "metrics.json", [asdict(spec) for spec in specs])
    origin: Json = {"file": str(file), "sha256": sha256, "scores": dict(found.scores), "notes": list(found.notes)}
    write_json(out / IMPORTED, origin)
    Console().print(f"wrote   {out}", highlight=False, soft_wrap=True, markup=False)


def _vmbench(file: Path) -> Found:
    from metrics.vmbench.imported import read_results

    found = read_results(file)
    return Found(found.clips, found.rows, _bounds(found.rows), found.averages, found.notes)


def _compbench(file: Path) -> Found:
    from metrics.compbench.imported import FAMILY, read_table

    found = read_table(file)
    name = FAMILY + found.category
    clips = [{"id": row["clip"], "prompt": None, "file": "", "sha256": "", "meta": {}} for row in found.rows]
    return Found(clips, {name: found.rows}, _bounds([name]), {}, found.notes)


def _bounds(names: Any) -> dict[str, tuple[float, float]]:
    return {name: registry.metrics.get(name).range for name in names}


TOOLS: Mapping[str, Callable[[Path], Found]] = {"vmbench": _vmbench, "compbench": _compbench}


@click.command(name="import")
@click.argument("tool", type=click.Choice(list(TOOLS)))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the rows.")
def import_(tool: str, file: Path, out: Path) -> None:
    """Read an official tool's own result file; the rows are marked as imported (VBench's: `mutoscope vbench import`).

    \b
    mutoscope import vmbench results.json --out imported/vmbench
    mutoscope import compbench mymodel_score.csv --out imported/motion_binding
    """
    found = TOOLS[tool](file)
    write_imported(file, out, found)
    console = Console()
    console.print(_table(found), highlight=False, markup=False)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    sys.exit(DONE)


def _table(found: Found) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    for head in ("mean", "clips", "without a value"):
        table.add_column(head, justify="right")
    for name, rows in found.rows.items():
        values = [row["value"] for row in rows if row["value"] is not None]
        mean = f"{fsum(values) / len(values):.4f}" if values else "-"
        table.add_row(name, mean, str(len(values)), str(len(rows) - len(values)))
    return table
