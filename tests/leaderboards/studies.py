"""Small studies, for tests of the arena."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leaderboards.arena.study import Clip, Item, Row, Study, questions
from tests.leaderboards.runs import DIGEST, M, write_cell, write_suite

UP = M("toy/up")
ASKED = ("overall=Which one?", "motion=Which moves <b>better</b>?")


def study(
    rows: Sequence[str] = ("a", "b", "c"), prompts: int = 8, pairs: int = 10, panel: int = 3, seed: int = 0
) -> Study:
    """Row `x` lives in the folder `x@1`; every row has a clip of every prompt."""
    items = tuple(
        Item(f"{i:04d}", 0, f"prompt {i}", {f"{row}@1": Clip(f"{row}@1/seed0/{i}.mp4", f"{row}{i}") for row in rows})
        for i in range(prompts)
    )
    named = tuple(Row(f"{row}@1", row) for row in rows)
    return Study(DIGEST, named, questions(ASKED), items, pairs, panel, seed)


def write_runs(
    root: Path, rows: Sequence[str] = ("plain", "fancy", "secret"), prompts: int = 12, video: bool = False
) -> Path:
    """A suite folder with a clip of every row and prompt."""
    folder = write_suite(root, rows, [UP], prompts)
    for number, row in enumerate(rows):
        write_cell(
            folder, row, {UP: [0.1 * number + 0.01 * i for i in range(prompts)]}, config={"lr": number}, video=video
        )
    return folder
