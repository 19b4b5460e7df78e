"""The crank on toys: one loop, three stages, resume to the same bytes, failures named and contained."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import config, suite
from harness.api import Clip
from harness.errors import UserError
from harness.evaluate import score_clips
from harness.executors import InProcess, Processes
from harness.plan import Plan, make_plan
from harness.progress import progress
from harness.store import RunDir, lock, read_json, read_jsonl
from tests.toy_plugins import toy_suite

PLUGINS = ("tests.toy_plugins",)
NOT_PROMISED = {"timings.jsonl", "provenance.json", ".lock"}  # times and places; everything else is promised


def plan(root: Path, limit: int | None = None, seeds: tuple[int, ...] = (), **changes: Any) -> Plan:
    return make_plan(
        config.validate(suite.Suite, toy_suite(**changes), ""), root, seeds=seeds, limit=limit, plugins=PLUGINS
    )


def execute(todo: Plan, workers: int = 1) -> list[str]:
    executor = InProcess() if workers == 1 else Processes(workers)
    outcomes = executor.run(todo, "cpu", lambda *_: None)
    return [problem for outcome in outcomes for problem in outcome.problems]


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in NOT_PROMISED)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if ".cache" not in path.parts}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of the toy suite."""
    root = tmp_path_factory.mktemp("finished")
    assert execute(plan(root)) == []
    return root


def test_a_finished_cell_has_every_promised_file(finished: Path) -> None:
    for cell in plan(finished).cells:
        run = RunDir(cell.path)
        assert run.done
        assert len(run.clips()) == 5
        assert {name.split("@")[0]: len(rows) for name, rows in run.scores().items()} == {
            "toy/brightness": 5,
            "toy/spread": 1,
        }
        assert run.provenance()["versions"]["torch"]
        assert not (run / "checkpoint" / "resume.safetensors").exists()
        if cell.trains:
            assert read_json(run / "checkpoint" / "weights.json")["steps"] == 6
            assert {row["stage"] for row in run.timings()} - {"encode"} == {"train", "diagnose", "generate", "evaluate"}


def test_turns_are_the_two_time_scale_rule(finished: Path) -> None:
    cell = next(cell for cell in plan(finished).cells if cell.row == "toy-two-roles")
    order = [(row["step"], row["role"]) for row in RunDir(cell.path).train_log()]
    one = [(step, role) for step in range(6) for role in (["student"] if step % 2 == 0 else []) + ["critic"] * 2]
    assert order == one
    assert sorted(read_json(cell.path / "checkpoint" / "weights.json")["files"]) == [
        "critic.safetensors",
        "student.safetensors",
    ]


def test_nfe_is_counted_where_the_network_is_called(finished: Path) -> None:
    cell = plan(finished).cells[0]
    (row,) = [row for row in RunDir(cell.path).timings() if row["stage"] == "generate"]
    latent_frames = 5
    assert (row["items"], row["nfe"], row["frame_nfe"]) == (5, 3 * 2, 3 * 2 * latent_frames)


def test_same_seed_same_bytes_other_seed_other_bytes(finished: Path, tmp_path: Path) -> None:
    assert execute(plan(tmp_path / "again")) == []
    assert contents(tmp_path / "again") == contents(finished)
    other = plan(tmp_path / "again", seeds=(1,))
    assert execute(other) == []
    for cell in other.cells:
        twin = cell.path.with_name("seed0")
        assert [r["sha256"] for r in RunDir(cell.path).clips()] != [r["sha256"] for r in RunDir(twin).clips()]


def test_worker_processes_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    assert execute(plan(tmp_path), workers=2) == []
    assert contents(tmp_path) == contents(finished)


def test_a_second_run_does_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and path.name != ".lock"}
    assert execute(plan(finished)) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_accumulation_sees_the_same_noise(tmp_path: Path) -> None:
    """Two micro-batches of 2 are one batch of 4: the same rows, noise, loss and gradient up to rounding."""
    logs = []
    for parts in (1, 2):
        todo = plan(tmp_path, train={"steps": 3, "batch": 4, "accumulate": parts}, methods={"supervised-uniform": {}})
        assert execute(todo) == []
        rows = RunDir(todo.cells[0].path).train_log()
        logs.append([row[key] for row in rows for key in ("loss", "gnorm")])  # Adam alone would hide a wrong scale
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_scores_do_not_depend_on_how_the_clips_are_shared_out(finished: Path, tmp_path: Path) -> None:
    todo = plan(finished, metrics=["toy/brightness", "flow/magnitude", "vbench/temporal_flickering"])
    run = RunDir(plan(finished).cells[1].path)
    clips = [Clip(row["id"], run / row["file"], row["sha256"], row["prompt"], row["seed"]) for row in run.clips()]
    whole = [clips]
    shards = [clips[3:], clips[:1], clips[1:3][::-1]]
    found = []
    for number, parts in enumerate((whole, shards)):
        rows: dict[tuple[str, str], object] = {}
        for part, some in enumerate(parts):
            folder = tmp_path / f"{number}-{part}"
            assert score_clips(some, todo.metrics, folder, False, lambda *_: None)[0] == []
            rows |= {(m.id, row["clip"]): row for m in todo.metrics for row in read_jsonl(folder / f"{m.id}.jsonl")}
        found.append(rows)
    assert len(found[0]) == 15
    assert found[0] == found[1]


