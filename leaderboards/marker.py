"""The memory of the last publication beside the results, so that an unchanged suite costs no import of mlflow."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store import Json, read_json, write_json
from leaderboards.address import sqlite_file, without_login
from leaderboards.payload import suite_digest

if TYPE_CHECKING:
    from leaderboards.publish import Published

MARKER = "published.json"
ORIGIN = "publisher.json"


def wanted(suite_dir: Path, uri: str) -> Json:
    """What a marker must say for nothing to have changed."""
    return {"tracking_uri": without_login(uri), "content": suite_digest(suite_dir)}


def recall(suite_dir: Path, state: Json) -> Json | None:
    """The marker, if it says `state` and its experiment is still in the store."""
    path = suite_dir / MARKER
    known = read_json(path) if path.exists() else {}
    if any(known.get(key) != value for key, value in state.items()):
        return None
    if "others" not in known:  # written by an earlier version
        return None
    return known if _still_there(state["tracking_uri"], known["experiment_id"]) else None


def remember(suite_dir: Path, state: Json, done: Published) -> None:
    told = {"experiment_id": done.experiment_id, "runs": dict(done.runs), "others": done.others}
    write_json(suite_dir / MARKER, state | told | {"count": done.written + done.skipped})


def origin(suite_dir: Path) -> str:
    """A name for the folder at this place, by which it knows what it wrote itself; a copy or a moved one is another."""
    path, place = suite_dir / ORIGIN, str(suite_dir.resolve())
    known = read_json(path) if path.exists() else {}
    if known.get("place") != place:
        known = {"id": uuid.uuid4().hex, "place": place}
        write_json(path, known)
    return str(known["id"])


def _still_there(uri: str, experiment: str) -> bool:
    """Asked of SQLite directly. Servers are taken at their word."""
    file = sqlite_file(uri)
    if file is None:
        return True
    if not file.exists():
        return False
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as store:
            query = "SELECT 1 FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'"
            return store.execute(query, (int(experiment),)).fetchone() is not None
    except (sqlite3.Error, ValueError):
        return False
