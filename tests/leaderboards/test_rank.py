"""Boards from run directories with known scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UserError
from harness.store import append_jsonl
from leaderboards.notes import notes
from leaderboards.rank import Leaderboard, frame, paired, table
from tests.leaderboards.runs import M, write_cell, write_suite

UP, DOWN = M("toy/up"), M("toy/down", higher_is_better=False, range=(0.0, 9.0))
SIZE, SET = M("toy/size", higher_is_better=None, unit="px"), M("toy/set", level="set")


def linear(start: float, n: int = 12) -> list[float]:
    return [start + 0.01 * i for i in range(n)]


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    """good beats bad on every prompt by about 0.3 (up) and is 1.0 lower (down); same ties with good."""
    folder = write_suite(tmp_path, ["bad", "good", "same"], [UP, DOWN, SIZE], 12)
    wobble = [0.02 * (-1) ** i for i in range(12)]
    rows = {"bad": (0.2, 2.0), "good": (0.5, 1.0), "same": (0.499, 1.0)}
    for row, (up, down) in rows.items():
        noise = wobble if row == "same" else [0.0] * 12
        ups = [x + w for x, w in zip(linear(up), noise, strict=True)]
        downs = [x + w for x, w in zip(linear(down), noise, strict=True)]
        write_cell(folder, row, {UP: ups, DOWN: downs, SIZE: linear(0.1)})
    return table(folder)


def ranks(board: Leaderboard, column: str) -> dict[str, int | None]:
    return {entry.label: board.values[entry.label, column].rank for entry in board.entries}


def test_means_ranks_and_order(board: Leaderboard) -> None:
    assert board.values["bad", "toy/up"].estimate.mean == pytest.approx(0.2 + 0.01 * 5.5)
    assert board.values["bad", "toy/up"].estimate.se == pytest.approx(np.std(linear(0), ddof=1) / math.sqrt(12))
    assert ranks(board, "toy/up") == {"good": 1, "same": 1, "bad": 3}
    assert ranks(board, "toy/down") == {"good": 1, "same": 1, "bad": 3}
    assert ranks(board, "toy/size") == {"good": None, "same": None, "bad": None}
    assert [entry.label for entry in board.entries] == ["good", "same", "bad"]


def test_parts_and_cost(board: Leaderboard) -> None:
    assert board.values["bad", "toy/up"].parts["half"] == (pytest.approx(0.255 / 2), 12)
    cost = board.entries[0].cost
    assert cost == {
        "train_s": 12.5, "generate_s": 12.5, "evaluate_s": 12.5, "nfe": 25.0, "frame_nfe": 225.0, "peak_gib": 0.75,
    }  # fmt: skip


def test_seconds_of_interrupted_attempts_are_summed_and_nfe_is_per_clip(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 4)
    path = write_cell(folder, "a", {UP: [0.1, 0.2, 0.3, 0.4]})
    more = {"stage": "generate", "seconds": 7.5, "items": 12, "nfe": 50.0, "frame_nfe": 450.0, "peak_memory_gib": 2.0}
    append_jsonl(path / "timings.jsonl", [more])
    cost = table(folder).entries[0].cost
    assert cost["generate_s"] == 20.0
    assert cost["nfe"] == pytest.approx((4 * 25 + 12 * 50) / 16)
    assert cost["peak_gib"] == 2.0


def test_paired_differences_against_the_suites_first_row(board: Leaderboard) -> None:
    found = paired(board).set_index(["row", "metric"])
    assert set(found["reference"]) == {"bad"}
    gap = found.loc[("good", "toy/up")]
    assert gap["difference"] == pytest.approx(0.3)
    assert gap["p"] == pytest.approx(2 / 2**12)
    assert gap["p_holm"] == pytest.approx(3 * 2 / 2**12)
    assert found.loc[("good", "toy/down"), "difference"] == pytest.approx(-1.0)
    with pytest.raises(UserError, match='no ranked row is called "best"'):
        paired(board, "best")


def test_partial_rows_are_shown_and_never_ranked(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["done", "half", "undone"], [UP], 12)
    write_cell(folder, "done", {UP: linear(0.1)})
    write_cell(folder, "half", {UP: linear(0.8, 4)}, clips=4)
    write_cell(folder, "undone", {UP: linear(0.8)}, done=False)
    board = table(folder)
    assert ranks(board, "toy/up") == {"done": 1, "half": None, "undone": None}
    assert board.entries[0].label == "done"
    assert board.values["half", "toy/up"].estimate.mean == pytest.approx(0.815)
    told = "\n".join(notes(board))
    assert "half: partial, 4 of 12 clips; shown, not ranked" in told
    assert "undone: partial, 12 of 12 clips, not all stages finished" in told


def test_only_shared_seeds_are_compared(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [UP], 12, seeds=(0, 1))
    write_cell(folder, "a", {UP: linear(0.1)})
    write_cell(folder, "b", {UP: linear(0.2)})
    write_cell(folder, "b", {UP: linear(0.9)}, seed=1)
    board = table(folder)
    assert [entry.seeds for entry in board.entries] == [(0,), (0,)]
    assert board.values["b", "toy/up"].estimate.mean == pytest.approx(0.255)
    assert "seed 1: not used, a has not finished it" in notes(board)


def test_seeds_of_one_prompt_are_one_cluster(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 12, seeds=(0, 1))
    for seed in (0, 1):
        write_cell(folder, "a", {UP: linear(0.1)}, seed=seed)
    found = table(folder).values["a", "toy/up"].estimate
    assert (found.n, found.prompts) == (24, 12)
    assert found.se == pytest.approx(np.std(linear(0), ddof=1) / math.sqrt(12))


def test_different_evaluators_are_different_columns(tmp_path: Path) -> None:
    other = M("toy/up", fingerprint="a" * 16)
    folder = write_suite(tmp_path, ["old", "new"], [UP], 12)
    write_cell(folder, "old", {other: linear(0.9)})
    write_cell(folder, "new", {UP: linear(0.1)})
    board = table(folder)
    assert [column.key for column in board.columns] == ["toy/up@ffffffff", "toy/up@aaaaaaaa"]
    assert ranks(board, "toy/up@ffffffff") == {"new": 1, "old": None}
    assert ranks(board, "toy/up@aaaaaaaa") == {"new": None, "old": 1}
    assert any("never ranked together" in note for note in notes(board))


def test_not_applicable_and_failed_clips_are_counted(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [UP], 4)
    write_cell(folder, "a", {UP: [0.4, None, 0.6, 0.5]})
    write_cell(folder, "b", {UP: [0.4, 0.5, None, 0.6]}, errors={("toy/up", 2): "OSError: gone"})
    board = table(folder)
    a, b = board.values["a", "toy/up"], board.values["b", "toy/up"]
    assert (a.na, a.errors, a.missing, a.estimate.n, a.estimate.mean) == (1, 0, 0, 3, pytest.approx(0.5))
    assert (b.na, b.errors, b.estimate.n) == (0, 1, 3)
    assert (a.rank, b.rank) == (1, None)
    assert "toy/up: not applicable, clips: a 1" in notes(board)
    assert "toy/up: failed, clips: b 1" in notes(board)


def test_unscored_clips_keep_a_row_out_of_the_ranking(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP, DOWN], 12)
    write_cell(folder, "a", {UP: linear(0.1), DOWN: linear(0.1, 5)})
    board = table(folder)
    assert board.values["a", "toy/down"].missing == 7
    assert (board.values["a", "toy/up"].rank, board.values["a", "toy/down"].rank) == (1, None)


def test_saturation_is_said(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [UP, DOWN], 12)
    write_cell(folder, "a", {UP: [1.0] * 12, DOWN: [0.0] * 12})
    write_cell(folder, "b", {UP: [1.0] * 11 + [0.9], DOWN: linear(1)})
    board = table(folder)
    assert [board.values[row, "toy/up"].saturated for row in ("a", "b")] == [True, False]  # 11 of 12 is under 95 %
    assert board.values["a", "toy/down"].saturated
    assert any(note.startswith("toy/up: saturated for a:") for note in notes(board))


def test_constant_scores_are_said(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 12)
    write_cell(folder, "a", {UP: [0.25] * 12})
    assert "toy/up: one and the same score on all clips of a; no interval can be told" in notes(table(folder))


def test_set_metrics_have_one_value_a_seed(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [SET], 5, seeds=(0, 1))
    for row, values in {"a": (0.1, 0.2), "b": (0.8, 0.9)}.items():
        for seed, value in enumerate(values):
            write_cell(folder, row, {SET: [value]}, seed=seed, clips=5)
    board = table(folder)
    found = board.values["b", "toy/set"].estimate
    assert (found.mean, found.n, found.prompts) == (pytest.approx(0.85), 2, 2)
    assert found.se == pytest.approx(0.05)
    assert ranks(board, "toy/set") == {"b": 1, "a": 1}
    assert "toy/set: 2 seeds cannot separate 2 rows, however different; ranks are all ties" in notes(board)


def test_two_configs_of_one_row_have_two_labels(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 12)
    write_cell(folder, "a", {UP: linear(0.1)}, config={"lr": 1})
    write_cell(folder, "a", {UP: linear(0.2)}, config={"lr": 2})
    labels = [entry.label for entry in table(folder).entries]
    assert len(set(labels)) == 2
    assert all(label.startswith("a@") for label in labels)


def test_frame_has_one_line_per_row_and_metric(board: Leaderboard) -> None:
    found = frame(board).set_index(["row", "metric"])
    assert len(found) == 3 * 3 * 2  # rows x metrics x (value, part)
    line = found.loc[("good", "toy/up")]
    assert (line["rank"], line["n_prompts"], line["status"], line["nfe"]) == (1, 12, "complete", 25.0)


def test_an_empty_suite_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mutoscope run quick"):
        table(write_suite(tmp_path, [], [UP], 4))
