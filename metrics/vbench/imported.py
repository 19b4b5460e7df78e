"""VBench's own result files, or a submission zip, as score rows. Their bare NaN becomes a named missing value."""

from __future__ import annotations

import json
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api import ScoreRow, UserError
from harness.errors import did_you_mean
from metrics.vbench.aggregate import DIMENSIONS, dimension_score
from metrics.vbench.layout import SUFFIXES, clip_name
from metrics.vbench.prompts import Entry, official_prompts, sample_count, sample_meta
from metrics.vbench.results import BOOLEAN, PER_CENT, Json

LARGEST = 2**30  # bytes of JSON in a zip; a full evaluation has about 10 MB
SLACK = 1e-6  # float32 cosines may pass 1 by that much
AGREES = 1e-6  # file's score against the mean of its videos
NAN = "NaN in the imported file"
PARTS = {  # what VBench writes beside a value that says how the video is weighted
    "cnt_per_video": "pairs",
    "frame_count": "frames",
    "frame_results": "frames",
}


@dataclass(frozen=True)
class Imported:
    """An official result file in our terms."""

    scores: Mapping[str, float]  # by dimension, as the file states them
    clips: tuple[Json, ...]  # rows of clips.jsonl; without digests, since the files are not here
    rows: Mapping[str, list[ScoreRow]]
    notes: tuple[str, ...]


def read_official(path: Path) -> Imported:
    """A `*_eval_results.json` or a zip of some. UserError naming what is not as VBench writes it."""
    documents = list(_zipped(path)) if zipfile.is_zipfile(path) else [(str(path), _parse(str(path), _text(path)))]
    found = [(where, content) for where, content in documents if isinstance(content, dict)]
    if not found:
        raise UserError(f"{path}: no VBench results in it", "give a *_eval_results.json or a zip of them")
    tables: dict[str, tuple[str, Any]] = {}
    for where, content in found:
        for dimension, table in content.items():
            if dimension not in DIMENSIONS:
                raise UserError(f'{where}: VBench has no dimension "{dimension}"', did_you_mean(dimension, DIMENSIONS))
            if dimension in tables:
                raise UserError(f"{dimension} is in {tables[dimension][0]} and in {where}", "remove one of them")
            tables[dimension] = where, table
    lists = [content for _, content in documents if isinstance(content, list)]
    return _gather({name: _table(name, *tables[name]) for name in DIMENSIONS if name in tables}, _prompts_in(lists))


# ---- reading ---------------------------------------------------------------------------------------------------


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "check the path") from error


def _zipped(path: Path) -> Iterator[tuple[str, Any]]:
    """Its JSON files, as the leaderboard reads them: hidden ones and folders `__...` are passed over."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [
                entry
                for entry in sorted(archive.infolist(), key=lambda entry: entry.filename)
                if entry.filename.endswith(".json")
                and not any(part.startswith((".", "__")) for part in entry.filename.split("/") if part != ".")
            ]
            if sum(entry.file_size for entry in entries) > LARGEST:
                raise UserError(f"{path}: unpacks to more than any VBench result", "is it the right file?")
            for entry in entries:
                where = f"{path}: {entry.filename}"
                yield where, _parse(where, archive.read(entry))
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable zip: {error}", "pack it again") from error


def _parse(where: str, text: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> Json:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise UserError(f'{where}: "{twice[0]}" comes twice', "remove one")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}", "give the file that VBench wrote") from error


# ---- checking --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A dimension's part of a result file: the score, and (path, value, parts) of its videos."""

    score: float | None
    videos: tuple[tuple[str, float | None, dict[str, float]], ...]


def _table(dimension: str, where: str, table: Any) -> _Table:
    where = f"{where}: {dimension}"
    if not (isinstance(table, list) and len(table) == 2 and isinstance(table[1], list)):
        raise UserError(f"{where}: not [score, [videos]]", "give the file that VBench wrote")
    score = _number(f"{where}: score", dimension, table[0], 1.0)
    videos = []
    for number, item in enumerate(table[1], 1):
        spot = f"{where}: video {number}"
        if not (isinstance(item, dict) and isinstance(item.get("video_path"), str) and item["video_path"]):
            raise UserError(f"{spot}: no video_path", "give the file that VBench wrote")
        whole = 100.0 if dimension in PER_CENT else 1.0
        value = _number(f"{spot}: video_results", dimension, item.get("video_results"), whole)
        videos.append((item["video_path"], None if value is None else value / whole, _parts(item)))
    paths = Counter(path for path, _, _ in videos)
    twice = [path for path, count in paths.items() if count > 1]
    if twice:
        raise UserError(
            f"{where}: {twice[0]} comes {paths[twice[0]]} times", "each video counts once: remove the others"
        )
    return _Table(score, tuple(videos))