# ---- limits ------------------------------------------------------------------------------------------------------


def test_a_limited_run_is_partial_and_a_full_one_completes_it_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    limited = plan(tmp_path, limit=3)
    assert limited.wanted == 4  # whole batches of two
    assert execute(limited) == []
    for cell in limited.cells:
        run = RunDir(cell.path)
        assert not run.done
        assert len(run.clips()) == 4
        assert "toy/spread" not in {name.split("@")[0] for name in run.scores()}
    assert execute(plan(tmp_path)) == []
    assert contents(tmp_path) == contents(finished)


def test_another_suite_reuses_what_has_the_same_key(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "runs")
    more = plan(tmp_path / "runs", metrics=["toy/brightness", "toy/spread", "toy/picky"])
    assert execute(more) == []
    for cell in more.cells:
        stages = [(row["stage"], row.get("adopted", False)) for row in RunDir(cell.path).timings()]
        assert all(adopted == (stage in {"train", "generate"}) for stage, adopted in stages)
        if cell.trains:
            assert (cell.path / "train" / "diagnostics" / "index.html").exists()
        old = finished / plan(finished).folder.name / cell.path.parent.name / "seed0"
        assert RunDir(cell.path).clips() == RunDir(old).clips()


# ---- damage ------------------------------------------------------------------------------------------------------


def test_a_damaged_clip_is_made_again(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "runs")
    todo = plan(tmp_path / "runs")
    for cell in todo.cells:
        clip = cell.path / RunDir(cell.path).clips()[1]["file"]
        clip.write_bytes(clip.read_bytes()[:100])
        (cell.path / "DONE").unlink()
    assert execute(todo) == []
    assert contents(tmp_path / "runs") == contents(finished)


def test_damaged_weights_are_named(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "runs")
    todo = plan(tmp_path / "runs")
    cell = todo.cells[1]
    weights = cell.path / "checkpoint" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (cell.path / "clips.jsonl").unlink()
    (cell.path / "DONE").unlink()
    (problem,) = execute(todo)
    assert "student.safetensors: missing or damaged" in problem


def test_failing_metrics_are_named_and_the_rest_is_scored(tmp_path: Path) -> None:
    names = ["toy/brightness", "toy/out-of-range", "toy/crashing", "toy/picky"]
    todo = plan(tmp_path, metrics=names, methods={"base": {}})
    problems = execute(todo)
    assert len(problems) == 10
    assert "value 1.5 is outside the declared range [0.0, 1.0]" in problems[0]
    assert "RuntimeError: boom" in problems[5]
    scores = {name.split("@")[0]: rows for name, rows in RunDir(todo.cells[0].path).scores().items()}
    assert all(row["value"] is not None for row in scores["toy/brightness"])
    assert [row["note"] for row in scores["toy/picky"]] == ["never applies"] * 5
    assert not RunDir(todo.cells[0].path).done


def test_ten_non_finite_steps_end_the_cell_with_the_reason_and_the_others_go_on(tmp_path: Path) -> None:
    methods = {"toy-exploding": {}, "toy-sampler-only": {}}
    todo = plan(tmp_path, methods=methods, train={"steps": 12, "batch": 2})
    (problem,) = execute(todo)
    assert "10 non-finite losses or gradients in a row at step 9" in problem
    assert RunDir(todo.cells[1].path).done


# ---- checks before anything runs -----------------------------------------------------------------------------------


def test_overlapping_prompts_are_refused_or_marked(tmp_path: Path) -> None:
    same = {"dataset": {"name": "toys", "first": 7, "size": 5}}
    with pytest.raises(UserError, match='1 of the evaluation prompts are also trained on, first: "grey level 7"'):
        plan(tmp_path, prompts=same)
    marked = plan(tmp_path, prompts=same, train={"steps": 6, "allow_overlap": True})
    assert marked.marks == ("overlap",)


def test_missing_score_columns_are_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'methods\.tqd: needs score columns mq, vq, which dataset "toys" lacks'):
        plan(tmp_path, methods={"tqd": {}}, dataset={"name": "toys", "scored": False})


