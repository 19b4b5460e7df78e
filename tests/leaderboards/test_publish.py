"""Publishing to a real SQLite store: layout, idempotence, repair, several publishers at once."""

from __future__ import annotations

import json
import math
import multiprocessing
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.store import append_jsonl, read_json, write_json
from leaderboards import payload, views
from leaderboards.about import about, plain
from leaderboards.marker import MARKER
from leaderboards.publish import Published, connect, default_uri, publish
from leaderboards.rank import table
from tests.leaderboards.runs import M, write_cell, write_suite

UP, SIZE = M("toy/up"), M("toy/size", higher_is_better=None)
HIGH, LOW = [0.8 + 0.01 * i for i in range(10)], [0.2 + 0.01 * i for i in range(10)]


def make_suite(root: Path, name: str = "quick", video: bool = False) -> Path:
    folder = write_suite(root, ["base", "tqd"], [UP, SIZE], 10, name=name)
    write_cell(folder, "base", {UP: LOW, SIZE: HIGH}, video=video)
    write_cell(folder, "tqd", {UP: HIGH, SIZE: [None, *LOW[1:]]}, video=video)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an initialised, empty store: creating its tables takes seconds."""
    root = tmp_path_factory.mktemp("store")
    connect(f"sqlite:///{root / 'mlflow.db'}")
    return root


@pytest.fixture
def root(store: Path, tmp_path: Path) -> Path:
    shutil.copyfile(store / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def runs(folder: Path, done: Published) -> dict[str, Any]:
    client = connect(default_uri(folder))
    return {run.data.tags["run_key"].split("/", 1)[1]: run for run in client.search_runs([done.experiment_id])}


def key(folder: Path, row: str, seed: int | None = None) -> str:
    name = next(folder.glob(f"{row}@*")).name
    return name if seed is None else f"{name}/seed{seed}"


def test_layout(root: Path) -> None:
    folder = make_suite(root, video=True)
    done = publish(folder)
    found, client = runs(folder, done), connect(default_uri(folder))
    assert len(found) == 4
    assert (done.written, done.skipped) == (4, 0)

    experiment = client.get_experiment(done.experiment_id)
    assert experiment.name == "mutoscope/quick@01234567"
    assert experiment.tags["higher_is_better.toy/up"] == "true"
    assert "| tqd |" in experiment.tags["mlflow.note.content"]
    state = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.leaderboard"])["state"])
    assert state["selectedColumns"][:2] == ["tags.`up`", "tags.`size`"]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`toy/up`", False)

    parent, child = found[key(folder, "tqd")], found[key(folder, "tqd", 0)]
    assert done.runs["tqd"] == parent.info.run_id == child.data.tags["mlflow.parentRunId"]
    assert parent.data.metrics["toy/up"] == pytest.approx(0.845)
    assert parent.data.metrics["toy/up.ci_low"] < 0.845 < parent.data.metrics["toy/up.ci_high"]
    assert (parent.data.metrics["rank/toy/up"], parent.data.metrics["toy/size.na"]) == (1, 1)
    assert found[key(folder, "base")].data.metrics["rank/toy/up"] == 2
    assert "rank/toy/size" not in parent.data.metrics
    assert parent.data.metrics["time/generate_s"] == 12.5
    assert parent.data.metrics["nfe/clip"] == 25
    assert parent.data.tags["up"].startswith("0.845 ±")
    assert parent.data.tags["up"].endswith("#1")
    assert parent.data.params == {"method": "tqd", "lr": "0.0001", "law.name": "beta"}
    assert (parent.data.tags["level"], parent.data.tags["status"]) == ("method", "complete")
    assert child.data.tags["mlflow.source.git.commit"] == "c0ffee" * 6

    shades = {row: found[key(folder, row)].data.tags["mlflow.runColor"] for row in ("base", "tqd")}
    assert shades == {"base": "#4477aa", "tqd": "#cc3b53"}
    assert child.data.tags["mlflow.runColor"] == shades["tqd"]
    told = child.data.tags["mlflow.note.content"].split("\n\n")
    assert [line.split("](")[0] for line in told] == [r"[First clip: a red ball drifts past 0 \<b\>boxes\</b\>"]
    assert f"/runs/{child.info.run_id}/artifacts/clips/" in told[0]
    curve = client.get_metric_history(child.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve][:3] == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    parts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert parts >= {"gallery.html", "per_prompt.json", "wall.mp4"}
    assert len(client.list_artifacts(child.info.run_id, "clips")) == 10
    assert len(client.list_artifacts(parent.info.run_id, "images")) > 0
    lines = json.loads(Path(client.download_artifacts(parent.info.run_id, "per_prompt.json")).read_text())
    assert lines["columns"] == ["prompt", "toy/up", "toy/size"]
    assert len(lines["data"]) == 10
    assert all(math.isfinite(v) and abs(v) < 1e300 for run in found.values() for v in run.data.metrics.values())


def test_publishing_again_changes_nothing_and_needs_no_mlflow(root: Path) -> None:
    folder = make_suite(root)
    for clip in folder.rglob("*.mp4"):
        clip.unlink()  # a published board needs no clips to be recognised
    first = publish(folder)
    before = {name: run.info.run_id for name, run in runs(folder, first).items()}
    again = publish(folder, force=True)
    assert (again.written, again.skipped) == (0, 4)
    assert {name: run.info.run_id for name, run in runs(folder, again).items()} == before
    code = (
        f"import sys; from pathlib import Path; from leaderboards.publish import publish\n"
        f"p = publish(Path({str(folder)!r})); print(p.experiment_id, p.skipped, 'mlflow' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [first.experiment_id, "4", "False"]


def test_changed_rows_are_replaced_and_ranks_follow(root: Path) -> None:
    folder = make_suite(root)
    first = publish(folder)
    write_cell(folder, "new", {UP: [0.99] * 10, SIZE: LOW})
    suite = read_json(folder / "suite.json")
    write_json(folder / "suite.json", suite | {"rows": ["base", "new", "tqd"]})
    second = publish(folder)
    found = runs(folder, second)
    assert (second.written, second.skipped) == (2, 4)
    assert second.runs["tqd"] == first.runs["tqd"]
    places = {row: found[key(folder, row)].data.metrics["rank/toy/up"] for row in ("new", "tqd", "base")}
    assert places == {"new": 1, "tqd": 2, "base": 3}
    assert found[key(folder, "tqd")].data.tags["up"].endswith("#2")

    append_jsonl(next(folder.glob("tqd@*")) / "seed0" / "timings.jsonl", [_attempt(100.0)])
    third = publish(folder)
    found = runs(folder, third)
    assert (third.written, third.skipped, len(found)) == (2, 4, 6)
    assert third.runs["tqd"] != first.runs["tqd"]
    assert found[key(folder, "tqd")].data.metrics["time/train_s"] == 112.5


def _attempt(seconds: float) -> dict[str, Any]:
    return {"stage": "train", "seconds": seconds, "items": 1, "nfe": 0, "frame_nfe": 0, "peak_memory_gib": 0.5}


def test_what_a_killed_publisher_left_is_cleared(root: Path) -> None:
    folder = make_suite(root)
    done = publish(folder)
    client = connect(default_uri(folder))
    client.set_tag(done.runs["tqd"], "content", "")  # the tag that is written last
    again = publish(folder, force=True)
    assert again.runs["tqd"] != done.runs["tqd"]
    assert len(runs(folder, again)) == 4
    child = runs(folder, again)[key(folder, "tqd", 0)]
    assert child.data.tags["mlflow.parentRunId"] == again.runs["tqd"]


def test_a_lost_store_is_rebuilt_the_same(root: Path, store: Path) -> None:
    folder = make_suite(root)
    first = {name: run.data for name, run in runs(folder, publish(folder)).items()}
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
    shutil.copyfile(store / "mlflow.db", root / "mlflow.db")
    second = {name: run.data for name, run in runs(folder, publish(folder)).items()}
    assert {name: data.metrics for name, data in second.items()} == {name: data.metrics for name, data in first.items()}


def test_partial_rows_are_published_as_such(root: Path) -> None:
    folder = make_suite(root)
    write_cell(folder, "late", {UP: LOW[:3], SIZE: LOW[:3]}, clips=3, done=False)
    done = publish(folder)
    parent = runs(folder, done)[key(folder, "late")]
    assert parent.data.tags["status"] == "partial"
    assert not any(name.startswith("rank/") for name in parent.data.metrics)
    assert parent.data.tags["up"].endswith("#-")
    assert shown(folder, done, views.BOARD) == shown(folder, done, views.METHODS) == ["base", "tqd"]
    client = connect(default_uri(folder))
    assert "late: partial, 3 of 10 clips" in client.get_experiment(done.experiment_id).tags["mlflow.note.content"]


def shown(folder: Path, done: Published, search: str) -> list[str]:
    """Names of the runs that a view's search finds."""
    return sorted(run.info.run_name for run in connect(default_uri(folder)).search_runs([done.experiment_id], search))


