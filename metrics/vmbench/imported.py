"""VMBench's own results.json as score rows; averages are made of the file's clips, not of its scores.csv."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from harness.api import ScoreRow, UserError
from metrics.vmbench.measures import FAMILY, KEYS, PER_CENT, SPELLINGS, mean, mean_of_five

EVERY = 1050  # clips of the published protocol


@dataclass(frozen=True)
class Imported:
    """An official result file in our terms."""

    clips: tuple[dict[str, Any], ...]  # rows of clips.jsonl; without digests, since the files are not here
    rows: Mapping[str, list[ScoreRow]]  # by metric
    averages: Mapping[str, float]  # of each measure that is there and, if all five are, "mean"; in per cent
    notes: tuple[str, ...]


def read_results(path: Path) -> Imported:
    """A results.json. UserError: it is not one, or a clip comes twice."""
    entries = _entries(path)
    names = [_name(path, number, entry) for number, entry in enumerate(entries, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: clip {twice[0]} comes more than once", "each counts once: remove the others")
    clips = tuple(_clip(name, entry) for name, entry in zip(names, entries, strict=True))
    rows = {
        FAMILY + measure: [_row(path, name, entry, measure) for name, entry in zip(names, entries, strict=True)]
        for measure in KEYS
    }
    values = {name: [row["value"] for row in rows[FAMILY + name] if row["value"] is not None] for name in KEYS}
    means = {name: mean(found) for name, found in values.items() if found}
    averages = {name: PER_CENT * value for name, value in means.items()}
    if len(means) == len(KEYS) and all(len(found) == len(entries) for found in values.values()):
        averages["mean"] = PER_CENT * mean_of_five(means)
    return Imported(clips, rows, averages, _notes(entries, values))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}", "give the results.json of VMBench's evaluate.sh") from error
    if not (isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content)):
        raise UserError(f"{path}: not a list of clips", "give the results.json of VMBench's evaluate.sh")
    return content


def _name(path: Path, number: int, entry: Mapping[str, Any]) -> str:
    name = entry.get("index") or PurePath(str(entry.get("filepath", ""))).stem
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: entry {number}: no index", "give the results.json of VMBench's evaluate.sh")
    return name


def _clip(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    meta = {key: entry[key] for key in ("subject", "subject_noun", "place", "action") if key in entry}
    return {"id": name, "prompt": entry.get("prompt"), "file": entry.get("filepath", ""), "sha256": "", "meta": meta}


def _row(path: Path, name: str, entry: Mapping[str, Any], measure: str) -> ScoreRow:
    value = next((entry[key] for key in SPELLINGS[measure] if key in entry), None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise UserError(
            f"{path}: {name}: {KEYS[measure]}: {value!r:.60} is no number", "give the file that VMBench wrote"
        )
    problem = "" if value is not None else "not in the file"
    if value is not None and not math.isfinite(value):
        value, problem = None, f"{value} in the file"
    return {"clip": name, "sha256": "", "value": value, "parts": {}, "note": "", "error": problem}


def _notes(entries: list[dict[str, Any]], values: Mapping[str, list[float]]) -> tuple[str, ...]:
    notes = [
        f"{name}: {len(found)} of {len(entries)} clips" for name, found in values.items() if len(found) < len(entries)
    ]
    if len(entries) < EVERY:
        notes.append(f"{len(entries)} of VMBench's {EVERY} clips: not comparable with its table")
    return tuple(notes)