def test_score_columns_can_be_joined_from_a_file(tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("id,mq,vq\n" + "".join(f"toy-{i},{i},{9 - i}\n" for i in range(8)))
    todo = plan(tmp_path, methods={"tqd": {}}, dataset={"name": "toys", "scored": False, "scores": str(table)})
    assert execute(todo) == []
    table.write_text("id,mq,vq\ntoy-0,1,2\n")
    with pytest.raises(UserError, match="no row for clip toy-1"):
        plan(tmp_path, dataset={"name": "toys", "scores": str(table)})


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"methods": {"tdq": {}}}, 'methods.tdq: no method is called "tdq"', 'did you mean "tqd"?'),
        (
            {"metrics": ["toy/brightnes"]},
            'metrics: no metric is called "toy/brightnes"',
            'did you mean "toy/brightness"?',
        ),
        ({"backbone": {"name": "tyo"}}, 'backbone.name: no backbone is called "tyo"', 'did you mean "toy"?'),
        ({"dataset": {"name": "toys", "siez": 3}}, "dataset.siez: unknown key", 'did you mean "size"?'),
        ({"methods": {"tqd": {"p_dorp": 0}}}, "methods.tqd.p_dorp: unknown key", 'did you mean "p_drop"?'),
    ],
)
def test_a_typo_gives_its_path_and_a_suggestion(tmp_path: Path, changes: Any, problem: str, remedy: str) -> None:
    with pytest.raises(UserError) as error:
        plan(tmp_path, **changes)
    assert (error.value.problem, error.value.remedy) == (problem, remedy)


# ---- killing -------------------------------------------------------------------------------------------------------


def command(root: Path, spec: Path, workers: int) -> list[str]:
    words = ["run", str(spec), "--runs", str(root), "--workers", str(workers), "--plugin", PLUGINS[0], "--no-publish"]
    return [sys.executable, "-m", "harness.cli", *words]


def kill_once(words: list[str], after: float) -> bool:
    """Start, wait, kill -9 the whole process group; False when it had finished by itself."""
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(tmp_path: Path, kills: int) -> None:
    spec = tmp_path / "toy.yaml"
    long = toy_suite(train={"steps": 150, "batch": 4, "snapshot_every": 7}, methods={"toy-two-roles": {}, "base": {}})
    spec.write_text(yaml.safe_dump(long))
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    started = time.monotonic()
    subprocess.run(command(calm, spec, 1), check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - started
    dice = random.Random(0)
    killed = sum(
        kill_once(command(stormy, spec, dice.choice((1, 2))), dice.uniform(0.3, 1.0) * whole) for _ in range(kills)
    )
    assert killed >= kills // 3
    subprocess.run(command(stormy, spec, 2), check=True, stdout=subprocess.DEVNULL)
    assert contents(stormy) == contents(calm)


def test_a_killed_worker_costs_its_cell_only(tmp_path: Path) -> None:
    todo = plan(
        tmp_path, methods={"toy-two-roles": {}, "base": {}}, train={"steps": 4000, "batch": 4, "snapshot_every": 50}
    )
    me = os.getpid()

    def tell(number: int, stage: str, done: int, of: int) -> None:
        if stage == "train" and done == 60:
            children = subprocess.run(
                ["pgrep", "-P", str(me), "-f", "spawn_main"], capture_output=True, text=True
            ).stdout
            for child in children.split():
                if (todo.cells[0].path / ".lock").exists():
                    os.kill(int(child), signal.SIGKILL)

    outcomes = Processes(1).run(todo, "cpu", tell)
    assert "was killed by SIGKILL" in outcomes[0].problems[0]
    assert outcomes[1].problems == ()
    assert read_jsonl(todo.cells[0].path / "train" / "metrics.jsonl")[-1]["step"] >= 49


def test_an_interrupt_ends_the_workers_and_says_how_to_go_on(tmp_path: Path) -> None:
    spec = tmp_path / "toy.yaml"
    spec.write_text(
        yaml.safe_dump(toy_suite(train={"steps": 100000, "batch": 4}, methods={"toy-two-roles": {}, "ltd": {}}))
    )
    process = subprocess.Popen(
        command(tmp_path / "runs", spec, 2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background shell ignores it
    )
    assert process.stdout is not None
    while "train" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "interrupted; run the same command again to go on"
    for cell in (tmp_path / "runs").glob("toy@*/*/seed0"):
        with lock(cell / ".lock", timeout=10):  # free: no worker survived
            pass


def test_progress_is_read_from_the_files(finished: Path) -> None:
    todo = plan(finished)
    state = progress(todo, todo.cells[1])
    assert (state.train, state.generate, state.evaluate, state.done) == ((6, 6), (5, 5), (6, 6), True)
