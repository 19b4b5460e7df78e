"""What a user types and what comes back: exit codes, one-line errors, the folder evaluator."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness import cli, video
from harness.store import read_jsonl
from tests.toy_plugins import toy_suite

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in this process; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mutoscope", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy_suite(methods={"base": {}, "supervised-uniform": {}})))
    return path


def test_help_names_every_command_and_gives_examples(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name in ("run", "plan", "evaluate", "publish", "board", "list", "describe", "serve", "doctor", "embedded"):
        assert f"\n  {name} " in out
    assert "mutoscope run quick" in out


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (["rnu", "quick"], 'no command is called "rnu"', 'did you mean "run"?'),
        (["run", "quikc"], 'no suite is called "quikc"', 'did you mean "quick"?'),
        (["run", "quick", "--methods", "tdq"], 'no method or row is called "tdq"', 'did you mean "tqd"?'),
        (["run", "quick", "--set", "train.stpes=5"], "train.stpes: unknown key", 'did you mean "steps"?'),
        (["run", "quick", "--set", "clip.frame=5"], "clip.frame: unknown key", 'did you mean "frames"?'),
        (["run", "quick", "--seeds", "a"], '--seeds "a": expected whole numbers', "for example --seeds 0,1,2"),
        (["describe", "ldt"], 'nothing is called "ldt"', 'did you mean "ltd"?'),
        (["evaluate", "no-such-folder"], "no-such-folder: no such folder", "give a folder of video files"),
        (
            ["board", "--runs", "no-such-folder"],
            "no-such-folder: no results yet",
            "make some with: mutoscope run quick",
        ),
    ],
)
def test_a_mistake_is_two_lines_and_exit_code_2(run: Run, words: list[str], problem: str, remedy: str) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert err == f"error: {problem}\n  {remedy}\n"


def test_run_resume_board_and_plan(run: Run, toy: Path, tmp_path: Path) -> None:
    shared = ["--runs", tmp_path / "runs", "--plugin", "tests.toy_plugins"]
    code, out, _ = run("plan", toy, *shared)
    assert code == 0
    assert "no estimate" in out
    code, out, _ = run("run", toy, *shared, "--workers", 1, "--no-publish")
    assert code == 0
    assert "2 to do" in out
    assert "supervised-uniform" in out
    code, out, _ = run("run", toy, *shared, "--no-publish")
    assert code == 0
    assert "0 to do" in out
    code, out, _ = run("plan", toy, *shared)
    assert out.count("done") == 2
    assert "about 0 s of one worker's time left" in out
    code, out, _ = run("board", "--runs", tmp_path / "runs", "--markdown")
    assert code == 0
    assert "| supervised-uniform |" in out
    code, out, _ = run("run", toy, *shared, "--fresh", "--methods", "base", "--workers", 1, "--no-publish")
    assert "1 cells" in out
    assert "1 to do" in out


def test_a_failed_cell_gives_exit_code_3_and_its_reason(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy_suite(methods={"base": {}}, metrics=["toy/brightness", "toy/crashing"])))
    words = ["--runs", tmp_path / "runs", "--plugin", "tests.toy_plugins", "--workers", 1, "--no-publish"]
    code, out, _ = run("run", path, *words)
    assert code == 3
    assert "failed  base seed 0" in out
    assert "toy/crashing: 0000-grey-level-100: RuntimeError: boom" in out


def test_a_folder_is_scored_and_damaged_clips_are_named(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.mp4", "b.mp4"):
        video.write(folder / name, rng.integers(0, 255, (9, 48, 64, 3), dtype=np.uint8), 8.0)
    video.write(folder / "one-frame.mp4", np.zeros((1, 48, 64, 3), np.uint8), 8.0)
    whole = (folder / "a.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("this is not a video")
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file_name", "caption"], ["a.mp4", "noise, first"], ["cut.mp4", "half"]])
    names = "toy/brightness,vbench/temporal_flickering,flow/magnitude"
    out_dir = tmp_path / "scores"
    code, out, _ = run("evaluate", folder, "--metrics", names, "--plugin", "tests.toy_plugins", "--out", out_dir)
    assert code == 3
    assert "failed  cut.mp4: " in out
    assert "failed  text.mp4: " in out
    assert "flow/magnitude: not applicable to 1 of 5 clips" in out
    (scores,) = (out_dir / "scores" / "toy").glob("brightness@*.jsonl")
    rows = {row["clip"]: row for row in read_jsonl(scores)}
    assert [name for name, row in rows.items() if row["error"]] == ["cut.mp4", "text.mp4"]
    assert rows["a.mp4"]["value"] == pytest.approx(0.5, abs=0.02)
    assert read_jsonl(out_dir / "clips.jsonl")[0]["prompt"] == "noise, first"


def test_prompts_of_a_folder_may_come_from_a_json_map(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    video.write(folder / "a.mp4", np.zeros((5, 32, 32, 3), np.uint8), 8.0)
    prompts = tmp_path / "map.json"
    prompts.write_text(json.dumps({"a.mp4": "black"}))
    words = [
        "--prompts",
        prompts,
        "--metrics",
        "toy/brightness",
        "--plugin",
        "tests.toy_plugins",
        "--out",
        tmp_path / "o",
    ]
    assert run("evaluate", folder, *words)[0] == 0
    assert read_jsonl(tmp_path / "o" / "clips.jsonl")[0]["prompt"] == "black"


def test_describe_tells_options_needs_and_equations(run: Run) -> None:
    code, out, _ = run("describe", "tqd", "--equations")
    assert code == 0
    for text in ("options", "scores: mq, vq", "turns student every 1", "equations", "p_sample = max(q, m)"):
        assert text in out


def test_list_shows_every_kind(run: Run) -> None:
    out = run("list")[1]
    for name in ("quick", "supervised-logitnormal", "shapes/alignment", "wan", "folder"):
        assert name in out


def test_doctor_finds_this_installation_sound_and_a_shadow_otherwise(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("doctor")
    assert code == 0
    assert "harness from" in out
    monkeypatch.setattr(
        "harness.commands.doctor_install.packages_distributions", lambda: {"metrics": ["mutoscope", "metrics"]}
    )
    code, out, _ = run("doctor")
    assert code == 1
    assert "metrics is also provided by metrics: uninstall one" in out
