"""Files survive a killed writer: whole, or absent, or cut back to the last whole row."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from harness import store
from harness.errors import UserError


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"x": 1})

    def fail_halfway() -> None:
        with store.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_non_finite_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_torn_last_line_is_ignored_and_repaired(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    store.append_jsonl(path, [{"a": 1}, {"a": 2}])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"a": 3')
    assert store.read_jsonl(path) == [{"a": 1}, {"a": 2}]
    assert path.read_bytes() != whole
    assert store.read_jsonl(path, repair=True) == [{"a": 1}, {"a": 2}]
    assert path.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{oops}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not JSON"):
        store.read_jsonl(path)


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space left") as error:
        store.append_jsonl(Path("/dev/full"), [{"a": 1}])
    assert "free some space" in error.value.remedy


def _hold(path: Path) -> None:
    with store.lock(path):
        path.with_name("held").touch()
        time.sleep(60)


def test_a_lock_is_freed_by_the_death_of_its_holder(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(path,))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.02)
    with pytest.raises(UserError, match="in use by another process"), store.lock(path, timeout=0.2):
        pass
    holder.kill()
    holder.join()
    with store.lock(path, timeout=5):
        pass
