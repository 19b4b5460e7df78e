"""`vbench`: the official prompts, the three totals, and the way to and from VBench's own result files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.api import ClipSpec
from harness.commands import DONE, INCOMPLETE
from harness.commands.imports import IMPORTED, Found, write_imported
from harness.config import validate
from harness.errors import UserError, did_you_mean
from harness.store import Json, RunDir, atomic, read_json, write_text


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation left in a folder, VBench's dimensions only."""

    clips: list[Json]
    rows: dict[str, list[Json]]  # by dimension
    configs: dict[str, Json]  # by dimension
    imported: Json | None


def read_evaluated(folder: Path) -> Evaluated:
    """The output of `evaluate`, of `vbench import`, or a finished cell of a run."""
    from metrics.vbench.aggregate import DIMENSIONS
    from metrics.vbench.summary import FAMILY

    run = RunDir(folder)
    source = next((folder / name for name in ("metrics.json", "cell.json") if (folder / name).is_file()), None)
    if source is None:
        raise UserError(f"{folder}: no evaluation in it", "give the folder that mutoscope evaluate names with its rows")
    specs = read_json(source)
    specs = specs["metrics"] if isinstance(specs, dict) else specs
    scores = run.scores()
    rows, configs = dict[str, list[Json]](), dict[str, Json]()
    for spec in specs:
        dimension = spec["name"].removeprefix(FAMILY)
        if dimension in DIMENSIONS and spec["name"].startswith(FAMILY):
            if dimension in rows:
                raise UserError(f"{folder}: {dimension} was evaluated in two ways", "evaluate one way into each folder")
            rows[dimension] = scores.get(f"{spec['name']}@{spec['fingerprint'][:8]}", [])
            configs[dimension] = spec["config"]
    if not rows:
        raise UserError(f"{folder}: no VBench dimension was evaluated", "mutoscope evaluate DIR --metrics vbench")
    imported = read_json(folder / IMPORTED) if (folder / IMPORTED).is_file() else None
    return Evaluated(run.clips(), rows, configs, imported)


# ---- totals ----------------------------------------------------------------------------------------------------


def show_totals(items: Sequence[str], percent: bool) -> int:
    """The sixteen scores, normalised ones and the three totals, of a folder, a result file or typed numbers."""
    from metrics.vbench.aggregate import DIMENSIONS, QUALITY, SEMANTIC, combine, normalised, quality, semantic

    scores, notes = _scores(items, percent)
    table = Table(caption="per cent, normalised as VBench does", caption_justify="left")
    table.add_column("dimension")
    table.add_column("score", justify="right")
    table.add_column("normalised", justify="right")
    for name in DIMENSIONS:
        known = name in scores
        shown = (f"{100 * scores[name]:.2f}", f"{100 * normalised(name, scores[name]):.2f}") if known else ("-", "-")
        table.add_row(name.replace("_", " "), *shown, end_section=name in (list(QUALITY)[-1], list(SEMANTIC)[-1]))
    groups = {}
    for title, group, formula in (("Quality", QUALITY, quality), ("Semantic", SEMANTIC, semantic)):
        if set(group) <= set(scores):
            groups[title] = formula(scores)
    if len(groups) == 2:
        groups["Total"] = combine(groups["Quality"], groups["Semantic"])
    for title in ("Quality", "Semantic", "Total"):
        table.add_row(f"[bold]{title}[/]", "", f"[bold]{100 * groups[title]:.2f}[/]" if title in groups else "-")
    console = Console()
    console.print(table)
    missing = [name for name in DIMENSIONS if name not in scores]
    if missing:
        notes = [*notes, f"{len(missing)} of {len(DIMENSIONS)} dimensions have no score"]
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True, markup=False)
    return DONE if "Total" in groups else INCOMPLETE


def _scores(items: Sequence[str], percent: bool) -> tuple[dict[str, float], list[str]]:
    """Scores by dimension as fractions, and what to say of those that are not there."""
    if len(items) == 1 and ("=" not in items[0] or Path(items[0]).exists()):
        return _scores_at(Path(items[0]))
    return _typed(items, percent), []


def _scores_at(path: Path) -> tuple[dict[str, float], list[str]]:
    from metrics.vbench.aggregate import dimension_score
    from metrics.vbench.imported import read_official

    if not path.exists():
        raise UserError(f"{path}: no such file or folder", "or type the scores: subject_consistency=0.95 ...")
    if path.is_file():
        found = read_official(path)
        return dict(found.scores), list(found.notes)
    evaluated = read_evaluated(path)
    if evaluated.imported is not None:
        notes = evaluated.imported["notes"]
        return dict(evaluated.imported["scores"]), [f"imported from {evaluated.imported['file']}", *notes]
    totals = {name: dimension_score(name, rows) for name, rows in evaluated.rows.items()}
    scores = {name: total.score for name, total in totals.items() if total.score is not None}
    return scores, [f"{name}: {total.note}" for name, total in totals.items() if total.score is None]


