"""Bringing files to their shelf: from the hub, an address, an archive, or a folder that has them already.

Bytes are collected in `.NAME.part` beside the target, which appears by renaming once its size and digest are right.
One process at a time; an interrupted one is gone on with. No shell, no archive unpacked by its own paths.
"""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import UserError
from harness.store import file_digest, sync_folder
from harness.transfer import (
    CHUNK,
    PASSING,
    TIMEOUT,
    Link,
    PassingError,
    SourceError,
    Tell,
    discard,
    disk,
    download,
    persist,
    unreachable,
)
from harness.weights import SHA256, Entry, Held, Shelf, Source

MARGIN = 64 * 2**20  # bytes of the disk that are left alone

Say = Callable[[str], None]
Index = Mapping[str, Sequence[Path]]  # file name -> where it is


@dataclass(frozen=True)
class Wanted:
    """A file, and what must be true of it."""

    path: Path
    size: int | None
    sha256: str | None

    @property
    def part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def archive(self) -> Path:
        return self.path.with_name(f".{self.path.name}.archive.part")


def offline() -> str:
    """The variable that forbids the network, "" if none does."""
    names = ("MUTOSCOPE_OFFLINE", "HF_HUB_OFFLINE")
    return next((name for name in names if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}), "")


def right(shelf: Shelf, entry: Entry) -> bool:
    """The file is there and is the one it is held to."""
    return shelf.path(entry).is_file() and not shelf.mismatch(entry)


def room(folder: Path, size: int) -> None:
    """UserError if the disk of `folder`, which need not exist yet, cannot take `size` more bytes."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if size + MARGIN > free:
        raise UserError(
            f"{folder}: {size / 1e9:.2f} GB to come, {free / 1e9:.2f} GB free",
            "free some space, or choose another folder with --dir",
        )


def fetch(shelf: Shelf, entry: Entry, tell: Tell, say: Say) -> str:
    """Bring one file to its shelf, from the first source that has it.

    Args:
        tell: how many bytes are there, again and again.
        say: what is worth a line: that another process is at it, that a source failed.

    Returns:
        Where it came from; "" if it was there.

    Raises:
        SourceError: no source has it.
        UserError: this machine cannot take it, or is offline.
    """
    with disk(shelf.path(entry)), _alone(shelf, entry, say):
        if right(shelf, entry):
            return ""
        if offline():
            raise UserError(f"{shelf.path(entry)} is missing, and {offline()} is set", "unset it, or give --from DIR")
        if shelf.path(entry).exists():
            say(f"{entry.file}: not the published file; once that is here, this one is kept as .old")
        for source in entry.sources:
            try:
                stated = _get(source, _wanted(shelf, entry), tell)
            except SourceError as error:
                say(f"{source}: {error}")
                continue
            _pin(shelf, entry, stated)
            return str(source)
    raise SourceError(f"{entry.file}: none of its sources serves it")


def find_files(folder: Path) -> Index:
    """All files below a folder by name."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder", "give the folder that has the files")
    found: dict[str, list[Path]] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            found.setdefault(name, []).append(Path(root, name))
    return found


def adopt(shelf: Shelf, entry: Entry, index: Index, say: Say) -> Path | None:
    """Take a file that somebody has already: hard-linked where the disk allows, otherwise copied; None if none fits."""
    wanted = _wanted(shelf, entry)
    with disk(wanted.path), _alone(shelf, entry, say):
        for candidate in index.get(wanted.path.name, ()):
            if not candidate.exists() or wanted.size not in (None, candidate.stat().st_size):
                continue
            discard(wanted.part)
            _link(candidate.resolve(), wanted.part)
            try:
                _settle(wanted)
            except SourceError as error:
                say(f"{candidate}: {error}")
                continue
            _pin(shelf, entry, None)
            return candidate
    return None


def _wanted(shelf: Shelf, entry: Entry) -> Wanted:
    held = shelf.held(entry)
    return Wanted(shelf.path(entry), entry.size, held.sha256 if held else None)


