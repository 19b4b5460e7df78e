"""The shipped network of `trajan-shapes`: the file its card describes, and that it tells motion from damage."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from metrics.trajan.checkpoint import load
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.separation import MOVING, Scores, choose, of_pixels, of_truth, wins
from metrics.trajan.sizes import SMALL
from metrics.trajan.table import require_shapes
from metrics.trajan.world import world

torch.set_num_threads(1)
CLIPS, POINTS = 12, 128
DATA = world("heldout", 0, 200)


@cache
def network() -> TrackAutoEncoder:
    return load(require_shapes(), SMALL)


@cache
def values(of: Callable[..., Scores], name: str, motions: tuple[str, ...] = MOVING) -> list[float]:
    found = [of(network(), DATA, index, POINTS, name) for index in choose(DATA, motions, CLIPS)]
    return [score["moving_jaccard"] for score in found]


def test_the_file_is_the_one_of_its_card() -> None:
    path = require_shapes()
    card = path.with_name("README.md").read_text(encoding="utf-8")
    digest = re.search(r"`([0-9a-f]{64})`", card)
    assert digest is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest[1]
    assert path.stat().st_size < 3.5e6


@pytest.mark.parametrize(
    ("name", "least"), [("teleport", 0.9), ("jitter", 0.9), ("shuffle", 0.8), ("reversed: there and back", 0.7)]
)
def test_true_tracks_of_moving_clips_rank_above_damaged_ones(name: str, least: float) -> None:
    assert wins(values(of_truth, ""), values(of_truth, name)) >= least
    assert np.nanmean(values(of_truth, "")) > 0.4


@pytest.mark.parametrize("name", ["reversed: upside down", "reversed: accelerations"])
def test_what_falls_ranks_above_what_rises(name: str) -> None:
    assert wins(values(of_truth, "", ("bounce",)), values(of_truth, name, ("bounce",))) >= 0.8


@pytest.mark.parametrize(
    ("name", "least"), [("teleport", 0.9), ("jitter", 0.9), ("shuffle", 0.8), ("reversed: there and back, as far", 0.7)]
)
def test_tracked_pixels_of_moving_clips_rank_above_damaged_ones(name: str, least: float) -> None:
    assert wins(values(of_pixels, ""), values(of_pixels, name)) >= least


def test_tracked_bounces_rank_above_themselves_upside_down() -> None:
    name = "reversed: upside down"
    assert wins(values(of_pixels, "", ("bounce",)), values(of_pixels, name, ("bounce",))) >= 0.8