def _typed(items: Sequence[str], percent: bool) -> dict[str, float]:
    from metrics.vbench.aggregate import DIMENSIONS

    scores: dict[str, float] = {}
    for item in items:
        name, equals, text = item.partition("=")
        name = name.strip().lower().replace(" ", "_")
        if not equals:
            raise UserError(f'"{item}": expected a folder, a result file, or NAME=VALUE', "imaging_quality=0.71 ...")
        if name not in DIMENSIONS:
            raise UserError(f'VBench has no dimension "{name}"', did_you_mean(name, DIMENSIONS))
        if name in scores:
            raise UserError(f"{name} comes twice", "give each dimension once")
        try:
            scores[name] = float(text) / (100 if percent else 1)
        except ValueError:
            raise UserError(f'{name}: "{text}" is not a number', "for example imaging_quality=0.71") from None
        low = -1.0 if DIMENSIONS[name].signed else 0.0
        if not low <= scores[name] <= 1:
            remedy = "check the number" if percent else "scores are fractions; with --percent, per cent"
            raise UserError(f"{name}: {text} is out of range", remedy)
    return scores


# ---- to and from VBench ----------------------------------------------------------------------------------------


def export_folder(folder: Path, out: Path, name: str | None, zipped: bool, incomplete: bool) -> int:
    """Write `<name>_eval_results.json` and `<name>_full_info.json`, or the zip for the leaderboard."""
    from metrics.vbench.results import not_comparable, official_json, submission, to_official

    evaluated = read_evaluated(folder)
    if evaluated.imported is not None:
        raise UserError(f"{folder}: these scores were imported", f"give {evaluated.imported['file']} itself")
    official = to_official(evaluated.clips, evaluated.rows)
    name = name or folder.resolve().name
    console = Console()
    if zipped:
        reasons = not_comparable(official, evaluated.configs.values())
        if reasons and not incomplete:
            raise UserError(
                f"{folder}: not for VBench's leaderboard: {'; '.join(reasons)}",
                "evaluate all of its prompts with --mode standard, or pass --incomplete",
            )
        target = out if out.suffix == ".zip" else out / f"{name}.zip"
        with atomic(target) as temporary:
            temporary.write_bytes(submission(official, name))
        written = [target]
    else:
        written = [out / f"{name}_eval_results.json", out / f"{name}_full_info.json"]
        write_text(written[0], official_json(official.results))
        write_text(written[1], official_json(official.info))
    for dimension, reason in official.left_out.items():
        console.print(f"left out: {dimension}: {reason}", highlight=False, soft_wrap=True, markup=False)
    for path in written:
        console.print(f"wrote   {path}", highlight=False, soft_wrap=True, markup=False)
    return INCOMPLETE if official.left_out else DONE


def import_file(file: Path, out: Path) -> int:
    """VBench's result file or zip as a folder like `evaluate` leaves, marked as imported."""
    from metrics.vbench.aggregate import DIMENSIONS
    from metrics.vbench.imported import read_official
    from metrics.vbench.summary import FAMILY

    found = read_official(file)
    rows = {FAMILY + name: rows for name, rows in found.rows.items()}
    bounds = {FAMILY + name: (-1.0 if DIMENSIONS[name].signed else 0.0, 1.0) for name in found.rows}
    write_imported(file, out, Found(found.clips, rows, bounds, found.scores, found.notes))
    show_totals([str(out)], False)
    return DONE


# ---- prompts ---------------------------------------------------------------------------------------------------


def list_prompts(dimensions: Sequence[str], subset: str, out: Path | None) -> int:
    """The official prompts: to the terminal or .txt one a line, to .csv a row each, to .json a row for every sample."""
    from metrics.vbench.prompts import VBenchPrompts

    config = validate(VBenchPrompts.Config, {"subset": subset, "dimensions": tuple(dimensions)}, "prompts")
    rows = VBenchPrompts(config, ClipSpec()).rows()
    once = {row.prompt: row for row in rows}
    if out is None:
        for prompt in once:
            print(prompt)
        return DONE
    if out.suffix == ".json":
        text = json.dumps([{"prompt": row.prompt, **row.meta} for row in rows], indent=1, ensure_ascii=False) + "\n"
    elif out.suffix == ".csv":
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["prompt", "samples", "dimensions", "auxiliary_info"])
        for row in once.values():
            auxiliary = json.dumps(row.meta["auxiliary_info"], ensure_ascii=False)
            writer.writerow([row.prompt, row.meta["samples"], " ".join(row.meta["dimensions"]), auxiliary])
        text = table.getvalue()
    elif out.suffix == ".txt":
        text = "".join(f"{prompt}\n" for prompt in once)
    else:
        raise UserError(f"{out}: prompts cannot be written as {out.suffix or 'this'}", "use .json, .csv or .txt")
    write_text(out, text)
    Console().print(f"wrote   {out}: {len(once)} prompts, {len(rows)} clips", highlight=False, soft_wrap=True)
    return DONE
