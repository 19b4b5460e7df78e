"""Mutoscope's cache folder, and digests of large files, remembered: a plan must not read gigabytes."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from harness.errors import UserError
from harness.store import file_digest, write_text

REMEMBERED = 16 * 2**20  # bytes; smaller files are read again by every process
ENTRIES = 4096  # the newest that are remembered
SETTLED = 2.0  # seconds; a file changed more recently may change again without its times showing it

Stamp = tuple[int, ...]

_seen: dict[str, tuple[Stamp, str]] = {}


def cache_folder() -> Path:
    """What can be made or fetched again: `$MUTOSCOPE_CACHE`, else `mutoscope` in the user's cache folder."""
    if own := os.environ.get("MUTOSCOPE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mutoscope"


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read again when its size, times or inode changed since the last time.

    Raises:
        UserError: it cannot be read.
    """
    if found := known_sha256(path):
        return found
    try:
        stamp = _stamp(path)
        digest = file_digest(path)
        if stamp == _stamp(path) and stamp[2] < (time.time() - SETTLED) * 1e9:
            _remember(path, stamp, digest)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    return digest


def known_sha256(path: Path) -> str | None:
    """The digest as remembered, None where only reading would tell."""
    try:
        stamp, key = _stamp(path), str(path.resolve())
    except OSError:
        return None
    if stamp[0] >= REMEMBERED and _seen.get(key, (None,))[0] != stamp:
        _seen.update(_load())
    held, digest = _seen.get(key, (None, ""))
    return digest if held == stamp else None


def _stamp(path: Path) -> Stamp:
    """Size, times of modification and change, inode: no write leaves all as they were."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _memo() -> Path:
    return cache_folder() / "digests.json"


def _load() -> dict[str, tuple[Stamp, str]]:
    try:
        rows = json.loads(_memo().read_text(encoding="utf-8"))
        return {path: (tuple(stamp), digest) for path, (stamp, digest) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # a memo that cannot be read costs a reading of the files, nothing else


def _remember(path: Path, stamp: Stamp, digest: str) -> None:
    key = str(path.resolve())
    _seen.pop(key, None)
    _seen[key] = stamp, digest
    if stamp[0] < REMEMBERED:
        return
    rows = _load()
    rows.pop(key, None)
    rows[key] = stamp, digest
    with suppress(UserError):  # a cache that cannot be written costs a reading next time
        write_text(_memo(), json.dumps(dict(list(rows.items())[-ENTRIES:])))
