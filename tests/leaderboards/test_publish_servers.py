"""Eight publishers at once, on a new SQLite file and on servers; servers that are not there, or go away."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from leaderboards import artifacts
from leaderboards.address import without_login
from leaderboards.marker import wanted
from leaderboards.publish import connect, publish
from tests.leaderboards.runs import M, write_cell, write_suite
from tests.leaderboards.servers import Server, postgres, postgres_folder

UP = M("toy/up")
PUBLISHERS, SEEDS = 8, 4  # a row and its seeds each: 40 runs
NAME = "mutoscope/quick@01234567"

needs_postgres = pytest.mark.skipif(
    postgres_folder() is None or importlib.util.find_spec("psycopg2") is None,
    reason="PostgreSQL is not installed (apt: postgresql, PyPI: psycopg2-binary)",
)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("server", marks=pytest.mark.slow),
        pytest.param("postgres", marks=needs_postgres),
        pytest.param("postgres behind a server", marks=needs_postgres),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a store that nobody has touched."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    elif request.param == "server":
        with Server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path) as server:
            yield server.address
    elif request.param == "postgres":
        with postgres() as database:
            yield database
    else:
        with postgres() as database, Server(database, tmp_path) as server:
            yield server.address


def make_row(root: Path, row: str, seeds: int = SEEDS, name: str = "quick") -> Path:
    """What a machine of its own would have made: one row of the suite."""
    folder = write_suite(root / row, [row], [UP], 2, seeds=range(seeds), name=name)
    for seed in range(seeds):
        write_cell(folder, row, {UP: [0.5, 0.6]}, seed=seed)
    return folder


def publish_elsewhere(folder: Path, store: str) -> None:
    """As on a machine of its own: MLflow's own turns, by a file in the folder for temporary ones, do not help."""
    tempfile.tempdir = str(folder)
    publish(folder, store)


def dump(address: str, name: str = NAME) -> dict[str, Any]:
    """All that a store says of an experiment."""
    client = connect(address)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found: dict[str, Any] = {"tags": dict(experiment.tags)}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        run_id, data = run.info.run_id, run.data
        curve = [(m.value, m.step) for m in client.get_metric_history(run_id, "train/loss")]
        numbers = (data.params, data.metrics, curve)
        found[run_id] = (run.info.run_name, run.info.status, data.tags, numbers, files(client, run_id))
    return found


def files(client: Any, run_id: str, folder: str | None = None) -> dict[str, int]:
    """Artifact -> bytes."""
    found: dict[str, int] = {}
    for item in client.list_artifacts(run_id, folder):
        found |= files(client, run_id, item.path) if item.is_dir else {item.path: item.file_size}
    return found


def names(found: dict[str, Any]) -> list[str]:
    return sorted(value[0] for key, value in found.items() if key != "tags")


