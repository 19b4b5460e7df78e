"""The study file `<suite folder>/arena/study.sqlite`: one design, its raters, their judgements.

A judgement is on disk when `record` returns: rollback journal, synchronous EXTRA (FULL, and the folder too). Several
processes and threads may write at once. An answer that is changed leaves its earlier form in `changes`.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.store import sync_folder
from leaderboards.arena.study import FORMAT, Study

FILE = Path("arena") / "study.sqlite"
CHOICES = ("first", "tie", "second")
NAME_LENGTH = 60
APPLICATION = 0x4D41524E  # "MARN": tells our files from other SQLite files
PATIENCE = 20.0  # seconds to wait for another writer

SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
  id INTEGER PRIMARY KEY CHECK (id = 1), design TEXT NOT NULL, secret TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (number INTEGER PRIMARY KEY, name TEXT NOT NULL, since TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS rater_names ON raters (lower(name));
CREATE TABLE IF NOT EXISTS judgements (
  rater INTEGER NOT NULL REFERENCES raters, trial TEXT NOT NULL, question TEXT NOT NULL,
  clip TEXT NOT NULL, seed INTEGER NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
  first_left INTEGER NOT NULL CHECK (first_left IN (0, 1)),
  choice TEXT NOT NULL CHECK (choice IN ('first', 'tie', 'second')),
  plays INTEGER NOT NULL CHECK (plays > 0), seconds REAL NOT NULL, time TEXT NOT NULL,
  PRIMARY KEY (rater, trial, question));
CREATE TABLE IF NOT EXISTS changes (
  rater INTEGER NOT NULL, trial TEXT NOT NULL, question TEXT NOT NULL, choice TEXT NOT NULL, time TEXT NOT NULL,
  until TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Judgement:
    """One rater's answer to one question about one pair."""

    rater: int
    trial: str  # key of the comparison
    question: str
    clip: str
    seed: int
    first: str  # row folders
    second: str
    first_left: bool
    choice: str  # of CHOICES
    plays: int  # how often both clips had been played to the end
    seconds: float  # from the pair's appearance, or the answer before, to this one
    time: str = ""  # when it was recorded, UTC


NAMES = tuple(field.name for field in fields(Judgement))
COLUMNS = ", ".join(NAMES)


class AnsweredBeforeError(Exception):
    """The question was answered otherwise before, and no change was asked for."""


class StudyFile:
    """An open study file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._db, self._lock = path, connection, threading.Lock()
        self._inode = _inode(path)
        with self._using() as db:
            content, self.secret = db.execute("SELECT design, secret FROM study").fetchone()
        self.study = Study.from_json(json.loads(content))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _using(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock, _told(self.path), self._db:
            if write:
                if _inode(self.path) != self._inode:  # SQLite would go on writing to what has no name any more
                    raise UserError(f"{self.path}: was moved, deleted or replaced", "start the study again")
                self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def rater(self, name: str) -> int:
        """The number of a rater, a new one for a new name."""
        with self._using(write=True) as db:
            found = db.execute("SELECT number FROM raters WHERE lower(name) = lower(?)", (name,)).fetchone()
            if found:
                return int(found[0])
            number = int(db.execute("SELECT count(*) FROM raters").fetchone()[0])
            db.execute("INSERT INTO raters VALUES (?, ?, ?)", (number, name, _now()))
            return number

    def record(self, judgement: Judgement, change: bool = False) -> None:
        """Keep an answer, durably. The same answer again is no event; another one must be meant as a change.

        Raises:
            AnsweredBeforeError: nothing was written.
        """
        key = (judgement.rater, judgement.trial, judgement.question)
        with self._using(write=True) as db:
            where = "WHERE rater = ? AND trial = ? AND question = ?"
            known = db.execute(f"SELECT choice, time FROM judgements {where}", key).fetchone()
            if known and known[0] == judgement.choice:
                return
            if known and not change:
                raise AnsweredBeforeError(known[0])
            now = _now()
            if known:
                db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", (*key, *known, now))
            values = (*astuple(judgement)[:-1], now)
            db.execute(f"INSERT OR REPLACE INTO judgements ({COLUMNS}) VALUES ({_marks(values)})", values)

    def answers(self, rater: int) -> dict[tuple[str, str], str]:
        """(trial, question) -> choice."""
        with self._using() as db:
            rows = db.execute("SELECT trial, question, choice FROM judgements WHERE rater = ?", (rater,))
            return {(trial, question): choice for trial, question, choice in rows}

    def judgements(self, row: str | None = None) -> list[Judgement]:
        """All of them, or those about the clips of one row folder, by rater."""
        where, values = ("WHERE first = ? OR second = ?", (row, row)) if row else ("", ())
        with self._using() as db:
            found = db.execute(f"SELECT {COLUMNS} FROM judgements {where} ORDER BY rater, time, trial", values)
            return [_judgement(*values) for values in found]

    def raters(self) -> dict[int, str]:
        with self._using() as db:
            return dict(db.execute("SELECT number, name FROM raters ORDER BY number"))

    def changed(self) -> int:
        """How many answers were changed."""
        with self._using() as db:
            return int(db.execute("SELECT count(*) FROM changes").fetchone()[0])


def _judgement(*values: Any) -> Judgement:
    return Judgement(**dict(zip(NAMES, values, strict=True)) | {"first_left": bool(values[NAMES.index("first_left")])})


def create(path: Path, study: Study) -> StudyFile:
    """Begin a study, or open it where it has begun. UserError where another one is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written: {error.strerror}", "check its permissions") from error
    with _told(path):
        db = _connect(path, "rwc")
        _check(path, db, new=True)
        with db:
            db.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            values = (json.dumps(study.to_json(), ensure_ascii=False), secrets.token_hex(32), _now())
            db.execute("INSERT OR IGNORE INTO study VALUES (1, ?, ?, ?)", values)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        sync_folder(path.parent)
        found = StudyFile(path, db)
    if found.study.digest != study.digest:
        found.close()
        raise UserError(f"{path}: holds another study", f"move it away to begin a new one: {path.name} is all of it")
    return found


def open_study(path: Path, suite: str | None = None) -> StudyFile:
    """Open a study that has begun. UserError where it is of another suite than that of this digest."""
    if not path.is_file():
        raise UserError(f"{path}: no study yet", "begin one with: mutoscope arena serve")
    with _told(path):
        db = _connect(path, "rw")
        _check(path, db)
        found = StudyFile(path, db)
    if suite is not None and found.study.suite != suite:
        found.close()
        raise UserError(f"{path}: holds a study of another suite", "move it back to the suite folder it came from")
    return found


def clean_name(name: str) -> str:
    """A rater's name in one form. UserError for one that is empty, long or not printable."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    if not plain or len(plain) > NAME_LENGTH or not plain.isprintable():
        raise UserError(f"a rater's name has 1 to {NAME_LENGTH} printable characters", "for example --rater Ada")
    return plain


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """`rw` falls back to reading where the file may only be read, and can finish what a killed writer left."""
    address = f"{path.resolve().as_uri()}?mode={mode}"
    db = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = EXTRA")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _check(path: Path, db: sqlite3.Connection, new: bool = False) -> None:
    """UserError unless the file is a study of this format, or, if it may be new, empty."""
    known = db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if known != (APPLICATION, FORMAT) and not (new and not tables):
        db.close()
        raise UserError(f"{path}: is not a study file of this version", "move it away to begin a new study")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(f"{path}: {error}", "nothing that was saved is lost; check the disk and the file") from error


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file a name stands for; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _marks(values: tuple[object, ...]) -> str:
    return ", ".join("?" * len(values))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
