"""`mutoscope data score`: the table that training reads, whatever happens on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from harness import video
from harness.cli import app
from harness.data.scores import read_scores
from harness.errors import UserError
from harness.plugins import make_dataset
from harness.store import read_jsonl
from harness.suite import load
from tests import toy_plugins
from tests.toy_plugins import Brightness, toy_suite

SMALL = ["--set", "size=5", "--set", "clip.frames=3", "--set", "clip.height=16", "--set", "clip.width=16"]


def score(out: Path, *words: object, dataset: object = "toys", small: bool = True) -> Result:
    command = ["data", "score", dataset, "--plugin", "tests.toy_plugins", "--out", out, *(SMALL if small else [])]
    return CliRunner().invoke(app, [str(word) for word in (*command, *words)], catch_exceptions=True)


def test_a_table_with_the_mean_of_every_clip(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    done = score(out, "--with", "toy/brightness,mq=toy/brightness")
    assert done.exit_code == 0, done.output
    table = read_scores(out)
    assert list(table) == [f"toy-{i}" for i in range(5)]
    for i in range(5):  # a flat clip of level 20 i, 20 i + 1, 20 i + 2
        assert table[f"toy-{i}"]["brightness"] == pytest.approx((20 * i + 1) / 255, abs=2 / 255)
        assert table[f"toy-{i}"]["mq"] == table[f"toy-{i}"]["brightness"]
    about = json.loads((tmp_path / "scores.csv.json").read_text())
    assert about["dataset"]["name"] == "toys"
    assert about["dataset"]["clip"]["frames"] == 3
    assert about["columns"]["mq"]["fingerprint"] == about["columns"]["brightness"]["fingerprint"]
    assert (about["rows"], about["clips"]) == (5, 5)


def test_the_end_of_the_name_is_the_column_and_the_own_column_is_compared(tmp_path: Path) -> None:
    done = score(tmp_path / "a.csv", "--with", "vq=toy/brightness")
    assert "own r" in done.output
    line = next(line for line in done.output.splitlines() if "toy/brightness@" in line)
    assert "-1.0000" in line  # the toys' own vq falls as they get brighter


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole.csv"
    score(whole, "--with", "toy/brightness")
    seen: list[str] = []
    right = Brightness.score

    def dying(self: Any, clip: Any, features: Any) -> Any:
        seen.append(clip.id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return right(self, clip, features)

    monkeypatch.setattr(Brightness, "score", dying)
    broken = tmp_path / "broken.csv"
    assert score(broken, "--with", "toy/brightness").exit_code != 0
    assert not broken.exists()
    (rows,) = (tmp_path / "broken.csv.rows").glob("*.jsonl")
    with open(rows, "a") as file:
        file.write('{"clip": "toy-2", "val')  # torn by the kill
    assert score(broken, "--with", "toy/brightness").exit_code == 0
    assert seen == ["toy-0", "toy-1", "toy-2", "toy-2", "toy-3", "toy-4"]
    assert broken.read_bytes() == whole.read_bytes()


def test_parts_are_merged(tmp_path: Path) -> None:
    out, whole = tmp_path / "parts.csv", tmp_path / "whole.csv"
    score(whole, "--with", "toy/brightness")
    for part in ("1/2", "2/2"):
        assert score(out, "--with", "toy/brightness", "--shard", part).exit_code == 0
        assert not out.exists()
    assert [len(read_jsonl(p)) for p in sorted((tmp_path / "parts.csv.rows").glob("*.jsonl"))] == [3, 2]
    assert score(out, "--with", "toy/brightness").exit_code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_other_data_or_another_metric_is_scored_anew(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    score(out, "--with", "toy/brightness")
    score(out, "--with", "toy/brightness", "--set", "first=3")
    assert list(read_scores(out)) == [f"toy-{i}" for i in range(3, 8)]
    fresh = tmp_path / "b.csv"
    score(fresh, "--with", "toy/brightness", "--set", "first=3")
    assert out.read_bytes() == fresh.read_bytes()


def test_a_failed_clip_is_named_and_has_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = toy_plugins.Toys.video

    def broken(self: Any, index: int) -> np.ndarray:
        if index == 2:
            raise UserError("the disk ate it")
        return right(self, index)

    monkeypatch.setattr(toy_plugins.Toys, "video", broken)
    out = tmp_path / "a.csv"
    done = score(out, "--with", "toy/brightness")
    assert done.exit_code == 3
    assert "no row  toy-2: brightness: the disk ate it" in done.output
    assert list(read_scores(out)) == ["toy-0", "toy-1", "toy-3", "toy-4"]
    monkeypatch.undo()
    assert score(out, "--with", "toy/brightness").exit_code == 0  # tried again
    assert len(read_scores(out)) == 5


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("toy/crashing", "RuntimeError: boom"),
        ("toy/out-of-range", "value 1.5 is outside the declared range [0.0, 1.0]"),
        ("toy/picky", "not applicable: never applies"),
    ],
)
def test_no_number_is_never_a_number(tmp_path: Path, metric: str, reason: str) -> None:
    out = tmp_path / "a.csv"
    done = score(out, "--with", f"toy/brightness,{metric}")
    assert done.exit_code == 3
    assert not out.exists()
    assert done.output.count(f"{metric.split('/')[1]}: {reason}") == 5


def test_a_folder_is_scored_as_it_lies(tmp_path: Path) -> None:
    for name, level in (("a", 40), ("b", 200)):
        (tmp_path / "clips").mkdir(exist_ok=True)
        video.write(tmp_path / "clips" / f"{name}.mp4", np.full((4, 32, 48, 3), level, np.uint8), 8)
    (tmp_path / "clips" / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "clips" / "metadata.csv").write_text("file_name,caption\na.mp4,dark\nb.mp4,bright\nbad.mp4,none\n")
    out = tmp_path / "scores.parquet"
    done = score(out, "--with", "toy/brightness", dataset=tmp_path / "clips", small=False)
    assert done.exit_code == 3
    assert "no row  bad.mp4" in done.output
    table = pd.read_parquet(out)
    assert list(table["id"]) == ["a.mp4", "b.mp4"]
    assert list(table["brightness"]) == pytest.approx([40 / 255, 200 / 255], abs=2 / 255)


def test_a_suites_training_set_and_the_run_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy_suite(methods={"base": {}})))
    out = tmp_path / "a.csv"
    assert score(out, "--with", "lively=toy/brightness", dataset=path, small=False).exit_code == 0
    plain, scored = make_dataset(load(str(path))), make_dataset(load(str(path), {"dataset": {"scores": str(out)}}))
    assert [row.id for row in scored.rows()] == [row.id for row in plain.rows()]
    assert all(row.scores["lively"] == read_scores(out)[row.id]["lively"] for row in scored.rows())
    assert scored.rows()[0].scores["mq"] == plain.rows()[0].scores["mq"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--with", "toy/brigtness"], 'metrics: no metric is called "toy/brigtness"'),
        (["--with", "toy/spread"], "--with toy/spread: it does not score single clips (set level)"),
        (["--with", "toy/brightness,brightness=toy/picky"], '--with: two columns "brightness"'),
        (["--with", "id=toy/brightness"], '--with: two columns "id"'),
        (["--with", "mq=toy"], "--with mq=toy: toy is a family"),
        (["--with", "toy/brightness", "--option", "x=1"], 'none of these metrics has an option "x"'),
        (["--with", "toy/brightness", "--set", "sise=1"], "toys.sise: unknown key"),
        (["--with", "toy/brightness", "--out", "a.txt"], "--out a.txt: not a table"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], problem: str) -> None:
    done = score(tmp_path / "a.csv", *words)
    assert isinstance(done.exception, UserError)
    assert done.exception.problem == problem
    assert score(tmp_path / "a.csv", "--with", "toy/brightness", dataset="no-such").exception is not None