def _number(where: str, dimension: str, value: Any, whole: float) -> float | None:
    """A number of the dimension's range, `whole` being the best; None for NaN."""
    allowed = (bool, int, float) if dimension in BOOLEAN else (int, float)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise UserError(f"{where}: {value!r:.60} is no number", "give the file that VBench wrote")
    number = float(value)
    if math.isnan(number):
        return None
    low = -1.0 if DIMENSIONS[dimension].signed else 0.0
    if not low - SLACK <= number / whole <= 1.0 + SLACK:
        raise UserError(f"{where}: {number:g} is not between {low * whole:g} and {whole:g}", "is it on another scale?")
    return number


def _parts(item: Json) -> dict[str, float]:
    """How many frames or frame pairs a value is the mean of, where VBench says so."""
    parts = {}
    for key, name in PARTS.items():
        count = item.get(key)
        count = len(count) if isinstance(count, list) else count
        if isinstance(count, (int, float)) and not isinstance(count, bool) and 0 < count < math.inf:
            parts[name] = float(count)
    return parts


# ---- in our terms ----------------------------------------------------------------------------------------------


def _prompts_in(lists: Sequence[list[Any]]) -> dict[str, str]:
    """Prompts by video path, from `<name>_full_info.json` files."""
    found = {}
    for item in (item for content in lists for item in content if isinstance(item, dict)):
        videos = item.get("video_list")
        for path in videos if isinstance(videos, list) else [videos]:
            if isinstance(path, str) and isinstance(item.get("prompt_en"), str):
                found[path] = item["prompt_en"]
    return found


def _official_clips() -> dict[str, tuple[Entry, int]]:
    """Every official file name without its suffix: names are made and compared, not taken apart."""
    return {
        clip_name(entry.prompt, sample, ""): (entry, sample)
        for entry in official_prompts()
        for sample in range(sample_count(entry))
    }


def _gather(tables: Mapping[str, _Table], prompts: Mapping[str, str]) -> Imported:
    paths = list(dict.fromkeys(path for table in tables.values() for path, _, _ in table.videos))
    base = {path: re.split(r"[/\\]", path)[-1] for path in paths}
    shared = Counter(base.values())
    ids = {path: base[path] if shared[base[path]] == 1 else path for path in paths}
    official = _official_clips()
    rows = {
        name: [_row(ids[path], value, parts) for path, value, parts in table.videos] for name, table in tables.items()
    }
    clips = tuple(_clip(ids[path], path, prompts.get(path), _named(official, base[path])) for path in paths)
    scores = {name: table.score for name, table in tables.items() if table.score is not None}
    notes = tuple(note for name, table in tables.items() if (note := _note(name, table, rows[name])))
    return Imported(scores, clips, rows, notes)


def _named(official: Mapping[str, tuple[Entry, int]], name: str) -> tuple[Entry, int] | None:
    return next((official[stem] for suffix in SUFFIXES if (stem := name.removesuffix(suffix)) in official), None)


def _clip(clip: str, path: str, prompt: str | None, official: tuple[Entry, int] | None) -> Json:
    meta = sample_meta(official[0], official[1], sample_count(official[0])) if official else {}
    return {
        "id": clip, "prompt": official[0].prompt if official else prompt, "file": path, "sha256": "", "meta": meta,
    }  # fmt: skip


def _row(clip: str, value: float | None, parts: dict[str, float]) -> ScoreRow:
    note = NAN if value is None else ""
    return {"clip": clip, "sha256": "", "value": value, "parts": parts, "note": note, "error": ""}


def _note(dimension: str, table: _Table, rows: Sequence[ScoreRow]) -> str:
    """What is odd about a dimension: NaN, or a score that is not the mean of its videos."""
    missing = sum(row["value"] is None for row in rows)
    if table.score is None:
        return f"{dimension}: the file's score is NaN; of its {len(rows)} videos {missing} have none either"
    if missing:
        return f"{dimension}: {missing} of {len(rows)} videos have no score (NaN)"
    weighted = DIMENSIONS[dimension].frames
    if not rows or (weighted and any(weighted not in row["parts"] for row in rows)):
        return ""
    score = dimension_score(dimension, rows).score
    if score is None or abs(score - table.score) <= AGREES:
        return ""
    return f"{dimension}: the file says {table.score:.6f}, its videos give {score:.6f} (more than one GPU does that)"
