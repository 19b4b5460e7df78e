"""Rows that are not trained here: clips from a folder and a maker of one's own join a board, their costs empty."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.participants.clip_folder  # noqa: F401  registers the name
from harness import config, suite, video
from harness.api import Asked, ClipSpec, Made, Maker, Options, Participant, UserError, register_method
from harness.plan import Plan, make_plan, write_suite
from harness.progress import progress
from harness.store import RunDir, file_digest, read_json
from leaderboards import export, payload, rank, show
from leaderboards.notes import notes
from leaderboards.site.write import write_site
from tests.test_crank import contents, execute
from tests.toy_plugins import toy_suite

SPEC = ClipSpec(frames=5, height=16, width=16, fps=8)
PROMPTS = ("a grey cat", "a grey dog", "A grey sky.")
MADE: list[tuple[str, int]] = []  # what the toy service was asked for


class Grey(Maker):
    """A service somewhere: frames whose grey level is the prompt's length."""

    down = True

    def make(self, asked: Sequence[Asked], seed: int) -> Sequence[Made]:
        MADE.extend((one.id, seed) for one in asked)
        if self.down and self.config.broken and any("dog" in one.prompt for one in asked):
            raise UserError("the service is down", "try later")
        shape = (SPEC.frames, SPEC.height + self.config.taller, SPEC.width, 3)
        return [Made(np.full(shape, 10 * len(one.prompt) + seed, np.uint8), {"job": one.id}) for one in asked]


class Local(Grey):
    """The same on this machine: its seconds count."""

    here = True


class ServiceOptions(Options):
    broken: bool = False
    taller: int = 0


@register_method
class Service(Participant):
    """Clips of an API."""

    name = "toy-service"
    Config = ServiceOptions

    @classmethod
    def maker(cls, config: Any, spec: ClipSpec) -> Maker:
        return Grey(config, spec)


@register_method
class Checkpoint(Service):
    """Clips of a checkpoint with a pipeline of its own."""

    name = "toy-checkpoint"

    @classmethod
    def maker(cls, config: Any, spec: ClipSpec) -> Maker:
        return Local(config, spec)


