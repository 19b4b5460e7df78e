"""`mutoscope evaluate DIR`: score any folder of clips."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from harness import registry
from harness.api import Clip
from harness.commands import DONE, INCOMPLETE
from harness.config import digest
from harness.errors import UserError
from harness.plugins import MetricSpec, metric_items, metric_spec, options_of
from harness.store import file_digest, lock, read_jsonl, write_json, write_jsonl

PLAIN_WIDTH = 120
WIDE = 6  # metrics that fit beside each other on a terminal
ARROWS = {True: " ↑", False: " ↓", None: ""}
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}


@dataclass(frozen=True)
class Request:
    """What the user asked of `evaluate`."""

    folder: Path
    metrics: Sequence[str]
    options: Mapping[str, Any]  # of the metrics: protocol, weights, device and the like
    prompts: Path | None
    out: Path | None
    shard: tuple[int, int] | None  # (2, 3): the second third of the clips
    runs: Path
    plugins: Sequence[str]


def evaluate_folder(request: Request) -> int:
    """Score, show a table, keep the rows. Returns the exit code."""
    from harness.evaluate import score_clips

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    for plugin in request.plugins:
        registry.load_plugin(plugin)
    specs = _metrics(request, console)
    clips = find_clips(request.folder, request.prompts, request.options.get("protocol") == "standard", console)
    whole = request.folder.resolve()
    out = request.out or request.runs / "evaluate" / f"{whole.name}@{digest(str(whole))[:8]}"
    shards = sorted((out / "shards").glob("*/scores")) if request.shard is None else []
    if request.shard:
        clips, out = _shard(clips, request.shard), out / "shards" / "{}-of-{}".format(*request.shard)
    with lock(out / ".lock"), Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("scoring", total=len(clips))
        for folder in (out, *(scores.parent for scores in shards)):
            _forget(folder, clips)
        write_jsonl(out / "clips.jsonl", [_clip_row(clip) for clip in clips])
        write_json(out / "metrics.json", [asdict(spec) for spec in specs])
        cache = request.runs / ".cache" / "extracts"
        failed, _ = score_clips(
            clips,
            specs,
            out / "scores",
            request.shard is None,
            lambda done, of: bars.update(task, completed=done, total=of),
            cache,
            shards,
        )
    rows = {spec.id: {row["clip"]: row for row in read_jsonl(out / "scores" / f"{spec.id}.jsonl")} for spec in specs}
    console.print(_table(clips, specs, rows))
    _show_notes(clips, specs, rows, console)
    console.print(f"rows    {out}/scores", highlight=False, soft_wrap=True)
    return INCOMPLETE if failed else DONE


def _forget(folder: Path, clips: Sequence[Clip]) -> None:
    """Drop the rows there of clips whose prompt or metadata is another now, or unknown: a row does not say what it was.

    With them go the clips that had the same prompt, which some metrics judge together, and what was said of the set.
    """
    before = {row["id"]: row for row in read_jsonl(folder / "clips.jsonl", repair=True)}
    now = {row["id"]: row for row in json.loads(json.dumps([_clip_row(clip) for clip in clips]))}
    changed = [key for key in before.keys() & now.keys() if _asked(before[key]) != _asked(now[key])]
    prompts = {before[key]["prompt"] for key in changed} - {None}
    sound = {key for key, row in before.items() if row["prompt"] not in prompts}.difference(changed)
    sound |= set() if changed else {"*"}
    for file in (folder / "scores").rglob("*.jsonl"):
        rows = read_jsonl(file, repair=True)
        if not {row["clip"] for row in rows} <= sound:
            write_jsonl(file, [row for row in rows if row["clip"] in sound])


def _asked(row: Mapping[str, Any]) -> list[Any]:
    return [row["prompt"], row["meta"]]


def _shard(clips: Sequence[Clip], shard: tuple[int, int]) -> list[Clip]:
    """Every n-th prompt's clips, so that samples of a prompt stay together."""
    from harness.evaluate import sample_groups

    number, of = shard
    return [clip for group in sample_groups(clips)[number - 1 :: of] for clip in group]


def find_clips(folder: Path, prompts: Path | None, standard: bool, console: Console) -> list[Clip]:
    """Every video file under `folder`, by name; prompts from metadata, ground truth from its further columns.

    Args:
        standard: without metadata, look for the files that VBench's own layout would have.
    """
    from harness.data.folder import read_prompts

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder", "give a folder of video files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"{folder}: no video files in it", f"known: {', '.join(sorted(VIDEO_SUFFIXES))}")
    known = read_prompts(prompts or folder)
    if standard and not known:
        from metrics.vbench.layout import survey

        found = survey(folder)
        for note in found.notes():
            console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
        return list(found.clips)
    clips = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        row = dict(known.get(name, {}))
        clips.append(Clip(name, path, file_digest(path), row.pop("prompt", None), None, row))
    if standard:
        from metrics.vbench.layout import by_prompt

        return by_prompt(clips)
    return clips


