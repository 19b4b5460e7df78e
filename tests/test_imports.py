"""`mutoscope import`: an official tool's result file as a folder of rows that never meet ours."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import app
from harness.errors import UserError
from harness.store import read_json, read_jsonl

VMBENCH = [
    {"index": "0001", "prompt": "A horse runs.", "filepath": "v/0001.mp4", "perceptible_amplitude_score": 0.1},
    {"index": "0002", "prompt": "A bird flies.", "filepath": "v/0002.mp4", "perceptible_amplitude_score": 0.3},
]


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def vmbench(folder: Path) -> Path:
    (folder / "results.json").write_text(json.dumps(VMBENCH))
    return folder / "results.json"


def test_vmbench_rows_are_marked_by_their_file(tmp_path: Path) -> None:
    said = run("import", "vmbench", vmbench(tmp_path), "--out", tmp_path / "out")
    assert "vmbench/pas" in said
    assert "0.2000" in said
    assert "note: 2 of VMBench's 1050 clips" in said
    specs = {spec["name"]: spec for spec in read_json(tmp_path / "out" / "metrics.json")}
    marked = read_json(tmp_path / "out" / "imported.json")
    assert specs["vmbench/pas"]["config"] == {"imported": marked["sha256"]}
    assert specs["vmbench/pas"]["range"][0] == 0.0
    assert marked["scores"]["pas"] == pytest.approx(20.0)
    fingerprint = specs["vmbench/pas"]["fingerprint"][:8]
    rows = read_jsonl(tmp_path / "out" / "scores" / "vmbench" / f"pas@{fingerprint}.jsonl")
    assert [row["value"] for row in rows] == [0.1, 0.3]
    with pytest.raises(UserError, match="there is something in it"):
        run("import", "vmbench", vmbench(tmp_path), "--out", tmp_path / "out")


def test_a_motion_binding_table(tmp_path: Path) -> None:
    rows = [{"id": f"000{n}", "object_1": "ball", "d_1": "left", "object_2": "", "d_2": "", "Score": score}
            for n, score in enumerate(("-1", "0.25", "nan"))]  # fmt: skip
    with open(tmp_path / "m.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    said = run("import", "compbench", tmp_path / "m.csv", "--out", tmp_path / "out")
    assert "t2v-compbench/motion_binding" in said
    assert "0.2000" in said  # the mean of 0 and 0.4
    assert [clip["id"] for clip in read_jsonl(tmp_path / "out" / "clips.jsonl")] == ["0000", "0001", "0002"]


def test_other_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="not a list of clips"):
        run("import", "vmbench", tmp_path / "x.json", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
