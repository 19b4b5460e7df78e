"""The run directory: the source of truth. Atomic files, append-only JSONL, one writer at a time, `DONE` last."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import UserError

Json = dict[str, Any]


def dumps(obj: Any) -> str:
    """Compact JSON with non-finite numbers refused, so that what was written can be read anywhere."""
    return json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def _cannot_write(path: Path, error: OSError) -> UserError:
    remedy = "free some space" if error.errno == errno.ENOSPC else "check the folder and its permissions"
    return UserError(
        f"{path}: cannot be written: {error.strerror or error}", f"{remedy}, then run again: nothing is lost"
    )


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success fsync it and rename it to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """sha256 hex of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, obj: Any) -> None:
    """Atomic, indented, sorted as given, finite numbers only."""
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}", "delete the file and run again") from error


def append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and fsync. A torn last line, from a killed writer, is cut off by `read_jsonl(..., repair=True)`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(dumps(row) + "\n" for row in rows))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """The whole file at once, atomically."""
    write_text(path, "".join(dumps(row) + "\n" for row in rows))


def read_jsonl(path: Path, repair: bool = False) -> list[Json]:
    """Rows of a JSONL file, [] when absent. A torn last line is ignored, and removed from the file with `repair`."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    rows = []
    for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON: {error}", "delete the file and run again") from error
    if repair and len(whole) < len(data):
        with open(path, "rb+") as file:
            file.truncate(len(whole))
    return rows


@contextmanager
def lock(path: Path, timeout: float = 600.0) -> Iterator[None]:
    """Exclusive lock on `path` (a lock file beside the data); released by the system when the holder dies."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(path)
    try:
        guard.acquire(timeout=timeout)
    except Timeout:
        raise UserError(f"{path.parent} is in use by another process", "wait for it or stop it") from None
    try:
        yield
    finally:
        guard.release()


class RunDir:
    """The files of one cell, `runs/<suite>@<digest8>/<row>@<config8>/seed<k>`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def done(self) -> bool:
        return (self.path / "DONE").exists()

    def cell(self) -> Json:
        return read_json(self.path / "cell.json")

    def clips(self) -> list[Json]:
        return read_jsonl(self.path / "clips.jsonl")

    def scores(self) -> dict[str, list[Json]]:
        """Score rows by `name@fingerprint8`."""
        folder = self.path / "scores"
        files = sorted(folder.rglob("*.jsonl")) if folder.exists() else []
        return {str(file.relative_to(folder).with_suffix("")): read_jsonl(file) for file in files}

    def train_log(self) -> list[Json]:
        return read_jsonl(self.path / "train" / "metrics.jsonl")

    def timings(self) -> list[Json]:
        return read_jsonl(self.path / "timings.jsonl")

    def provenance(self) -> Json:
        return read_json(self.path / "provenance.json") if (self.path / "provenance.json").exists() else {}


def suite_dirs(root: Path) -> list[Path]:
    """Suites under a runs folder, newest first."""
    found = [path.parent for path in root.glob("*@*/suite.json")]
    return sorted(found, key=lambda path: (path / "suite.json").stat().st_mtime, reverse=True)


def run_dirs(suite_dir: Path) -> list[RunDir]:
    """Cells of a suite, by row then seed."""
    found = [path.parent for path in suite_dir.glob("*@*/seed*/cell.json")]
    return [RunDir(path) for path in sorted(found, key=lambda path: (path.parent.name, int(path.name[4:])))]