def _metrics(request: Request, console: Console) -> list[MetricSpec]:
    """The named metrics and families, or all that can run here; what is left out is said, once a reason."""
    names, broken = (request.metrics, {}) if request.metrics else registry.metrics.importable()
    for key in request.options:
        if not any(key in options_of(name) for name in names):
            raise UserError(f'none of these metrics has an option "{key}"', "see mutoscope describe METRIC")
    fitting = [{key: value for key, value in request.options.items() if key in options_of(name)} for name in names]
    items, excluded = metric_items({"name": name} | options for name, options in zip(names, fitting, strict=True))
    left_out: dict[str, list[str]] = {}
    for name, reason in (broken | excluded).items():
        left_out.setdefault(reason, []).append(name)
    specs = []
    for item in items:
        try:
            specs.append(metric_spec(item))
        except UserError as error:
            if request.metrics:
                raise
            left_out.setdefault(f"{error.problem}; {error.remedy}", []).append(item["name"])
    for reason, left in left_out.items():
        console.print(f"left out: {', '.join(left)}: {reason}", highlight=False, soft_wrap=True, markup=False)
    for warning in {spec.warning: None for spec in specs if spec.warning}:
        about = ", ".join(spec.name for spec in specs if spec.warning == warning)
        console.print(f"note: {about}: {warning}", highlight=False, soft_wrap=True, markup=False)
    return specs


def _clip_row(clip: Clip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "prompt": clip.prompt,
        "file": str(clip.path),
        "sha256": clip.sha256,
        "meta": dict(clip.meta),
    }


def _table(clips: Sequence[Clip], specs: Sequence[MetricSpec], rows: dict[str, dict[str, Any]]) -> Table:
    """A line a clip while the metrics fit beside each other, a line a metric when they do not."""
    if len(specs) > WIDE:
        return _by_metric(specs, rows)
    table = Table(caption="mean with 95 % interval over clips; - not applicable, ! failed", caption_justify="left")
    table.add_column("clip", overflow="fold")
    for spec in specs:
        family, _, short = spec.name.rpartition("/")
        head = f"{family}\n{short.replace('_', ' ')}{ARROWS[spec.higher_is_better]}\n{spec.unit}"
        table.add_column(head, justify="right", overflow="fold")
    for clip in clips:
        table.add_row(escape(clip.id), *(_cell(rows[spec.id].get(clip.id)) for spec in specs))
    table.add_section()
    table.add_row("[bold]mean[/]", *("\n".join(filter(None, _mean(rows[spec.id], spec))) for spec in specs))
    return table


def _by_metric(specs: Sequence[MetricSpec], rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(caption="mean with 95 % interval over clips", caption_justify="left")
    for name in ("metric", "mean", "interval", "scored", "not applicable", "failed"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for spec in specs:
        mean, interval, count = _mean(rows[spec.id], spec)
        empty = [row for row in rows[spec.id].values() if row["value"] is None]
        failed = sum(bool(row["error"]) for row in empty)
        name = f"{spec.name}{ARROWS[spec.higher_is_better]} {spec.unit}"
        table.add_row(name, mean, interval, count, str(len(empty) - failed), f"[red]{failed}[/]" if failed else "0")
    return table


def _mean(rows: Mapping[str, Any], spec: MetricSpec) -> tuple[str, str, str]:
    """Mean, half-width of its interval and count, as text; what a metric says of the whole set stands alone."""
    from harness import stats

    values = [row["value"] for row in rows.values() if row["value"] is not None]
    if not spec.per_clip or not values:
        return _cell(rows.get("*")), "", ""
    of = stats.estimate(values)
    interval = "" if math.isnan(of.low) else f"± {(of.high - of.low) / 2:.4f}"
    return f"{of.mean:.4f}", interval, f"n = {len(values)}"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["error"]:
        return "[red]![/]"
    return "-" if row["value"] is None else f"{row['value']:.4f}"


def _show_notes(
    clips: Sequence[Clip], specs: Sequence[MetricSpec], rows: dict[str, dict[str, Any]], console: Console
) -> None:
    """Each failure once, by clip, or by metric if it is of the whole set; each reason for not being applicable once."""
    for clip in clips:
        errors = {rows[spec.id][clip.id]["error"] for spec in specs if clip.id in rows[spec.id]} - {""}
        for error in sorted(errors):
            console.print(f"[red]failed[/]  {escape(clip.id)}: ", end="", highlight=False)
            console.print(error, highlight=False, soft_wrap=True, markup=False)
    for spec in specs:
        whole = rows[spec.id].get("*")
        if whole and whole["error"]:
            console.print(f"[red]failed[/]  {spec.name}: ", end="", highlight=False)
            console.print(whole["error"], highlight=False, soft_wrap=True, markup=False)
        if whole and whole["note"] and whole["value"] is not None:
            console.print(f"{spec.name}: {whole['note']}", highlight=False, soft_wrap=True, markup=False)
        empty = [row for row in rows[spec.id].values() if row["value"] is None and not row["error"]]
        for note in sorted({row["note"] for row in empty}):
            count = sum(row["note"] == note for row in empty)
            text = f"{spec.name}: not applicable to {count} of {len(clips)} clips: {note or 'no reason given'}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
