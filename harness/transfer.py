"""Bytes of one address into a file, going on where an earlier attempt, or a killed process, stopped.

A part holds the beginning of exactly one version of a file; `PART.json` beside it says which.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.errors import UserError
from harness.store import write_text

CHUNK = 2**20  # bytes
TIMEOUT = 30.0  # seconds without an answer
ATTEMPTS = 5  # in a row that bring no new byte
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one
LONGEST_PAUSE = 60.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP statuses worth another attempt

T = TypeVar("T")
Tell = Callable[[int, int | None], None]  # bytes there, bytes in all


class SourceError(Exception):
    """This source does not serve the file; another one may."""


class PassingError(Exception):
    """Trouble that another attempt may not meet, after `wait` seconds if the server said so."""

    def __init__(self, why: object, wait: float = 0.0) -> None:
        super().__init__(str(why) or type(why).__name__)
        self.wait = wait


@dataclass(frozen=True)
class Link:
    """Where the bytes are now, and what their source says of them."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    tag: str = ""  # names the content whatever server sends it, e.g. its digest; "" if only the server can tell


def persist(attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """What `attempt` returns; after passing trouble it is made again, until `ATTEMPTS` in a row brought no progress.

    Raises:
        SourceError: the last trouble.
    """
    failures, before = 0, progress()
    while True:
        try:
            return attempt()
        except PassingError as trouble:
            now = progress()
            failures = 1 if now > before else failures + 1
            before = now
            if failures >= ATTEMPTS:
                raise SourceError(f"{trouble}, {ATTEMPTS} times in a row") from trouble
            time.sleep(min(max(trouble.wait, PAUSE * 2 ** (failures - 1)), LONGEST_PAUSE))


def download(find: Callable[[], Link], part: Path, size: int | None, tell: Tell) -> None:
    """All bytes into `part`.

    Args:
        find: asked before every attempt, since signed addresses run out.
        size: bytes in all, if known; a source that announces another number is refused at once.

    Raises:
        SourceError: the source cannot be reached, or refuses.
        UserError: the disk is full, or not writable.
    """
    with disk(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        persist(lambda: _attempt(find(), part, size, tell), lambda: _length(part))


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """What the disk refuses inside becomes a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be written: {error.strerror or error}",
            "free some space or check the folder, then run again: it goes on where it stopped",
        ) from error


def discard(part: Path) -> None:
    """Forget what is there."""
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _attempt(link: Link, part: Path, size: int | None, tell: Tell) -> None:
    have, condition = _beginning(link, part)
    if have and have == size:
        return
    headers = {"User-Agent": "mutoscope", **link.headers, "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": condition} if condition else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(link.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # the part was whole
        if error.code == 416:
            discard(part)
        raise _refusal(error) from error
    except (http.client.HTTPException, OSError) as error:
        raise unreachable(error) from error
    with response:
        start = have if response.status == 206 else 0
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            discard(part)
            raise PassingError("the server sent another range than it was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else size
        if size is not None and total != size:
            raise SourceError(f"it serves another file: {total} bytes instead of {size}")
        if not start:
            _begin(link, part, response.headers)
        _copy(response, part, start, total, tell)


def _beginning(link: Link, part: Path) -> tuple[int, str]:
    """(bytes that can be kept, what the server must confirm of them); a part of another version is discarded."""
    have = _length(part)
    try:
        mark = json.loads(_mark(part).read_text(encoding="utf-8"))
        same = mark["tag"] == link.tag if link.tag else mark["url"] == link.url and bool(mark["validator"])
        condition = "" if link.tag else mark["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        same, condition = False, ""
    if have and not same:
        discard(part)
        return 0, ""
    return have, condition


def _begin(link: Link, part: Path, headers: Mapping[str, str]) -> None:
    """Start from nothing. The mark comes when no older part is left that it could be taken for."""
    discard(part)
    etag = headers.get("ETag", "")
    validator = headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    write_text(_mark(part), json.dumps({"url": link.url, "tag": link.tag, "validator": validator}))


def _copy(response: http.client.HTTPResponse, part: Path, start: int, total: int | None, tell: Tell) -> None:
    done = start
    with open(part, "ab" if start else "wb") as out:
        while data := _read(response):
            out.write(data)
            done += len(data)
            tell(done, total)
    if total is not None and done < total:
        raise PassingError(f"the connection ended after {done} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise PassingError(error) from error


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """What a status means: try again, or go elsewhere."""
    why = f"{error.code} {error.reason}"
    wait = error.headers.get("Retry-After", "")
    return (
        PassingError(why, float(wait) if wait.isdigit() else 0.0) if error.code in PASSING | {416} else SourceError(why)
    )


def unreachable(error: BaseException) -> Exception:
    """What a failed connection means. A name that does not exist, or no network at all, is not worth waiting for."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    below: BaseException | None = error
    while below is not None:
        if isinstance(getattr(below, "reason", below), socket.gaierror):
            return SourceError(reason)
        below = below.__cause__ or below.__context__
    return PassingError(reason)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _mark(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
