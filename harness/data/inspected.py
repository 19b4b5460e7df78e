"""What clip files hold: each is decoded once, and remembered in the user's cache folder until it changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness import video
from harness.errors import UserError
from harness.features import sha256_file
from harness.store import read_json, write_json

VERSION = 1  # raise when the decoder judges files differently


@dataclass(frozen=True)
class Inspected:
    """A file's digest and true frame count, size and rate; `info` is None when `problem` says why it is unusable."""

    sha256: str
    info: video.Info | None
    problem: str = ""


def inspect_clips(folder: Path, names: Sequence[str]) -> dict[str, Inspected]:
    """Decode the named files of a folder to their end, except those known from last time (same size and time)."""
    memory = _memory(folder)
    known = _load(memory)
    fresh = {name: _entry(folder / name, known.get(name)) for name in names}
    if fresh != {name: known.get(name) for name in names}:
        with suppress(UserError, OSError):  # a cache that cannot be written only costs the next run a decode
            write_json(memory, {"version": VERSION, "clips": {**known, **fresh}})
    return {name: _inspected(entry) for name, entry in fresh.items()}


def _memory(folder: Path) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "mutoscope" / "clips" / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"


def _load(memory: Path) -> dict[str, Any]:
    if not memory.exists():
        return {}
    with suppress(UserError):  # damaged: everything is decoded again
        stored = read_json(memory)
        if isinstance(stored, dict) and stored.get("version") == VERSION:
            return dict(stored["clips"])
    return {}


def _entry(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    """The JSON form of what a file holds, `known` if the file has not changed."""
    try:
        stat = path.stat()
    except OSError:
        return {"stamp": None, "sha256": "", "info": None, "problem": "no such file"}
    stamp = [stat.st_size, stat.st_mtime_ns]
    if known and known.get("stamp") == stamp:
        return known
    entry: dict[str, Any] = {"stamp": stamp, "sha256": sha256_file(path), "info": None, "problem": ""}
    try:
        entry["info"] = asdict(video.check(path))
    except video.DamagedVideo as error:
        entry["problem"] = f"damaged video: {error.reason}"
    except UserError as error:
        entry["problem"] = error.problem
    return entry


def _inspected(entry: dict[str, Any]) -> Inspected:
    info = entry["info"]
    return Inspected(entry["sha256"], info and video.Info(**info), entry["problem"])
