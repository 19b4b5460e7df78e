"""The printed board: fits, says what it must, marks what it must not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from leaderboards.export import gallery, write_all
from leaderboards.rank import Leaderboard, table
from leaderboards.show import cell_text, markdown, render
from tests.leaderboards.runs import M, write_cell, write_suite

METRICS = [
    M("shapes/alignment"),
    M("shapes/instance_preservation"),
    M("flow/dynamic_degree"),
    M("flow/magnitude", higher_is_better=None, range=(0.0, 64.0), unit="px/frame"),
    M("vbench/temporal_flickering"),
]
ROWS = {"base": 0.1, "supervised-logitnormal": 0.3, "tqd": 0.6}


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    folder, rng = write_suite(tmp_path, list(ROWS), METRICS, 16), np.random.default_rng(0)
    for row, mean in ROWS.items():
        scores = {m: (mean + rng.normal(0, 0.05, 16)).clip(0, 1).tolist() for m in METRICS}
        write_cell(folder, row, scores)
    write_cell(folder, "late", {METRICS[0]: [0.5] * 4}, clips=4, done=False)
    return table(folder)


def plain(board: Leaderboard, **options: bool) -> str:
    out = io.StringIO()
    render(board, Console(file=out), **options)
    return out.getvalue()


def test_five_metrics_fit_in_120_plain_columns(board: Leaderboard) -> None:
    text = plain(board)
    assert max(map(len, text.splitlines())) <= 120
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.lstrip().startswith("tqd ")]
    assert len(rows) == 2  # one line of quality, one of cost: nothing wrapped
    assert rows[0].count("#1") == 4
    assert rows[0].count("±") == 5


def test_cells_say_value_interval_and_rank(board: Leaderboard) -> None:
    entry = next(entry for entry in board.entries if entry.label == "tqd")
    value = board.values["tqd", "shapes/alignment"].estimate
    half = (value.high - value.low) / 2
    assert cell_text(board, board.columns[0], entry) == f"{value.mean:.3f} ±{half:.3f} #1"
    late = next(entry for entry in board.entries if entry.label == "late")
    assert cell_text(board, board.columns[0], late) == "0.500 #-"
    assert cell_text(board, board.columns[1], late) == "-"


def test_partial_rows_and_parts(board: Leaderboard) -> None:
    text = plain(board, parts=True)
    assert "partial" in text
    assert "4/16" in text
    assert "late: partial, 4 of 16 clips" in text
    assert "shapes/alignment.half" in text


def test_many_metrics_are_split_into_tables_that_fit(tmp_path: Path) -> None:
    metrics = [M(f"toy/quite_long_metric_{i}") for i in range(12)]
    folder = write_suite(tmp_path, ["a"], metrics, 4)
    write_cell(folder, "a", {m: [0.1, 0.2, 0.3, 0.4] for m in metrics})
    text = plain(table(folder))
    assert max(map(len, text.splitlines())) <= 120
    assert sum(line.lstrip().startswith("a ") for line in text.splitlines()) >= 3


def test_markdown_is_a_table_with_the_best_in_bold(board: Leaderboard) -> None:
    lines = markdown(board).splitlines()
    assert next(line for line in lines if line.startswith("| tqd")).count("**") == 8  # four ranked columns
    assert next(line for line in lines if line.startswith("| base")).count("**") == 0
    widths = {line.count("|") for line in lines if line.startswith("|") and "px/frame" not in line}
    assert widths == {len(METRICS) + 2, 10}


def test_nothing_is_bold_when_all_tie(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], METRICS[:1], 8)
    for row in ("a", "b"):
        write_cell(folder, row, {METRICS[0]: [0.5, 0.6] * 4})
    assert not any("**" in line for line in markdown(table(folder)).splitlines() if line.startswith("|"))


def test_gallery_escapes_prompts_and_says_what_it_left_out(board: Leaderboard) -> None:
    runs = {entry.label: entry.runs[0] for entry in board.entries}
    page = gallery("all <rows>", runs, board.columns)
    assert "&lt;b&gt;boxes&lt;/b&gt;" in page
    assert "<b>boxes" not in page
    assert "all &lt;rows&gt;" in page
    assert page.count("<video") == 3 * 16 + 4
    assert "http" not in page.replace("data:video/mp4", "")  # nothing is fetched
    small = gallery("few", runs, board.columns, limit=100)
    assert "prompts left out" in small
    assert small.count("<section>") < 16


def test_write_all(board: Leaderboard, tmp_path: Path) -> None:
    paths = write_all(board, tmp_path / "out")
    assert paths["board.csv"].read_text().splitlines()[0].startswith("row,method,config,status,metric")
    assert paths["gallery.html"].stat().st_size > 5000