def test_published_rows_are_runs_of_their_own(root: Path) -> None:
    jaccard = M("trajan/average_jaccard", higher_is_better=False)
    folder = write_suite(root, ["base"], [UP, jaccard], 10, name="msm-wan21-1.3b")
    write_cell(folder, "base", {UP: HIGH, jaccard: LOW})
    done = publish(folder)
    labels = ["† stage 1 DMD (MSM)", "† stage 1 MSM (MSM)"]
    assert shown(folder, done, views.BOARD) == ["base", *labels]
    assert shown(folder, done, views.METHODS) == ["base"]  # no charts, no costs, no prompts of theirs
    found = {run.info.run_name: run.data for run in runs(folder, done).values()}[labels[1]]
    assert found.metrics == {"published/trajan/average_jaccard": 0.6181}  # nothing sorts it with measured ones
    assert found.tags["average jaccard"] == "0.6181 published"
    assert (found.tags["status"], found.tags["source"]) == ("published", "MSM, table 1")
    assert "not measured here, never ranked" in found.tags["mlflow.note.content"]
    again = publish(folder, force=True)
    assert (again.written, again.skipped) == (0, 4)

    own = root / "published" / "mine.yaml"  # changed rows follow their file
    own.parent.mkdir()
    own.write_text(
        "paper: Mine\ntables:\n  - table: A\n    rows: [{name: old, scores: {toy/up: '0.40'}}]\n"
        "beside: [{suite: msm-wan21-1.3b, table: A, rows: {old: old}}]\n"
    )
    assert publish(folder).written == 1
    assert "† old (Mine)" in shown(folder, done, views.BOARD)
    own.unlink()
    publish(folder)
    assert shown(folder, done, views.BOARD) == ["base", *labels]


