"""`mutoscope weights`: list, fetch and verify published files; write random ones of the same formats."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table as Grid

from harness import downloads
from harness.cache import REMEMBERED, file_sha256, known_sha256
from harness.commands import DONE, FAILED
from harness.errors import UserError, did_you_mean
from harness.requirements import byte_text
from harness.store import file_digest
from harness.transfer import SourceError
from harness.weights import Entry, Shelf, Table, folder, read_table

PLAIN_WIDTH = 160
PLAIN_EVERY = 15.0  # seconds between lines about one file


def tables() -> dict[str, Table]:
    """The tables that ship with metrics, by group."""
    import metrics

    paths = [path for root in metrics.__path__ for path in sorted(Path(root).glob("*/weights.yaml"))]
    return {table.group: table for table in map(read_table, paths)}


def find_shelf(group: str, directory: Path | None = None) -> Shelf:
    """A group's table and folder."""
    known = tables()
    if group not in known:
        raise UserError(f'no group of weights is called "{group}"', did_you_mean(group, known))
    return Shelf(known[group], folder(group, directory))


def fetch(
    group: str, purposes: Sequence[str], directory: Path | None, origin: Path | None, support: bool = False
) -> int:
    """Bring what is missing or wrong; a file no source serves does not keep the others from coming.

    Args:
        origin: a folder to take files from before the network is asked.
        support: only code, vocabularies and tokenizers.
    """
    console = _console()
    shelf = find_shelf(group, directory)
    say = _sayer(console)
    entries = [entry for entry in shelf.table.select(purposes) if entry.support or not support]
    with console.status("reading what is there"):
        wanted = [entry for entry in entries if not downloads.right(shelf, entry)]
    if origin is not None and wanted:
        wanted = _adopt(shelf, wanted, origin.expanduser(), say)
    if not wanted:
        say(f"{shelf.folder}: nothing to fetch, {_size(entries)} in {len(entries)} file(s) are there")
        return DONE
    if forbidden := downloads.offline():
        names = ", ".join(entry.file for entry in wanted)
        raise UserError(
            f"{shelf.folder}: missing or wrong: {names}; and {forbidden} is set",
            f"unset {forbidden}, or give a folder that has them with --from",
        )
    downloads.room(shelf.folder, sum(entry.size or 0 for entry in wanted))
    say(f"{_size(wanted)} in {len(wanted)} file(s) to {shelf.folder}")
    missing = _fetch(shelf, wanted, console, say)
    if missing:
        say(f"not fetched: {', '.join(missing)}; run again later, it goes on where it stopped")
    return FAILED if missing else DONE


def verify(group: str, purposes: Sequence[str], directory: Path | None) -> int:
    """Read every file again and hold it to its digest. 1 if one differs, or one that was asked for is missing."""
    console = _console()
    shelf = find_shelf(group, directory)
    say, good = _sayer(console), True
    for entry in shelf.table.select(purposes):
        held = shelf.held(entry)
        if not shelf.path(entry).is_file():
            state, good = "missing", good and not purposes
        else:
            with console.status(f"reading {entry.file}"):
                difference = shelf.mismatch(entry, file_digest(shelf.path(entry)))
            state = difference or (f"right, held to {held.by} sha256" if held else "there, held to nothing")
            good = good and not difference
        say(f"{entry.file}  {state}")
    return DONE if good else FAILED


def show(group: str | None) -> int:
    """Tables of files; whether they are there, without reading them."""
    console = _console()
    for name in [group] if group else tables():
        shelf = find_shelf(name)
        title = f"{name}: {shelf.table.about}, {_size(shelf.table.files)}, in {shelf.folder}"
        grid = Grid(title=title, title_justify="left")
        grid.add_column("file", no_wrap=True)
        grid.add_column("size", justify="right")
        for heading in ("licence", "for", "state"):
            grid.add_column(heading)
        for entry in shelf.table.files:
            size = byte_text(entry.size) if entry.size else "?"
            grid.add_row(entry.file, size, entry.licence, ", ".join(entry.purposes), _state(shelf, entry))
        console.print(grid)
    return DONE


def seed(group: str, purposes: Sequence[str], directory: Path, number: int) -> int:
    """Random files at the real names, for trying things without a download."""
    console = _console()
    shelf = find_shelf(group, directory)
    if not shelf.table.seeded:
        raise UserError(f"{group} has no random weights", "fetch the published ones")
    entries = [entry for entry in shelf.table.select(purposes) if not entry.support]
    for entry in entries:
        if shelf.path(entry).exists():
            raise UserError(f"{shelf.path(entry)} is there already", "choose another folder")
    scratch = shelf.folder / ".seeding"
    shutil.rmtree(scratch, ignore_errors=True)
    write_all = importlib.import_module(shelf.table.seeded).write_all
    with console.status("writing"):
        write_all(scratch, purposes or shelf.table.purposes, number)
    written = [entry for entry in entries if (scratch / entry.file).exists()]
    for entry in written:
        shelf.path(entry).parent.mkdir(parents=True, exist_ok=True)
        os.replace(scratch / entry.file, shelf.path(entry))
    shutil.rmtree(scratch)
    say = _sayer(console)
    for entry in entries:
        say(f"{entry.file}  {'random, seed ' + str(number) if entry in written else 'not written: no writer for it'}")
    say(f"evaluate with --weights {shlex.quote(str(shelf.folder))} --unofficial-weights")
    return DONE


def _adopt(shelf: Shelf, entries: Sequence[Entry], origin: Path, say: Callable[[str], None]) -> list[Entry]:
    """What is still wanted after taking from a folder."""
    index = downloads.find_files(origin)
    left = []
    for entry in entries:
        found = downloads.adopt(shelf, entry, index, say)
        if found is None:
            left.append(entry)
        else:
            say(f"{entry.file}  from {found}")
    return left


def _fetch(shelf: Shelf, entries: Sequence[Entry], console: Console, say: Callable[[str], None]) -> list[str]:
    """Names of files that could not be had."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    missing = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        for entry in entries:
            task = bars.add_task(Path(entry.file).name, total=entry.size)
            try:
                came = downloads.fetch(shelf, entry, _teller(entry, bars, task, say), say)
                say(f"{entry.file}  {'from ' + came if came else 'is there'}")
            except SourceError as error:
                say(str(error))
                missing.append(entry.file)
            bars.remove_task(task)
    return missing


def _teller(entry: Entry, bars: Progress, task: TaskID, say: Callable[[str], None]) -> Callable[..., None]:
    """A bar on a terminal, now and then a line elsewhere."""
    spoke = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal spoke
        bars.update(task, completed=done, total=total)
        if bars.disable and time.monotonic() - spoke > PLAIN_EVERY:
            spoke = time.monotonic()
            say(f"{entry.file}  {byte_text(done)} of {byte_text(total) if total else '?'}")

    return tell


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


def _state(shelf: Shelf, entry: Entry) -> str:
    path = shelf.path(entry)
    if not path.is_file():
        return "missing"
    small = path.stat().st_size < REMEMBERED
    digest = file_sha256(path) if small else known_sha256(path)
    if digest is None:
        return "there, not read yet" if path.stat().st_size == entry.size else "there"
    return "other bytes" if shelf.mismatch(entry, digest) else "right"


def _size(entries: Collection[Entry]) -> str:
    return byte_text(sum(entry.size or 0 for entry in entries))


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    return console