def write_clips(
    folder: Path, rows: Sequence[dict[str, Any]], spec: ClipSpec = SPEC, name: str = "metadata.csv"
) -> Path:
    """A clip a row, `level` its grey, in files whose names say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for number, row in enumerate(rows):
        level, file = row.get("level", 100), f"{chr(122 - number)}.mp4"
        video.write(folder / file, np.full((spec.frames, spec.height, spec.width, 3), level, np.uint8), spec.fps)
        kept.append(
            {"file_name": file} | {key: value for key, value in row.items() if key not in {"level", "file_name"}}
        )
    with open(folder / name, "w", newline="") as out:
        if name.endswith(".csv"):
            writer = csv.DictWriter(out, kept[0])
            writer.writeheader()
            writer.writerows(kept)
        elif name.endswith(".jsonl"):
            out.write("".join(json.dumps(row) + "\n" for row in kept))
        else:
            json.dump({row["file_name"]: row["prompt"] for row in kept}, out)
    return folder


def plan(root: Path, methods: dict[str, Any], seeds: tuple[int, ...] = (), **changes: Any) -> Plan:
    whole = toy_suite(methods=methods, prompts={"texts": list(PROMPTS)}, **changes)
    return make_plan(config.validate(suite.Suite, whole, ""), root, seeds=seeds, plugins=("tests.toy_plugins",))


def folder_row(folder: Path, **options: Any) -> dict[str, Any]:
    return {"other-model": {"method": "clip-folder", "folder": str(folder), **options}}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions differ from the prompts in case and a full stop, and come in another order."""
    texts = ("a grey sky", "A grey cat.", "a grey dog")
    rows = [{"prompt": text, "level": 60 + 40 * number} for number, text in enumerate(texts)]
    return write_clips(tmp_path_factory.mktemp("clips"), rows)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> rank.Leaderboard:
    """A trained row, a folder, a service and a checkpoint of one's own, through the ordinary crank."""
    root = tmp_path_factory.mktemp("runs")
    rows = {"base": {}, "supervised-uniform": {}, **folder_row(clips), "toy-service": {}, "toy-checkpoint": {}}
    todo = plan(root, rows | {"toy-sampler-only": {}}, train={"steps": 2, "batch": 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.diagnostics.draw", lambda *_: None)
        assert execute(todo) == []
    write_suite(todo)
    return rank.table(todo.folder)


def entry(board: rank.Leaderboard, row: str) -> Any:
    return next(entry for entry in board.entries if entry.label == row)


# ---- on the board -------------------------------------------------------------------------------------------------


def test_they_are_ranked_with_the_trained_rows(board: rank.Leaderboard, clips: Path) -> None:
    assert all(found.complete for found in board.entries)
    column = next(column for column in board.columns if column.name == "toy/brightness")
    for row, levels in (("other-model", (60, 100, 140)), ("toy-service", (100, 100, 110))):
        mean = board.values[row, column.key].estimate.mean
        assert mean == pytest.approx(np.mean(levels) / 255, abs=0.005)
    assert {label for label, key in board.values if key == column.key} >= {"base", "other-model", "toy-service"}


def test_files_are_matched_by_caption_and_copied_byte_for_byte(board: rank.Leaderboard, clips: Path) -> None:
    run = entry(board, "other-model").runs[0]
    rows = run.clips()
    assert [row["prompt"] for row in rows] == list(PROMPTS)
    assert [row["source"]["file"] for row in rows] == ["y.mp4", "x.mp4", "z.mp4"]
    for row in rows:
        assert row["sha256"] == row["source"]["sha256"] == file_digest(clips / row["source"]["file"])
        assert file_digest(run / row["file"]) == row["sha256"]
    assert entry(board, "toy-service").runs[0].clips()[0]["source"] == {"job": "0000-a-grey-cat"}


def test_costs_are_empty_not_zero(board: rank.Leaderboard) -> None:
    elsewhere = {"evaluate_s"}
    assert set(entry(board, "other-model").cost) == elsewhere
    assert set(entry(board, "toy-service").cost) == elsewhere
    assert set(entry(board, "toy-checkpoint").cost) == {"generate_s", "evaluate_s", "peak_gib"}
    assert set(entry(board, "toy-sampler-only").cost) == {"generate_s", "evaluate_s", "peak_gib"}
    assert entry(board, "base").cost["nfe"] == 6
    cells = dict(zip(show.COST_HEADS, show.cost_cells(entry(board, "other-model")), strict=True))
    assert (cells["train s"], cells["generate s"], cells["NFE/clip"], cells["peak GiB"]) == ("-",) * 4
    assert cells["evaluate s"] != "-"


def test_they_are_marked(board: rank.Leaderboard) -> None:
    told = notes(board)
    assert "other-model: marked not generated here" in told
    assert "toy-service: marked not generated here" in told
    assert not any("toy-checkpoint" in line for line in told)
    assert read_json(entry(board, "other-model").runs[0] / "cell.json")["marks"] == ["not generated here"]


def test_every_view_shows_them_without_a_cost(board: rank.Leaderboard, tmp_path: Path) -> None:
    frame = rank.frame(board)
    other, base = (frame[frame["row"] == row] for row in ("other-model", "base"))
    assert int(other[["train_s", "generate_s", "nfe", "peak_gib"]].count().sum()) == 0
    assert set(base["nfe"].dropna()) == {6.0}
    line = next(line for line in show.markdown(board).splitlines() if line.startswith("| other-model | complete"))
    assert [cell.strip() for cell in line.split("|")][5:9] == ["-", "-", line.split("|")[7].strip(), "-"]
    found = entry(board, "other-model")
    told = payload.parent(board, found, [payload.child(board, found, run) for run in found.runs])
    names = {name for name, _, _ in told.metrics}
    assert "time/evaluate_s" in names
    assert not names & {"time/train_s", "time/generate_s", "nfe/clip", "nfe/frames", "mem/peak_gib"}
    assert told.tags["marks"] == "not generated here"
    assert all(
        label not in rank.pareto(board, column, "nfe")
        for column in board.columns
        if column.higher_is_better is not None
        for label in ("other-model", "toy-service", "toy-sampler-only")
    )
    export.write_all(board, tmp_path / "files")
    write_site(board, tmp_path / "site", {})
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
    assert any("other-model" in page and "not generated here" in page for page in pages)


# ---- keys ---------------------------------------------------------------------------------------------------------


def test_keys_hold_the_bytes_not_the_place(clips: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(clips, moved)
    (before,), (after,) = (plan(tmp_path, folder_row(folder)).cells for folder in (clips, moved))
    assert (before.path, before.clip_key) == (after.path, after.clip_key)
    assert before.config["folder"] != after.config["folder"]
    video.write(moved / "y.mp4", np.full((5, 16, 16, 3), 7, np.uint8), 8)
    (changed,) = plan(tmp_path, folder_row(moved)).cells
    assert changed.clip_key != before.clip_key
    assert changed.path != before.path
    (resampled,) = plan(tmp_path, folder_row(clips, fit="resample")).cells
    assert resampled.clip_key != before.clip_key
    assert resampled.marks == ("not generated here", "resampled")


def test_files_of_other_prompts_change_nothing(clips: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(clips, more)
    with open(more / "metadata.csv", "a") as file:
        file.write("missing.mp4,something else\n")
    (before,), (after,) = (plan(tmp_path, folder_row(folder)).cells for folder in (clips, more))
    assert before.clip_key == after.clip_key


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.json"])
def test_captions_come_in_three_formats(name: str, tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [{"prompt": text} for text in PROMPTS], name=name)
    todo = plan(tmp_path / "runs", folder_row(folder))
    assert execute(todo) == []
    assert len(RunDir(todo.cells[0].path).clips()) == 3


# ---- seeds and samples ----------------------------------------------------------------------------------------------


def test_a_folder_runs_on_the_seeds_it_has(tmp_path: Path) -> None:
    rows = [{"prompt": text, "seed": seed, "level": 50 * seed} for seed in (0, 2) for text in PROMPTS]
    folder = write_clips(tmp_path / "clips", rows)
    todo = plan(tmp_path / "runs", {"base": {}, **folder_row(folder)}, seeds=(0, 1, 2))
    assert [(cell.row, cell.seed) for cell in todo.cells] == [
        *(("base", seed) for seed in (0, 1, 2)),
        *(("other-model", seed) for seed in (0, 2)),
    ]
    with pytest.raises(UserError, match=r"methods\.other-model: no clips of seed 1\nit has --seeds 0,2"):
        plan(tmp_path / "runs", folder_row(folder), seeds=(1,))
    assert execute(plan(tmp_path / "runs", folder_row(folder), seeds=(2,))) == []
    (run,) = [RunDir(path) for path in (tmp_path / "runs").glob("*/other-model*/seed2")]
    assert {row["seed"] for row in run.clips()} == {2}
    assert video.read(run / run.clips()[0]["file"]).frames.mean() == pytest.approx(100, abs=2)


def test_clips_without_a_seed_are_the_suites_first(clips: Path, tmp_path: Path) -> None:
    spec = toy_suite(methods=folder_row(clips), prompts={"texts": list(PROMPTS)}, seeds=[3, 4])
    todo = make_plan(config.validate(suite.Suite, spec, ""), tmp_path, plugins=("tests.toy_plugins",))
    assert [cell.seed for cell in todo.cells] == [3]


def test_samples_of_a_prompt_are_told_apart_by_a_column(tmp_path: Path) -> None:
    source = tmp_path / "prompts.jsonl"
    source.write_text("".join(json.dumps({"prompt": "a cat", "sample": k, "samples": 2}) + "\n" for k in range(2)))
    folder = write_clips(tmp_path / "clips", [{"prompt": "a cat", "sample": k, "level": 200 - 100 * k} for k in (1, 0)])
    spec = toy_suite(methods=folder_row(folder), prompts={"file": str(source)})
    todo = make_plan(config.validate(suite.Suite, spec, ""), tmp_path / "runs", plugins=("tests.toy_plugins",))
    assert execute(todo) == []
    rows = RunDir(todo.cells[0].path).clips()
    assert [(row["id"], row["source"]["file"]) for row in rows] == [
        ("0000-a-cat-s0", "y.mp4"),
        ("0000-a-cat-s1", "z.mp4"),
    ]


# ---- what is wrong is named ---------------------------------------------------------------------------------------


def wrong(root: Path, folder: Path, **options: Any) -> UserError:
    with pytest.raises(UserError) as error:
        plan(root, folder_row(folder, **options))
    assert error.value.problem.startswith("methods.other-model: ")
    return error.value


def test_missing_misfitting_and_damaged_clips_are_named(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [{"prompt": PROMPTS[0]}])
    missing = wrong(tmp_path, folder)
    assert 'seed 0: 2 of 3 clips cannot be used: there is none of "a grey dog"; there is none of "A grey sky."' in str(
        missing
    )
    assert "leave the row out with --methods" in missing.remedy
    for spec, told in (
        (SPEC.model_copy(update={"frames": 4}), "z.mp4: 4 frames 16x16 at 8 fps, the suite's clips have 5 frames"),
        (SPEC.model_copy(update={"height": 32}), "z.mp4: 5 frames 16x32 at 8 fps"),
        (SPEC.model_copy(update={"fps": 24}), "z.mp4: 5 frames 16x16 at 24 fps"),
    ):
        misfit = wrong(tmp_path, write_clips(tmp_path / told[7:30], [{"prompt": text} for text in PROMPTS], spec))
        assert told in misfit.problem
        assert "fit: resample" in misfit.remedy
    whole = write_clips(tmp_path / "whole", [{"prompt": text} for text in PROMPTS])
    (whole / "y.mp4").write_bytes((whole / "y.mp4").read_bytes()[:200])
    (whole / "x.mp4").unlink()
    damaged = wrong(tmp_path, whole).problem
    assert "y.mp4: damaged video: the file is cut off" in damaged
    assert "x.mp4: no such file" in damaged


def test_captions_that_are_wrong_are_told(tmp_path: Path) -> None:
    assert "no such folder" in wrong(tmp_path, tmp_path / "nowhere").problem
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no captions" in wrong(tmp_path, empty).problem
    others = write_clips(tmp_path / "others", [{"prompt": "something else"}])
    assert "no clip has the caption of one of the suite's prompts" in wrong(tmp_path, others).problem
    twice = write_clips(tmp_path / "twice", [{"prompt": "a grey cat"}, {"prompt": "A grey  cat."}])
    assert 'z.mp4 and y.mp4 are both of "A grey  cat."' in wrong(tmp_path, twice).problem
    half = write_clips(tmp_path / "half", [{"prompt": PROMPTS[0], "seed": 0}, {"prompt": PROMPTS[1], "seed": ""}])
    assert "some rows have a seed, some have none" in wrong(tmp_path, half).problem
    letter = write_clips(tmp_path / "letter", [{"prompt": PROMPTS[0], "seed": "b"}])
    assert "z.mp4: seed 'b' is no whole number" in wrong(tmp_path, letter).problem


def test_other_footage_can_be_fitted(tmp_path: Path) -> None:
    large = SPEC.model_copy(update={"frames": 40, "height": 32, "width": 64, "fps": 24})
    folder = write_clips(tmp_path / "clips", [{"prompt": text} for text in PROMPTS], large)
    todo = plan(tmp_path / "runs", folder_row(folder, fit="resample"))
    assert execute(todo) == []
    run = RunDir(todo.cells[0].path)
    for row in run.clips():
        info = video.check(run / row["file"])
        assert (info.frames, info.height, info.width, info.fps) == (5, 16, 16, 8)
        assert row["source"]["sha256"] == file_digest(folder / row["source"]["file"]) != row["sha256"]
        assert row["source"]["crop"] == [0, 8, 16, 16]


# ---- resume --------------------------------------------------------------------------------------------------------


def test_a_service_that_fails_keeps_what_it_made_and_is_asked_only_for_the_rest(tmp_path: Path) -> None:
    generate = {"steps": 3, "batch": 1, "guidance": 2.0, "shift": 1.0}
    MADE.clear()
    broken = plan(tmp_path, {"toy-service": {"broken": True}}, generate=generate)
    (problem,) = execute(broken)
    assert "the service is down" in problem
    assert MADE == [("0000-a-grey-cat", 0), ("0001-a-grey-dog", 0)]
    run = RunDir(broken.cells[0].path)
    assert [row["id"] for row in run.clips()] == ["0000-a-grey-cat"]
    assert progress(broken, broken.cells[0]).generate == (1, 3)
    MADE.clear()
    with pytest.MonkeyPatch.context() as patch:  # the service is up again; the row, and so its key, is the same
        patch.setattr(Grey, "down", False)
        assert execute(broken) == []
        assert execute(broken) == []
    assert MADE == [("0001-a-grey-dog", 0), ("0002-a-grey-sky", 0)]
    assert run.done


def test_within_a_batch_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    todo = plan(tmp_path, {"toy-service": {}})  # batches of two
    assert execute(todo) == []
    run = RunDir(todo.cells[0].path)
    (run / run.clips()[1]["file"]).unlink()
    (run / "DONE").unlink()
    MADE.clear()
    assert execute(todo) == []
    assert MADE == [("0001-a-grey-dog", 0)]
    assert [row["id"] for row in run.clips()] == ["0000-a-grey-cat", "0001-a-grey-dog", "0002-a-grey-sky"]


def test_a_damaged_copy_is_made_again_to_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    todo = plan(tmp_path, folder_row(clips))
    assert execute(todo) == []
    before = contents(tmp_path)
    run = RunDir(todo.cells[0].path)
    (run / run.clips()[1]["file"]).write_bytes(b"torn")
    (run / "DONE").unlink()
    text = (run / "clips.jsonl").read_text()
    (run / "clips.jsonl").write_text(text[: len(text) // 2])  # a line torn by a kill
    assert execute(todo) == []
    assert contents(tmp_path) == before


def test_an_answer_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (problem,) = execute(plan(tmp_path, {"toy-service": {"taller": 2}}))
    assert '"a grey cat": a clip of [5, 18, 16, 3] came, [5, 16, 16, 3] was asked for' in problem


def test_another_suite_adopts_the_clips(clips: Path, tmp_path: Path) -> None:
    assert execute(plan(tmp_path, folder_row(clips))) == []
    other = plan(tmp_path, folder_row(clips), metrics=["toy/brightness"], generate={"steps": 9, "batch": 2})
    assert execute(other) == []
    assert len(RunDir(other.cells[0].path).clips()) == 3
