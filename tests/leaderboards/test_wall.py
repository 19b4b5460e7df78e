"""The wall of clips: which clip is where, in which size, and what happens to clips that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.store import RunDir
from leaderboards.wall import GAP, wall, write_wall
from tests.leaderboards.runs import M, write_cell, write_suite

UP = M("toy/up")


def flat(value: int, frames: int, height: int, width: int) -> np.ndarray:
    return np.full((frames, height, width, 3), value, np.uint8)


def test_clips_have_their_places() -> None:
    found = wall([flat(10 + i, 3, 20, 30) for i in range(5)])
    assert found.shape == (3, 2 * 20 + GAP, 4 * 30 + 3 * GAP, 3)
    assert found[0, 0, :: 30 + GAP, 0].tolist() == [10, 11, 12, 13]
    assert found[0, 20 + GAP, :: 30 + GAP, 0].tolist() == [14, 0, 0, 0]


def test_shorter_and_smaller_clips() -> None:
    short = np.stack([flat(v, 1, 11, 7)[0] for v in (5, 6)])
    found = wall([flat(9, 4, 21, 30), short])
    assert found.shape == (4, 22, 2 * 30 + GAP, 3)  # 21 rows, made even
    assert found[:, 0, 30 + GAP, 0].tolist() == [5, 6, 6, 6]
    assert found[0, 11, 30 + GAP, 0] == found[0, 0, 30 + GAP + 7, 0] == 0


@pytest.mark.parametrize(("side", "shown"), [(32, 160), (64, 128), (480, 160)])
def test_clips_are_brought_to_one_size(tmp_path: Path, side: int, shown: int) -> None:
    folder = write_suite(tmp_path, ["row"], [UP], 3)
    run = RunDir(write_cell(folder, "row", {UP: [0.1, 0.2, 0.3]}, video=True))
    for row in run.clips():
        video.write(run / row["file"], flat(100, 9, side, side), 8.0)
    assert write_wall(run, tmp_path / "wall.mp4") == 3
    made = video.read(tmp_path / "wall.mp4")
    assert (made.frames.shape, made.fps) == ((9, shown, 3 * shown + 2 * GAP, 3), 8.0)
    (run / run.clips()[1]["file"]).write_bytes(b"no video")
    assert write_wall(run, tmp_path / "two.mp4") == 2
    for row in run.clips():
        (run / row["file"]).write_bytes(b"no video")
    assert write_wall(run, tmp_path / "none.mp4") == 0
    assert not (tmp_path / "none.mp4").exists()
