"""Rows held against each other: differences, disagreement, and the page with the clips."""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import stats
from harness.errors import UserError
from leaderboards.compare import compare, disagreement, frame, prompt_frame, write_csv
from leaderboards.compare_page import write_page
from leaderboards.rank import Leaderboard, table
from tests.leaderboards.runs import M, write_cell, write_suite

UP, DOWN = M("toy/up"), M("toy/down", higher_is_better=False, range=(0.0, 9.0))
SIZE, SET = M("toy/size", higher_is_better=None, unit="px"), M("toy/set", level="set")
A = [0.10, 0.20, 0.30, 0.40, 0.50, 0.60]
B = [0.30, 0.25, 0.30, 0.90, 0.70, 0.80]


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    folder = write_suite(tmp_path, ["a", "b", "c+d"], [UP, DOWN, SIZE, SET], 6)
    worse = [1.0 + x for x in A]
    write_cell(folder, "a", {UP: A, DOWN: worse, SIZE: A, SET: [0.5]}, video=True)
    write_cell(folder, "b", {UP: B, DOWN: [x + 0.5 for x in worse], SIZE: B, SET: [0.75]}, video=True)
    write_cell(folder, "c+d", {UP: [0.1, None, 0.3, 0.4, 0.5, 0.6], DOWN: worse, SIZE: A, SET: [0.5]}, video=True)
    return table(folder)


def test_differences_are_row_minus_the_first_one(board: Leaderboard) -> None:
    found = {(gap.metric.key, gap.row): gap for gap in compare(board, ["a", "b"]).gaps}
    up, down, size, whole = (found[key, "b"] for key in ("toy/up", "toy/down", "toy/size", "toy/set"))
    assert up.difference.mean == pytest.approx(np.mean(np.subtract(B, A)))
    assert up.difference == stats.paired(np.array(B)[:, None], np.array(A)[:, None])
    assert (up.mean, up.reference_mean) == (pytest.approx(np.mean(B)), pytest.approx(0.35))
    assert down.difference.mean == pytest.approx(0.5)
    assert down.difference.p == pytest.approx(2 / 64)  # six prompts, all the same way
    assert (whole.difference.mean, whole.difference.p) == (0.25, 1.0)  # one seed tells nothing
    ranked = [up, down, whole]
    assert [gap.p_holm for gap in ranked] == pytest.approx(list(stats.holm([gap.difference.p for gap in ranked])))
    assert math.isnan(size.p_holm)
    assert size.better is None


def test_better_means_shown_to_be_better(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [UP, DOWN], 12)
    up = [0.01 * i for i in range(12)]
    write_cell(folder, "a", {UP: up, DOWN: [x + 1 for x in up]})
    write_cell(folder, "b", {UP: [x + 0.5 for x in up], DOWN: [x + 2 for x in up]})
    assert [gap.better for gap in compare(table(folder), ["a", "b"]).gaps] == [True, False]
    assert [gap.better for gap in compare(table(folder), ["b", "a"]).gaps] == [False, True]


def test_clips_that_one_row_lacks_are_left_out(board: Leaderboard) -> None:
    gap = next(g for g in compare(board, ["b", "c+d"]).gaps if g.metric.key == "toy/up")
    kept = [i for i in range(6) if i != 1]
    assert gap.difference.n == 5
    assert gap.difference.mean == pytest.approx(np.mean([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6][i] - B[i] for i in kept]))
    assert gap.reference_mean == pytest.approx(np.mean([B[i] for i in kept]))


def test_disagreement_is_spread_in_units_of_the_metrics_spread() -> None:
    """Two metrics, two rows, three prompts; the second metric is the first in other units."""
    one = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, np.nan]])
    values = np.stack([one, 10 * one + 5])
    whole = np.nanstd(one)
    assert disagreement(values) == pytest.approx([0.0, 1.0 / whole, 0.0])
    assert disagreement(np.ones((1, 2, 3))) == pytest.approx([0.0] * 3)  # constant: nothing to be apart in


def test_prompts_come_most_disagreed_on_first(board: Leaderboard) -> None:
    found = compare(board, ["a", "b"])
    order = [prompt.clips[0][:4] for prompt in found.prompts]
    assert order == ["0003", "0000", "0004", "0005", "0001", "0002"]  # 0.5, three times 0.2, 0.05 and 0 apart
    far = [p.disagreement for p in found.prompts]
    assert far == pytest.approx(sorted(far, reverse=True))
    assert found.prompts[0].scores["b"]["toy/up"] == pytest.approx(0.9)
    listed = prompt_frame(found)
    assert list(listed["disagreement"]) == [p.disagreement for p in found.prompts]
    assert listed["toy/up [b]"].iloc[0] == pytest.approx(0.9)


def test_tables_are_written(board: Leaderboard, tmp_path: Path) -> None:
    found = compare(board, ["a", "b", "c+d"])
    differences, prompts = write_csv(found, tmp_path / "out")
    read = pd.read_csv(differences)
    assert len(read) == 8  # four metrics, two rows
    assert read["difference"].to_numpy() == pytest.approx(frame(found)["difference"].to_numpy())
    assert len(pd.read_csv(prompts)) == 6


@pytest.mark.parametrize(
    ("labels", "said"),
    [(["a"], "two or more"), (["a", "a"], "two or more"), (["a", "bb"], 'no row "bb"')],
)
def test_what_cannot_be_compared_is_said(board: Leaderboard, labels: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare(board, labels)


def test_rows_without_a_common_seed(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b"], [UP], 6, seeds=(0, 1))
    write_cell(folder, "a", {UP: A}, seed=0)
    write_cell(folder, "b", {UP: B}, seed=1)
    with pytest.raises(UserError, match="no seed in common"):
        compare(table(folder), ["a", "b"])


def test_the_page_has_its_clips_beside_it(board: Leaderboard, tmp_path: Path) -> None:
    page = write_page(compare(board, ["a", "b", "c+d"]), tmp_path / "out").read_text()
    sources = re.findall(r'data-src="([^"]+)"', page)
    assert len(sources) == 18
    assert all((tmp_path / "out" / source.replace("%2B", "+")).is_file() for source in sources)
    assert page.count("<canvas data-row") == 12  # two differences a prompt
    assert "<b>boxes</b>" not in page  # prompts are text
    assert "://" not in page.replace("http://www.w3.org", "")  # nothing is fetched from elsewhere
    assert write_page(compare(board, ["a", "b", "c+d"]), tmp_path / "out").read_text() == page


def test_an_inline_page_is_one_file(board: Leaderboard, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    page = write_page(compare(board, ["a", "b"]), folder, inline=True).read_text()
    assert [path.name for path in folder.iterdir()] == ["compare.html"]
    clip = board.entries[0].runs[0].path / "clips" / "0000-a-red-ball.mp4"
    assert base64.b64encode(clip.read_bytes()).decode() in page


def test_a_lost_clip_is_a_gap_not_a_failure(board: Leaderboard, tmp_path: Path) -> None:
    found = compare(board, ["a", "b"])
    (found.runs["b"].path / "clips" / "0002-a-red-ball.mp4").unlink()
    page = write_page(found, tmp_path / "out").read_text()
    assert page.count("no clip</p>") == 1
    assert page.count("<canvas data-row") == 5
