"""Addresses of tracking stores: what kind of store, and taking turns there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.store import lock

KEY = 0x6D75746F  # of PostgreSQL's advisory lock: "muto"


def sqlite_file(uri: str) -> Path | None:
    """The file behind a SQLite tracking URI; None for servers and other databases."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def is_database(uri: str) -> bool:
    """Whether MLflow would write to a database itself, and artifacts to a folder; a server does both."""
    return uri.split(":")[0].split("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def without_login(uri: str) -> str:
    """The address as it may be shown and kept beside results: no name, no password."""
    return re.sub(r"://[^/]*@", "://", uri)


@contextmanager
def turn(uri: str) -> Iterator[None]:
    """One at a time on a SQLite file or in a PostgreSQL database; no waiting elsewhere.

    For what MLflow does in steps that two can mix up: it makes its tables one at a time only within a machine.
    """
    if file := sqlite_file(uri):
        with lock(file.with_name(f".{file.name}.lock")):
            yield
    elif uri.startswith("postgresql"):
        from sqlalchemy import create_engine, func, select
        from sqlalchemy.pool import NullPool

        with create_engine(uri, poolclass=NullPool).connect() as session:  # the lock ends with the session, however
            session.execute(select(func.pg_advisory_lock(KEY)))
            yield
    else:
        yield
