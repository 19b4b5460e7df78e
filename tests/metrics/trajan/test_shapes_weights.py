"""The shipped network of `trajan-shapes`: the file its card describes, and that it tells motion from damage."""

from __future__ import annotations

import hashlib
import re
from functools import cache

import numpy as np
import torch

from metrics.trajan.checkpoint import load
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.separation import MOVING, Scores, choose, of_pixels, of_truth, wins
from metrics.trajan.sizes import SMALL
from metrics.trajan.table import require_shapes
from metrics.trajan.world import world

torch.set_num_threads(1)
CLIPS, POINTS = 12, 128
DATA = world("heldout", 0, 100)


@cache
def network() -> TrackAutoEncoder:
    return load(require_shapes(), SMALL)


def scores(of: object, name: str) -> list[Scores]:
    assert callable(of)
    return [of(network(), DATA, index, POINTS, name) for index in choose(DATA, MOVING, CLIPS)]


def jaccards(found: list[Scores]) -> list[float]:
    return [score["average_jaccard"] for score in found]


def test_the_file_is_the_one_of_its_card() -> None:
    path = require_shapes()
    card = path.with_name("README.md").read_text(encoding="utf-8")
    digest = re.search(r"`([0-9a-f]{64})`", card)
    assert digest is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest[1]
    assert path.stat().st_size < 3e6


def test_true_tracks_of_moving_clips_rank_above_damaged_ones() -> None:
    real = jaccards(scores(of_truth, ""))
    for name, least in (("teleport", 1.0), ("jitter", 1.0), ("shuffle", 0.6)):
        assert wins(real, jaccards(scores(of_truth, name))) >= least, name
    assert np.mean(real) > 0.6


def test_tracked_pixels_of_moving_clips_rank_above_damaged_ones() -> None:
    real = jaccards(scores(of_pixels, ""))
    for name, least in (("teleport", 1.0), ("jitter", 1.0), ("shuffle", 0.7)):
        assert wins(real, jaccards(scores(of_pixels, name))) >= least, name
