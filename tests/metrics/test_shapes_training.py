"""The reader's training script: labels, the frozen clips it shows, and resuming to the same numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api import UserError
from metrics.shapes import train_reader
from metrics.shapes.colours import COLOURS, DIRECTIONS, MOTIONS, SHAPES, to_raster
from metrics.shapes.train_reader import NO_LABEL, freeze, labels, make_batch, shapes_dataset, train
from tests.metrics.shapes_clips import scenes_with

torch.set_num_threads(1)  # two threads on busy cores are ten times slower than one

META = {
    "objects": [
        {"colour": "blue", "shape": "ring", "motion": "drift", "direction": "up"},
        {"colour": "white", "shape": "disk", "motion": "pulse", "direction": None},
    ],
    "camera": "zoom in",
}


def options(folder: Path, **change: int) -> argparse.Namespace:
    chosen = {"steps": 2, "batch": 2, "clips": 8, "seed": 3, "threads": 1, "save_every": 1, **change}
    return argparse.Namespace(**chosen, state=folder / "state.pt")


def test_labels_name_the_objects_and_one_empty_colour() -> None:
    rows = labels(META, np.random.default_rng(0)).tolist()
    up = DIRECTIONS.index("up")
    assert rows[0] == [COLOURS.index("blue"), 1, SHAPES.index("ring"), MOTIONS.index("drift"), up]
    assert rows[1] == [COLOURS.index("white"), 1, SHAPES.index("disk"), MOTIONS.index("pulse"), NO_LABEL]
    assert rows[2][1:] == [0, NO_LABEL, NO_LABEL, NO_LABEL]
    assert COLOURS[rows[2][0]] not in ("blue", "white")
    assert len(rows) == 3


def test_a_frozen_clip_is_one_frame_and_still() -> None:
    video = to_raster(scenes_with("drift", 1)[0][1])
    frozen, meta = freeze(video, META, np.random.default_rng(0))
    assert np.abs(np.diff(frozen, axis=0)).max() == 0
    assert any(np.array_equal(frozen[0], frame) for frame in video)
    assert [t["motion"] for t in meta["objects"]] == ["still", "still"]
    assert (meta["camera"], META["camera"]) == ("still", "zoom in")
    morph = {"objects": [{"motion": "morph"}], "camera": "still"}
    assert freeze(video, morph, np.random.default_rng(0))[0] is video


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    data = shapes_dataset("train", 0, 20)
    first, again, other = (make_batch(data, 0, step, 2) for step in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["film"], other["film"])
    assert first["clip"].unique().tolist() == [0, 1]


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = train(options(tmp_path / "whole"))
    plain, calls = train_reader.loss, iter(range(99))
    monkeypatch.setattr(train_reader, "loss", lambda *args: plain(*args) if next(calls) < 1 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(options(tmp_path / "cut"))
    monkeypatch.setattr(train_reader, "loss", plain)
    cut = train(options(tmp_path / "cut"))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), cut.state_dict().values(), strict=True))


def test_a_state_file_of_another_run_is_refused(tmp_path: Path) -> None:
    train(options(tmp_path, steps=1))
    with pytest.raises(UserError, match="another run"):
        train(options(tmp_path, steps=2))