def test_eight_publishers_at_once(store: str, tmp_path: Path) -> None:
    rows = [f"row{i}" for i in range(PUBLISHERS)]
    folders = [make_row(tmp_path, row) for row in rows]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "leaderboards.publish"])  # once, not 8x
    processes = [context.Process(target=publish_elsewhere, args=(folder, store)) for folder in folders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PUBLISHERS

    found = dump(store)
    assert names(found) == sorted(name for row in rows for name in (row, *(f"{row} seed {s}" for s in range(SEEDS))))
    parents = {value[2]["row"]: key for key, value in found.items() if key != "tags" and value[2]["level"] == "method"}
    for key, value in found.items():
        if key != "tags" and value[2]["level"] == "seed":
            _, status, tags, (params, _, curve), held = value
            assert (status, tags["mlflow.parentRunId"]) == ("FINISHED", parents[tags["row"]])
            assert params["lr"] == "0.0001"
            assert [step for _, step in curve] == list(range(20))
            assert len([name for name in held if name.startswith("clips/")]) == 2
    client = connect(store)
    assert len(client.search_runs(["0"])) == 0

    again = [publish(folder, store, force=True) for folder in folders]
    assert [(done.written, done.skipped, done.others) for done in again] == [(0, SEEDS + 1, PUBLISHERS - 1)] * 8
    settled = dump(store)
    assert {k: v for k, v in settled.items() if k != "tags"} == {k: v for k, v in found.items() if k != "tags"}
    assert "7 rows were published from other folders" in settled["tags"]["mlflow.note.content"]
    assert publish(folders[0], store).written == publish(folders[1], store, force=True).written == 0
    assert client.get_experiment_by_name(NAME).tags == settled["tags"]  # whoever publishes, the page is the same


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    folder = make_row(tmp_path, "row", 1)
    for address, why in {
        "http://127.0.0.1:1": "Connection refused",
        "http://no-such-host.invalid": "not known",
        "http://127.0.0.1:port": "port",
    }.items():
        with pytest.raises(UserError) as told:
            publish(folder, address)
        assert told.value.problem.startswith(f"{address}: cannot publish: no server answers (")
        assert why in told.value.problem
        assert "\n" not in told.value.problem
        assert told.value.remedy.endswith("nothing is lost")
    with pytest.raises(UserError, match="cannot publish"):
        publish(folder, "carrier-pigeon://home")
    assert not (folder / "published.json").exists()


def test_a_server_that_dies_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder, database = make_row(tmp_path, "row", 2), f"sqlite:///{tmp_path / 'mlflow.db'}"
    with Server(database, tmp_path) as server:
        original = artifacts.put_seed

        def dies(client: Any, run_id: str, run: Any) -> dict[str, str]:
            if run.path.name == "seed1":
                server.kill()
            return original(client, run_id, run)

        monkeypatch.setattr(artifacts, "put_seed", dies)
        with pytest.raises(UserError) as told:
            publish(folder, server.address)
        assert told.value.problem.startswith(f"{server.address}: cannot publish: ")
        assert "\n" not in told.value.problem
        assert not (folder / "published.json").exists()
    monkeypatch.setattr(artifacts, "put_seed", original)

    with Server(database, tmp_path, server.port) as server:
        half = dump(server.address)
        assert names(half) == ["row", "row seed 0", "row seed 1"]
        done = publish(folder, server.address)
        assert (done.written, done.skipped) == (1, 2)  # only what was cut off is made again
        whole = dump(server.address)
        assert names(whole) == ["row", "row seed 0", "row seed 1"]
        assert all(value[1] == "FINISHED" for key, value in whole.items() if key != "tags")
        assert publish(folder, server.address, force=True).written == 0
        assert dump(server.address) == whole


def test_a_copied_folder_takes_nothing_away(tmp_path: Path) -> None:
    """Two folders with the same rows share runs; one that loses a row removes only what it wrote itself."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    one, two = make_row(tmp_path, "row", 1), make_row(tmp_path / "other", "row", 1)
    first = publish(one, store)
    assert publish(two, store).runs == first.runs
    write_cell(two, "new", {UP: [0.9] * 2})
    second = publish(two, store)
    assert second.others == 0
    assert publish(one, store, force=True).others == 1
    assert len(dump(store)) - 1 == 4
    digest = hashlib.sha256(str(dump(store)).encode()).hexdigest()
    publish(one, store, force=True)
    assert hashlib.sha256(str(dump(store)).encode()).hexdigest() == digest


def test_a_password_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    folder = make_row(tmp_path, "row", 1)
    with pytest.raises(UserError) as told:
        publish(folder, "http://me:secret@127.0.0.1:1")
    assert told.value.problem.startswith("http://127.0.0.1:1: cannot publish: no server answers")
    assert "secret" not in str(told.value)
    assert wanted(folder, "postgresql://me:secret@host/db")["tracking_uri"] == "postgresql://host/db"
    for same in ("sqlite:////a@b:c.db", "http://host:5000/a:b@c", "databricks://profile"):
        assert without_login(same) == same