def test_what_a_metric_cannot_tell_is_said(root: Path) -> None:
    """Not applicable, failed and saturated scores, in the store as on the board."""
    folder = write_suite(root, ["a", "b"], [UP, SIZE], 10)
    write_cell(folder, "a", {UP: [1.0] * 10, SIZE: [None] * 10})
    write_cell(folder, "b", {UP: [*LOW[:9], None], SIZE: HIGH}, errors={("toy/up", 9): "OSError: gone"})
    done = publish(folder)
    found = {run.info.run_name: run.data for run in runs(folder, done).values()}
    assert found["a"].tags["up"] == "1.000 #1 saturated"
    assert found["a"].tags["size"] == "n/a"
    assert found["a"].metrics["toy/size.na"] == 10
    assert "toy/size" not in found["a"].metrics
    assert found["b"].tags["up"].endswith("#-")  # a row with a failed score is not ranked
    assert "rank/toy/up" not in found["b"].metrics
    note = connect(default_uri(folder)).get_experiment(done.experiment_id).tags["mlflow.note.content"]
    for told in ("toy/up: saturated for a", "toy/size: not applicable, clips: a 10", "toy/up: failed, clips: b 1"):
        assert told in note


def test_the_experiments_page_says_what_metrics_are(root: Path) -> None:
    folder = make_suite(root)
    done = publish(folder, explain=lambda names: {"toy/up": "How far up.\n\nMore of it."})
    note = connect(default_uri(folder)).get_experiment(done.experiment_id).tags["mlflow.note.content"]
    assert "- `toy/up`: higher is better, 0 to 1. How far up.\n" in note
    assert "- `toy/size`: descriptive, not ranked, 0 to 1." in note
    assert "### Protocol\n\n```yaml\nmethods:" in note
    board = replace(table(folder), suite=table(folder).suite | {"description": "x" * 30_000})
    long = about(board, {}, {})
    assert len(long) < 20_000
    many = table(folder).entries * 400
    assert "800 rows: see the leaderboard" in about(replace(table(folder), entries=many), {}, {})


