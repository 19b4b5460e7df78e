"""`mutoscope evaluate DIR`: score any folder of clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness import registry
from harness.api import Clip
from harness.commands import DONE, INCOMPLETE
from harness.config import digest
from harness.errors import UserError
from harness.plugins import MetricSpec, metric_spec
from harness.store import file_digest, lock, read_jsonl, write_json, write_jsonl

PLAIN_WIDTH = 120
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}


def evaluate_folder(
    folder: Path, metrics: Sequence[str], prompts: Path | None, out: Path | None, runs: Path, plugins: Sequence[str]
) -> int:
    """Score, show a table, keep the rows. Returns the exit code."""
    from harness.evaluate import score_clips

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    for plugin in plugins:
        registry.load_plugin(plugin)
    specs = _ready_metrics(metrics, console)
    clips = find_clips(folder, prompts)
    out = out or runs / "evaluate" / f"{folder.resolve().name}@{digest(str(folder.resolve()))[:8]}"
    with lock(out / ".lock"), Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("scoring", total=len(clips))
        write_jsonl(out / "clips.jsonl", [_clip_row(clip) for clip in clips])
        write_json(out / "metrics.json", [asdict(spec) for spec in specs])
        failed, _ = score_clips(clips, specs, out / "scores", True, lambda done, _: bars.update(task, completed=done))
    rows = {spec.id: {row["clip"]: row for row in read_jsonl(out / "scores" / f"{spec.id}.jsonl")} for spec in specs}
    console.print(_table(clips, specs, rows))
    _show_notes(clips, specs, rows, console)
    console.print(f"rows    {out}/scores", highlight=False, soft_wrap=True)
    return INCOMPLETE if failed else DONE


def find_clips(folder: Path, prompts: Path | None) -> list[Clip]:
    """Every video file under `folder`, by name; prompts from metadata, ground truth from its further columns."""
    from harness.data.folder import read_prompts

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder", "give a folder of video files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"{folder}: no video files in it", f"known: {', '.join(sorted(VIDEO_SUFFIXES))}")
    known = read_prompts(prompts or folder)
    clips = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        row = dict(known.get(name, {}))
        clips.append(Clip(name, path, file_digest(path), row.pop("prompt", None), None, row))
    return clips


def _ready_metrics(names: Sequence[str], console: Console) -> list[MetricSpec]:
    """The named metrics, or all that can run here; what is left out is said."""
    if names:
        return [metric_spec({"name": name}) for name in names]
    ready = []
    for name in registry.metrics.names():
        try:
            ready.append(metric_spec({"name": name}))
        except UserError as error:
            console.print(f"left out: {name}: {error.problem}", highlight=False, soft_wrap=True, markup=False)
    return ready


def _clip_row(clip: Clip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "prompt": clip.prompt,
        "file": str(clip.path),
        "sha256": clip.sha256,
        "meta": dict(clip.meta),
    }


def _table(clips: Sequence[Clip], specs: Sequence[MetricSpec], rows: dict[str, dict[str, Any]]) -> Table:
    from harness import stats

    table = Table(caption="mean with 95 % interval over clips; - not applicable, ! failed", caption_justify="left")
    table.add_column("clip", overflow="fold")
    for spec in specs:
        arrow = {True: " ↑", False: " ↓", None: ""}[spec.higher_is_better]
        family, _, short = spec.name.rpartition("/")
        table.add_column(f"{family}\n{short.replace('_', ' ')}{arrow}\n{spec.unit}", justify="right", overflow="fold")
    for clip in clips:
        table.add_row(clip.id, *(_cell(rows[spec.id].get(clip.id)) for spec in specs))
    table.add_section()
    means = []
    for spec in specs:
        values = [row["value"] for key, row in rows[spec.id].items() if row["value"] is not None]
        if spec.level == "set" or not values:
            means.append(_cell(rows[spec.id].get("*")))
            continue
        of = stats.estimate(values)
        interval = "" if math.isnan(of.low) else f"\n± {(of.high - of.low) / 2:.4f}"
        means.append(f"{of.mean:.4f}{interval}\nn = {len(values)}")
    table.add_row("[bold]mean[/]", *means)
    return table


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["error"]:
        return "[red]![/]"
    return "-" if row["value"] is None else f"{row['value']:.4f}"


def _show_notes(
    clips: Sequence[Clip], specs: Sequence[MetricSpec], rows: dict[str, dict[str, Any]], console: Console
) -> None:
    """Each failure once, by clip; each reason for not being applicable once, by metric."""
    for clip in clips:
        errors = {rows[spec.id][clip.id]["error"] for spec in specs if spec.level == "clip"} - {""}
        for error in sorted(errors):
            console.print(f"[red]failed[/]  {clip.id}: ", end="", highlight=False)
            console.print(error, highlight=False, soft_wrap=True, markup=False)
    for spec in specs:
        empty = [row for row in rows[spec.id].values() if row["value"] is None and not row["error"]]
        for note in sorted({row["note"] for row in empty}):
            count = sum(row["note"] == note for row in empty)
            text = f"{spec.name}: not applicable to {count} of {len(clips)} clips: {note or 'no reason given'}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
