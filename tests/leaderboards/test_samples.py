"""Samples of one prompt are not independent: they enter a leaderboard as one prompt with more values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import stats
from harness.store import read_jsonl, run_dirs, write_jsonl
from leaderboards.rank import table
from leaderboards.read import Column, prompt_groups, score_array
from tests.leaderboards.runs import M, write_cell, write_suite

METRIC = M("flow/magnitude")
NAN = float("nan")


def column(level: str = "clip") -> Column:
    return Column(METRIC.name, METRIC.name, METRIC.fingerprint, level, True, (0.0, 1.0))


def sampled(cell: Path, prompts: int, samples: int) -> None:
    """Make the cell's clips samples of few prompts, with the ids `generate` gives them."""
    clips = read_jsonl(cell / "clips.jsonl")
    ids = {}
    for number, clip in enumerate(clips):
        prompt, sample = divmod(number, samples)
        ids[clip["id"]] = f"{prompt:04d}-a-cat-s{sample}"
        clip |= {"id": ids[clip["id"]], "prompt": f"cat {prompt}", "meta": {"sample": sample, "samples": samples}}
    assert len(clips) == prompts * samples
    write_jsonl(cell / "clips.jsonl", clips)
    for file in (cell / "scores").rglob("*.jsonl"):
        write_jsonl(file, [row | {"clip": ids[row["clip"]]} for row in read_jsonl(file)])


def test_samples_are_columns_of_their_prompt(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["base"], [METRIC], 24, seeds=(0, 1))
    for seed in (0, 1):
        sampled(write_cell(folder, "base", {METRIC: [i + seed / 2 for i in range(24)]}, seed), 2, 12)
    groups = prompt_groups(run_dirs(folder))
    assert [len(group) for group in groups] == [12, 12]
    assert groups[0][9:] == ["0000-a-cat-s9", "0000-a-cat-s10", "0000-a-cat-s11"]  # by number, not by letter
    rows = {
        (row["clip"], seed): row
        for seed, run in enumerate(run_dirs(folder))
        for row in run.scores()[f"{METRIC.name}@ffffffff"]
    }
    array = score_array(column(), [1, 0], rows, groups)
    assert array.shape == (2, 24)
    assert array[0].tolist() == [*range(12), *(i + 0.5 for i in range(12))]
    assert array[1, :12].tolist() == [*range(12, 24)]


def test_prompts_with_fewer_samples_are_padded() -> None:
    rows = {(clip, 0): {"value": value, "error": ""} for clip, value in (("a0", 1.0), ("a1", 2.0), ("b0", 3.0))}
    array = score_array(column(), [0], rows, [["a0", "a1"], ["b0"]])
    assert np.array_equal(array, [[1.0, 2.0], [3.0, NAN]], equal_nan=True)
    assert stats.estimate(array).mean == 2.0


def test_without_samples_every_clip_is_a_prompt(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["base"], [METRIC], 3)
    write_cell(folder, "base", {METRIC: [0.1, None, 0.3]})
    groups = prompt_groups(run_dirs(folder))
    assert groups == [["0000-a-red-ball"], ["0001-a-red-ball"], ["0002-a-red-ball"]]
    rows = {(row["clip"], 0): row for row in run_dirs(folder)[0].scores()[f"{METRIC.name}@ffffffff"]}
    assert np.array_equal(score_array(column(), [0], rows, groups), [[0.1], [NAN], [0.3]], equal_nan=True)


def test_metrics_of_the_whole_set_know_no_samples() -> None:
    rows = {("*", seed): {"value": seed / 4, "error": ""} for seed in (0, 1)}
    assert score_array(column("summary"), [0, 1], rows, [["a0", "a1"]]).tolist() == [[0.0], [0.25]]


def test_the_interval_is_over_prompts(tmp_path: Path) -> None:
    """Six prompts, four nearly equal samples each: 24 clips tell no more of other prompts than six."""
    rng = np.random.default_rng(0)
    means = rng.uniform(0.2, 0.8, 6)
    values = [float(mean + rng.normal(0, 1e-4)) for mean in means for _ in range(4)]
    spreads = {}
    for name in ("alone", "together"):
        folder = write_suite(tmp_path / name, ["base"], [METRIC], 24)
        cell = write_cell(folder, "base", {METRIC: values})
        if name == "together":
            sampled(cell, 6, 4)
        estimate = table(folder).values["base", METRIC.name].estimate
        assert estimate.mean == pytest.approx(np.mean(values))
        assert (estimate.n, estimate.prompts) == (24, 24 if name == "alone" else 6)
        spreads[name] = estimate.se
    assert spreads["together"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(6), rel=1e-2)
    assert spreads["alone"] < 0.55 * spreads["together"]