def test_three_publishers_on_a_fresh_file(tmp_path: Path) -> None:
    """Nobody initialised the store; each process brings a suite of its own."""
    folders = [make_suite(tmp_path, name) for name in ("one", "two", "three")]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.tracking"])  # imported once, not three times
    processes = [context.Process(target=publish, args=(folder,)) for folder in folders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    experiments = [read_json(folder / MARKER)["experiment_id"] for folder in folders]
    assert len(set(experiments)) == 3
    client = connect(default_uri(folders[0]))
    assert [len(client.search_runs([experiment])) for experiment in experiments] == [4, 4, 4]
    assert len(client.search_runs(["0"])) == 0


def test_a_moved_folder_and_a_wrong_address_are_explained(root: Path) -> None:
    folder = make_suite(root / "here")
    shutil.copyfile(root / "mlflow.db", root / "here" / "mlflow.db")
    publish(folder)
    (root / "here").rename(root / "there")
    with pytest.raises(UserError, match="the folder was moved"):
        publish(root / "there" / folder.name)
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1: cannot publish: no server answers"):
        publish(root / "there" / folder.name, "http://127.0.0.1:1")


# ---- no store needed --------------------------------------------------------------------------------------------


def test_names_and_params_are_made_acceptable() -> None:
    assert payload.clean("cdfvd@1a2b (%)") == "cdfvd_1a2b ___"
    config = {"lr": 1e-4, "law": {"name": "beta", "k": [1, 2]}, "long": "x" * 9000, "empty": {}}
    found = dict(payload.flatten(config))
    assert found["law.name"] == "beta"
    assert found["law.k"] == "[1, 2]"
    assert found["empty"] == "{}"
    assert len(found["long"]) <= 6000
    assert found["long"].endswith("... (cell.json)")
    assert payload.finite([("a", math.nan, 0), ("b", math.inf, 0), ("c", None, 0), ("d", 1, 2)]) == (("d", 1.0, 2),)


def test_content_digest_sees_every_change_and_nothing_else(tmp_path: Path) -> None:
    folder = make_suite(tmp_path)
    before = payload.suite_digest(folder)
    run = next(folder.glob("tqd@*")) / "seed0"
    (run / "DONE").touch()
    assert payload.suite_digest(folder) == before
    changes = {
        "cell.json": ("lr", "rate"), "clips.jsonl": ("red", "tan"), f"scores/{UP.id}.jsonl": ("0.8", "0.7"),
        "train/metrics.jsonl": ("0.5", "0.6"), "timings.jsonl": ("12.5", "13.5"), "provenance.json": ("c0f", "d0f"),
    }  # fmt: skip
    for name, (old, new) in changes.items():
        text = (run / name).read_text()
        (run / name).write_text(text.replace(old, new))
        assert payload.suite_digest(folder) != before, name
        (run / name).write_text(text)
    (run / "DONE").unlink()
    assert payload.suite_digest(folder) != before


def test_short_tags_do_not_collide(tmp_path: Path) -> None:
    metrics = [M("a/score"), M("b/score"), M("a/status"), M("a/fine_one")]
    folder = write_suite(tmp_path, ["x"], metrics, 2)
    write_cell(folder, "x", {m: [0.1, 0.2] for m in metrics})
    names = payload.text_tags(table(folder))
    assert names == {"a/score": "board.a/score", "b/score": "board.b/score", "a/status": "board.a/status",
                     "a/fine_one": "fine one"}  # fmt: skip


def test_views_only_for_versions_seen_working() -> None:
    scores = [views.Score("toy/loss", "loss", False)]
    assert not views.saved_views(scores, "3.14.9", 0)
    assert not views.saved_views(scores, "4.0.0", 0)
    state = json.loads(json.loads(views.saved_views(scores, "3.17.2", 0)[views.TAG + "leaderboard"])["state"])
    assert state["orderByAsc"] is True
    wide = [views.Score("toy/loss", "loss", False, 40)]
    state = json.loads(json.loads(views.saved_views(wide, "3.17.2", 0)[views.TAG + "leaderboard"])["state"])
    assert state["columnWidths"]["tags.`loss`"] == 320
    groups = {
        name.removeprefix(views.TAG): json.loads(json.loads(text)["state"])["groupBy"]
        for name, text in views.saved_views(scores, "3.17.2", 0, by_row=True).items()
    }
    by_row = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}
    assert groups == dict.fromkeys(("leaderboard", "cost", "charts"), None) | {"seeds": by_row, "curves": by_row}


def test_prompts_are_words_and_not_markdown() -> None:
    assert plain("a [red](x) *ball*_1") == r"a \[red\]\(x\) \*ball\*\_1"
    assert plain("a red ball, 3 of 4") == "a red ball, 3 of 4"


def test_links_and_server_command(tmp_path: Path) -> None:
    found = views.links("http://127.0.0.1:5000/", "7", ["r1", "r2"])
    assert found["leaderboard"] == (
        "http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=leaderboard"
    )
    assert "runs=%5B%22r1%22%2C%20%22r2%22%5D" in found["compare"]
    with pytest.raises(UserError, match="publish first"):
        views.serve_command(tmp_path, "127.0.0.1", 5000)
    (tmp_path / "mlflow.db").touch()
    command = views.serve_command(tmp_path, "127.0.0.1", 5000)
    assert command[1] == "server"
    assert f"sqlite:///{tmp_path}/mlflow.db" in command


def test_a_taken_port_is_not_offered() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert views.free_port("127.0.0.1", port) != port
