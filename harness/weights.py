"""Published weight files: what they are, where they lie, and whether those that lie there are the published ones.

A table (YAML) lists the files of a group. `Shelf` is a table and the folder its files lie in. Nothing here touches the
network; `harness.downloads` does.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.cache import cache_folder, file_sha256
from harness.config import load_yaml, validate
from harness.errors import UserError, did_you_mean
from harness.store import lock, read_json, write_json

SHA256 = re.compile(r"^[0-9a-f]{64}$")
NAMED = 4  # missing files that a message names; the rest is a number
HUB_KINDS = {"datasets": "dataset", "spaces": "space"}


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Row):
    """A place that serves the file: an address, a member of the zip archive at an address, or a file of a hub
    repository (`owner/name`, `datasets/owner/name`, `spaces/owner/name`)."""

    url: str | None = Field(None, pattern=r"^https?://")
    member: str | None = None
    hub: str | None = None
    file: str | None = None
    revision: str = "main"

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.url is None) == (self.hub is None) or (self.hub is None) != (self.file is None):
            raise ValueError("a source is either a url or a hub repository with a file\ngive one of the two")
        return self

    @property
    def repository(self) -> tuple[str, str]:
        """(repository, its kind) on the hub."""
        kind, _, name = (self.hub or "").partition("/")
        return (name, HUB_KINDS[kind]) if kind in HUB_KINDS else (self.hub or "", "model")

    def __str__(self) -> str:
        return self.url or f"{self.hub}/{self.file} at {self.revision[:8]}"


class Entry(_Row):
    """One file. `support`: code, vocabularies and tokenizers, as against weights; never accepted with other bytes."""

    file: str  # relative to the group's folder
    purposes: tuple[str, ...] = Field(alias="for", min_length=1)
    size: int | None = Field(None, ge=1)  # bytes
    sha256: str | None = Field(None, pattern=SHA256.pattern)
    known: str = ""  # how size and digest are known
    licence: str
    sources: tuple[Source, ...] = Field(min_length=1)
    support: bool = False
    note: str = ""

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or str(path) != file:
            raise ValueError("the path leaves the folder\ngive a plain relative path")
        return file


class Table(_Row):
    """The files of a group. `seeded`: the module whose `write_all` makes random ones of the same formats."""

    group: str
    about: str
    files: tuple[Entry, ...]
    seeded: str | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Table:
        if len({entry.file for entry in self.files}) < len(self.files):
            raise ValueError("a file is listed twice\nremove one")
        return self

    @property
    def purposes(self) -> list[str]:
        return sorted({purpose for entry in self.files for purpose in entry.purposes})

    def select(self, purposes: Collection[str] = ()) -> tuple[Entry, ...]:
        """Files of any of these purposes, in the table's order; all files where none is given."""
        for purpose in purposes:
            if purpose not in self.purposes:
                raise UserError(f'no file of {self.group} is for "{purpose}"', did_you_mean(purpose, self.purposes))
        return tuple(entry for entry in self.files if not purposes or set(purposes) & set(entry.purposes))


def read_table(path: Path) -> Table:
    """A table from YAML; UserError names the key that is wrong."""
    return validate(Table, load_yaml(path), str(path))


def folder(group: str, configured: str | Path | None = None) -> Path:
    """Where a group's files lie: as configured, else `$MUTOSCOPE_WEIGHTS`/group, else in the cache folder."""
    if configured is not None:
        return Path(configured).expanduser()
    if root := os.environ.get("MUTOSCOPE_WEIGHTS"):
        return Path(root).expanduser() / group
    return cache_folder() / "weights" / group


@dataclass(frozen=True)
class Held:
    """The digest a file is held to, and whose it is: the table's, the hub's when it was fetched, the first fetch's."""

    sha256: str
    by: Literal["published", "hub", "first fetch"]


@dataclass(frozen=True)
class Shelf:
    """A table and the folder its files lie in."""

    table: Table
    folder: Path

    def path(self, entry: Entry) -> Path:
        return self.folder / entry.file

    def held(self, entry: Entry) -> Held | None:
        """None: nobody has stated a digest yet."""
        if entry.sha256:
            return Held(entry.sha256, "published")
        pin = self._pins().get(entry.file)
        return Held(pin["sha256"], "hub" if pin["by"] == "hub" else "first fetch") if pin else None

    def pin(self, entry: Entry, held: Held) -> None:
        """Hold a file without a published digest to this one from now on."""
        with lock(self.folder / ".locks" / "pinned.lock"):
            write_json(self.folder / "pinned.json", self._pins() | {entry.file: {"sha256": held.sha256, "by": held.by}})

    def require(
        self, entries: Sequence[Entry], purposes: Collection[str] = (), unofficial: bool = False
    ) -> tuple[Path, ...]:
        """Paths of files that are there and are what they should be.

        Args:
            purposes: what they are asked for, for the command that gets them.
            unofficial: weights may be others than the published ones; support files never.

        Raises:
            UserError: one message for all that are missing, else for the first with other bytes, with the command.
        """
        missing = [entry for entry in entries if not self.path(entry).is_file()]
        if missing:
            names = ", ".join(entry.file for entry in missing[:NAMED])
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            verb = "is" if len(missing) == 1 else "are"
            raise UserError(f"{self.folder}: {names}{more} {verb} missing", f"fetch with `{self.command(purposes)}`")
        for entry in entries:
            difference = self.mismatch(entry) if entry.support or not unofficial else ""
            if difference:
                ways = f"fetch it again with `{self.command(purposes)}`"
                if not entry.support:
                    ways += "; if it is meant to differ: --unofficial-weights, in a suite unofficial_weights: true"
                raise UserError(f"{self.path(entry)}: not the published file: {difference}", ways)
        return tuple(self.path(entry) for entry in entries)

    def check(self, entry: Entry, unofficial: bool = False) -> Path:
        """`require` of one file."""
        return self.require([entry], entry.purposes, unofficial)[0]

    def command(self, purposes: Collection[str] = ()) -> str:
        """What the user types to get the files."""
        words = ["mutoscope", "weights", "fetch", self.table.group]
        if purposes:
            words += ["--for", ",".join(sorted(purposes))]
        if self.folder != folder(self.table.group):
            words += ["--dir", str(self.folder)]
        return shlex.join(words)

    def mismatch(self, entry: Entry, digest: str | None = None) -> str:
        """How the file that is there differs from the one it is held to; "" if it does not.

        Args:
            digest: of its bytes where the caller has read them, otherwise it is read, or remembered.
        """
        size, held = self.path(entry).stat().st_size, self.held(entry)
        if entry.size not in (None, size) and held:
            return f"it has {size} bytes, expected {entry.size}; expected sha256 {held.sha256}"
        found = digest or (file_sha256(self.path(entry)) if held else "")
        if held and found != held.sha256:
            return f"sha256 {found}, expected {held.sha256} ({held.by})"
        return ""

    def _pins(self) -> dict[str, dict[str, str]]:
        path = self.folder / "pinned.json"
        return read_json(path) if path.exists() else {}