def _get(source: Source, wanted: Wanted, tell: Tell) -> str | None:
    """Bring the file; the digest that the hub states for it, if it does."""
    link = persist(lambda: locate(source))
    stated = link.tag if SHA256.fullmatch(link.tag) else None
    if source.member:
        download(lambda: link, wanted.archive, None, tell)
        _extract(wanted, source.member)
    else:
        if None not in (wanted.sha256, stated) and stated != wanted.sha256:
            raise SourceError(f"it has another file now: sha256 {stated}, expected {wanted.sha256}")
        wanted = Wanted(wanted.path, wanted.size or link.size, wanted.sha256 or stated)
        room(wanted.path.parent, (wanted.size or 0) - (wanted.part.stat().st_size if wanted.part.exists() else 0))
        resumed = wanted.part.exists()
        download(lambda: locate(source), wanted.part, wanted.size, tell)
        if resumed and wanted.sha256 and file_digest(wanted.part) != wanted.sha256:
            discard(wanted.part)  # what an earlier run left was no good beginning
            download(lambda: locate(source), wanted.part, wanted.size, tell)
    _settle(wanted)
    return stated


def locate(source: Source) -> Link:
    """Where a source's bytes are now; the hub is asked, with the user's token and endpoint.

    Raises:
        SourceError: it does not have the file.
        PassingError: it does not answer.
    """
    if source.url:
        return Link(source.url)
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import build_hf_headers

    repository, kind = source.repository
    address = hf_hub_url(repository, source.file or "", repo_type=kind, revision=source.revision)
    try:
        found = get_hf_file_metadata(address, timeout=TIMEOUT)
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = f"{status}, {str(error).strip().splitlines()[-1]}"
        raise (PassingError(why) if status in PASSING else SourceError(why)) from error
    except (HTTPError, OSError) as error:
        raise unreachable(error) from error
    # The token is for the hub alone, not for the store that it sends us to.
    own = urlsplit(found.location).netloc == urlsplit(address).netloc
    return Link(found.location, build_hf_headers() if own else {}, found.size, found.etag or "")


def _extract(wanted: Wanted, member: str) -> None:
    """One member of the archive to the part, by its exact name; nothing is written by a path of the archive's."""
    try:
        with zipfile.ZipFile(wanted.archive) as archive:
            info = archive.getinfo(member)
            if wanted.size not in (None, info.file_size):
                raise SourceError(f"its {member} has {info.file_size} bytes instead of {wanted.size}")
            room(wanted.path.parent, info.file_size)
            with archive.open(info) as inside, open(wanted.part, "wb") as out:
                shutil.copyfileobj(inside, out, CHUNK)
    except KeyError as error:
        raise SourceError(f"the archive has no {member}") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise SourceError(f"the archive is damaged: {error}") from error
    finally:
        discard(wanted.archive)


def _settle(wanted: Wanted) -> None:
    """Rename the part to its target if it is what it should be, otherwise remove it. An older file is kept as .old."""
    size, digest = wanted.part.stat().st_size, file_digest(wanted.part)
    if wanted.size not in (None, size) or wanted.sha256 not in (None, digest):
        discard(wanted.part)
        raise SourceError(f"another file: {size} bytes, sha256 {digest}, expected {wanted.sha256 or wanted.size}")
    with open(wanted.part, "rb") as file:
        os.fsync(file.fileno())
    if wanted.path.exists():
        os.replace(wanted.path, wanted.path.with_name(f"{wanted.path.name}.old"))
    os.replace(wanted.part, wanted.path)
    sync_folder(wanted.path.parent)
    discard(wanted.part)


def _pin(shelf: Shelf, entry: Entry, stated: str | None) -> None:
    """Hold a file whose digest nobody has published to what it is now."""
    if shelf.held(entry) is None:
        digest = stated or file_digest(shelf.path(entry))
        shelf.pin(entry, Held(digest, "hub" if stated else "first fetch"))


def _link(origin: Path, part: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, part)
    except OSError:  # another disk, or one without hard links
        room(part.parent, origin.stat().st_size)
        shutil.copyfile(origin, part)


@contextmanager
def _alone(shelf: Shelf, entry: Entry, say: Say) -> Iterator[None]:
    """One process at a time; the system releases the lock of one that died."""
    from filelock import FileLock, Timeout

    path = shelf.folder / ".locks" / f"{entry.file.replace('/', '--')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(path)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        say(f"{entry.file}: waiting for another process that is at it")
        guard.acquire()
    try:
        yield
    finally:
        guard.release()
