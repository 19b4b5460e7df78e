"""The picture shows every row's own frames at their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.errors import UserError
from leaderboards.poster import LINE, MARGIN, poster
from leaderboards.rank import table
from tests.leaderboards.runs import M, write_cell, write_suite


def two_rows(root: Path) -> Path:
    metric = M("toy/score")
    suite = write_suite(root, ["a", "b"], [metric], prompts=3)
    for seed, row in enumerate(("a", "b")):
        write_cell(suite, row, {metric: [0.1, 0.2, 0.3]}, video=True, seconds=seed)
    return suite


def test_strips_stand_where_row_and_prompt_meet(tmp_path: Path) -> None:
    board = table(two_rows(tmp_path))
    page = np.asarray(poster(board, prompts=2, frames=3))
    run = board.entries[1].used[0]
    clip = video.read(run / sorted(run.clips(), key=lambda row: row["id"])[1]["file"]).frames
    strip = video.contact_sheet(clip, 3)
    height, width = strip.shape[:2]
    left, top = MARGIN + (width + MARGIN), LINE + MARGIN + (LINE + height + MARGIN) + LINE
    assert (page[top : top + height, left : left + width] == strip).all()


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    suite = two_rows(tmp_path)
    for path in suite.rglob("clips.jsonl"):
        path.write_text("")
    with pytest.raises(UserError, match="no clips to show"):
        poster(table(suite))
