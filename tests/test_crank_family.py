"""What the distillation family asks of the crank: stages, frozen roles, rows built on rows, budgets in evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness import config, suite
from harness.errors import UserError
from harness.plan import Plan, make_plan
from harness.progress import progress
from harness.store import RunDir, read_json, read_jsonl
from tests import toy_family
from tests.test_crank import contents, execute
from tests.toy_plugins import toy_suite

PLUGINS = ("tests.toy_plugins", "tests.toy_family")
ROWS: dict[str, Any] = {"toy-staged": {}, "toy-side": {}, "toy-built": {}}


def plan(root: Path, seeds: tuple[int, ...] = (), chosen: tuple[str, ...] = (), **changes: Any) -> Plan:
    chart = config.validate(suite.Suite, toy_suite(**{"methods": ROWS, **changes}), "")
    return make_plan(chart, root, methods=chosen, seeds=seeds, plugins=PLUGINS)


def run_of(todo: Plan, row: str) -> RunDir:
    return RunDir(next(cell.path for cell in todo.cells if cell.row == row))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("family")
    assert execute(plan(root)) == []
    return root


def test_a_stage_is_computed_once_for_all_seeds_and_resumes_after_the_last_group(tmp_path: Path) -> None:
    toy_family.CALLS.clear()
    todo = plan(tmp_path, seeds=(0, 1), chosen=("toy-staged",))
    assert execute(todo) == []
    assert [rows for what, rows in toy_family.CALLS if what == "stage"] == [3, 3, 2]  # 8 rows, 3 a group, one seed's
    assert [what for what, _ in toy_family.CALLS].count("begin") == 2
    (row,) = [row for row in RunDir(todo.cells[0].path).timings() if row["stage"] == "prepare"]
    assert (row["items"], row["nfe"]) == (8, 1.0)
    (folder,) = (tmp_path / ".cache" / "stages").iterdir()
    files = sorted(folder.glob("*.safetensors"))
    kept = [file.read_bytes() for file in files]
    files[1].unlink()  # as if killed before the second group
    toy_family.CALLS.clear()
    assert execute(plan(tmp_path, seeds=(2,), chosen=("toy-staged",))) == []
    assert [rows for what, rows in toy_family.CALLS if what == "stage"] == [3]
    assert [file.read_bytes() for file in files] == kept


def test_other_options_of_a_stage_are_another_artefact(tmp_path: Path) -> None:
    methods = {"toy-staged": {}, "louder": {"method": "toy-staged", "gain": 3.0}}
    assert execute(plan(tmp_path, methods=methods)) == []
    two = sorted((tmp_path / ".cache" / "stages").iterdir())
    assert len(two) == 2
    values = sorted(float(load_file(folder / "000000.safetensors")["bright"][2]) for folder in two)
    assert abs(values[0] / values[1]) == pytest.approx(1.5) or abs(values[1] / values[0]) == pytest.approx(1.5)


def test_a_frozen_role_is_the_backbone_itself_and_stays_it(finished: Path) -> None:
    from harness.job import load_backbone

    todo = plan(finished)
    run = run_of(todo, "toy-staged")
    assert list(read_json(run / "checkpoint" / "weights.json")["files"]) == ["student.safetensors"]
    base = load_backbone(todo, "cpu").net
    trained = load_file(run / "checkpoint" / "student.safetensors")
    assert not any(p.requires_grad or p.grad is not None for p in base.parameters())
    from tests.toys import ToyBackbone, ToyOptions

    fresh = ToyBackbone(ToyOptions(), torch.device("cpu")).net.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in base.state_dict().items())
    assert any(not torch.equal(value, fresh[name]) for name, value in trained.items())


def test_turns_and_rates_come_from_the_configuration(finished: Path, tmp_path: Path) -> None:
    assert [row["step"] for row in run_of(plan(finished), "toy-staged").train_log()] == [0, 2, 4]
    methods = {"toy-staged": {"every": 3}}
    todo = plan(tmp_path, methods=methods)
    assert execute(todo) == []
    assert [row["step"] for row in run_of(todo, "toy-staged").train_log()] == [0, 3]
    # Adam's first step is the rate itself: half of train.lr
    once = plan(tmp_path, methods={"toy-staged": {}}, train={"steps": 1, "batch": 4, "lr": 1e-3})
    assert execute(once) == []
    from tests.toys import ToyBackbone, ToyOptions

    before = ToyBackbone(ToyOptions(), torch.device("cpu")).net.state_dict()["out.weight"]
    after = load_file(run_of(once, "toy-staged") / "checkpoint" / "student.safetensors")["out.weight"]
    torch.testing.assert_close((after - before).abs().max().item(), 0.5e-3, rtol=1e-3, atol=0)


def test_what_begin_measured_survives_a_resume(tmp_path: Path) -> None:
    log = []
    for root in ("whole", "halves"):
        todo = plan(tmp_path / root, chosen=("toy-staged",))
        if root == "halves":
            from harness.job import Job
            from harness.train import Loop

            class KillError(Exception):
                pass

            def report(stage: str, done: int, of: int) -> None:
                if stage == "train" and done == 5:
                    raise KillError

            with pytest.raises(KillError):
                Loop(Job(todo, todo.cells[0], "cpu", report)).run()
            assert (todo.cells[0].path / "checkpoint" / "resume.safetensors").exists()
        toy_family.CALLS.clear()
        assert execute(todo) == []
        assert [what for what, _ in toy_family.CALLS].count("begin") == (1 if root == "whole" else 0)
        log.append(run_of(todo, "toy-staged").train_log())
    assert log[0] == log[1]
    assert log[0][0]["probed"] != 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "halves")


def test_a_row_built_on_others_samples_with_their_networks(finished: Path) -> None:
    todo = plan(finished)
    shas = {row: [clip["sha256"] for clip in run_of(todo, row).clips()] for row in ROWS}
    assert shas["toy-built"] == shas["toy-staged"]  # the same student, noise and sampler
    assert shas["toy-built"] != shas["toy-side"]
    assert all(run_of(todo, row).done for row in ROWS)
    assert not (run_of(todo, "toy-built") / "checkpoint").exists()


def test_parents_that_are_no_rows_of_the_run_are_trained_and_not_shown(finished: Path, tmp_path: Path) -> None:
    todo = plan(tmp_path, chosen=("toy-built",))
    assert [cell.row for cell in todo.cells] == ["toy-built"]
    assert execute(todo) == []
    assert contents(run_of(todo, "toy-built").path) == contents(run_of(plan(finished), "toy-built").path)
    assert sorted(path.parents[1].name.split("@")[0] for path in tmp_path.glob("toy@*/*/*/cell.json")) == ["toy-built"]
    trained = sorted(p.parts[-4].split("@")[0] for p in tmp_path.glob("toy@*/*/*/checkpoint/weights.json"))
    assert trained == ["toy-side", "toy-staged"]
    assert execute(plan(tmp_path)) == []  # now as rows of their own: training is reused
    assert contents(tmp_path) == contents(finished)


def test_workers_share_a_parent(finished: Path, tmp_path: Path) -> None:
    assert execute(plan(tmp_path), workers=3) == []
    assert contents(tmp_path) == contents(finished)


def test_another_training_of_the_parent_is_another_row(finished: Path, tmp_path: Path) -> None:
    keys = []
    for gain in (2.0, 3.0):
        methods = {**ROWS, "toy-staged": {"gain": gain}}
        (cell,) = [cell for cell in plan(tmp_path, methods=methods).cells if cell.row == "toy-built"]
        keys.append((cell.train_key, cell.clip_key, cell.path))  # another folder: finished clips must not be reused
    assert all(one != other for one, other in zip(*keys, strict=True))


def test_other_bytes_of_a_reward_are_another_row(tmp_path: Path) -> None:
    from harness.registry import _parts, register_part
    from methods.rewards.base import Reward, RewardOptions

    file = tmp_path / "judge.safetensors"

    class Judge(Reward):
        kind, frames, Config = "image_text", 1, RewardOptions

        @classmethod
        def weights(cls, config: Any) -> tuple[Path, ...]:
            return (file,)

        def __call__(self, video: torch.Tensor, prompts: Any) -> torch.Tensor:
            return video.mean((1, 2, 3, 4))

    register_part("reward", "toy-judge")(Judge)
    try:
        rows = {"lcm": {"guidance_embed": False, "rewards": ["toy-judge"], "solver_steps": 4}}
        paths = []
        for content in (b"one", b"two"):
            file.write_bytes(content)
            paths.append(plan(tmp_path, methods=rows).cells[0].path)
        assert paths[0] != paths[1]
    finally:
        _parts.pop(("reward", "toy-judge"))


def test_wrong_parents_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no method or row is called "toy-stagd"'):
        plan(tmp_path, methods={"toy-built": {"student": "toy-stagd"}})
    with pytest.raises(UserError, match="student comes from row base, which trains nothing"):
        plan(tmp_path, methods={"toy-built": {"student": "base"}})
    (problem,) = execute(plan(tmp_path, methods={"toy-built": {"student": "toy-side"}}))
    assert "row toy-side trains gain, not the role student" in problem


def test_a_budget_in_network_evaluations(tmp_path: Path) -> None:
    """The two-role toy evaluates 4 clips a turn: 12 on even steps, 8 on odd; the staged one 8 on even steps."""
    budget = {"evaluations": 30, "batch": 4, "snapshot_every": 2}
    rows: dict[str, Any] = {"toy-two-roles": {}, "toy-staged": {"every": 1}, "toy-side": {}}
    todo = plan(tmp_path, methods=rows, train=budget)
    assert execute(todo) == []
    told = {row: read_json(run_of(todo, row) / "checkpoint" / "weights.json") for row in rows}
    assert {row: (weights["steps"], weights["evaluations"]) for row, weights in told.items()} == {
        "toy-two-roles": (3, 32),
        "toy-staged": (4, 32),
        "toy-side": (8, 32),  # no denoiser: one evaluation a clip
    }
    for cell in todo.cells:
        assert progress(todo, cell).train == (30, 30)
        counts = [row["evals"] for row in read_jsonl(cell.path / "train" / "metrics.jsonl")]
        assert counts == sorted(counts)


def test_a_missing_capability_is_told_before_anything_runs(tmp_path: Path) -> None:
    from harness.api import Needs, register_method
    from harness.registry import methods
    from methods.supervised import SupervisedUniform

    if "toy-watcher" not in methods.names():

        @register_method
        class Watcher(SupervisedUniform):
            """Wants to look inside."""

            name = "toy-watcher"

            @classmethod
            def needs(cls, config: Any) -> Needs:
                return Needs(caps=("temporal_attention",))

    with pytest.raises(UserError, match='needs temporal_attention, which backbone "toy" cannot do'):
        plan(tmp_path, methods={"toy-watcher": {}})
