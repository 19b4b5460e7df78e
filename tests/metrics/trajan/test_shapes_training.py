"""What `trajan-shapes` learns from and is measured on: tracks of the embedded world, their damage, and the script."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api import UserError
from metrics.trajan import damage, train_shapes
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.rest import start_at_rest
from metrics.trajan.separation import auc, choose, of_pixels, of_truth, table, wins
from metrics.trajan.sizes import SMALL
from metrics.trajan.train_shapes import blemish, chosen_clips, make_batch, rate, train
from metrics.trajan.world import Motion, draw_queries, motion, world

torch.set_num_threads(1)

DATA = world("train", 0, 400)


@cache
def move_of(index: int) -> Motion:
    return motion(DATA, index)


def with_motion(name: str) -> Motion:
    return move_of(choose(DATA, (name,), 1)[0])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def middle(move: Motion, row: int = 0) -> np.ndarray:
    """Path of one point of a thing."""
    frame, y, x = np.argwhere(move.shown == row)[0]
    return move.follow(np.array([[frame, x + 0.5, y + 0.5]]))[0][0]


@pytest.mark.parametrize("index", range(4))
def test_points_are_followed_as_the_world_has_them(index: int) -> None:
    truth, move = DATA.truth(index), move_of(index)
    seen = truth.visible[:, 3]
    queries = np.concatenate([np.full((seen.sum(), 1), 3.0), truth.tracks[seen, 3]], 1)
    tracks, visible, rows = move.follow(queries)
    np.testing.assert_allclose(tracks, truth.tracks[seen], atol=1e-9)
    np.testing.assert_array_equal(visible, truth.visible[seen])
    ground = len(move.turns) - 1
    np.testing.assert_array_equal(rows, np.where(truth.owner[seen] < 0, ground, truth.owner[seen]))


def test_queries_are_visible_where_they_are_drawn() -> None:
    move = move_of(0)
    queries = draw_queries(move, 400, 0.5, rng())
    tracks, visible, rows = move.follow(queries)
    frame = queries[:, 0].astype(int)
    np.testing.assert_allclose(tracks[np.arange(400), frame], queries[:, 1:], atol=1e-9)
    assert visible[np.arange(400), frame].all()
    assert (rows < len(move.turns) - 1).mean() > 0.5
    assert (draw_queries(move, 50, 0.0, rng())[:, 0] < 17).all()


def test_reordered_clips_show_the_same_places_in_another_order() -> None:
    move = with_motion("drift")
    back, there = damage.reversed_time(move, rng()), damage.there_and_back(move, rng())
    np.testing.assert_array_equal(back.shifts, move.shifts[:, ::-1])
    np.testing.assert_array_equal(back.shown, move.shown[::-1])
    assert damage.turning(6).tolist() == [0, 1, 2, 2, 1, 0]
    assert damage.turning(5).tolist() == [0, 1, 2, 1, 0]
    assert damage.turning_fast(5).tolist() == [0, 2, 4, 2, 0]
    assert damage.turning_fast(6).tolist() == [0, 2, 4, 4, 2, 0]
    far = damage.as_far_and_back(move, rng())
    row = [thing["motion"] for thing in DATA.rows()[choose(DATA, ("drift",), 1)[0]].meta["objects"]].index("drift")
    paths = [middle(other, row) for other in (move, far, there)]
    reach = [np.hypot(*(path.max(0) - path.min(0))) for path in paths]
    assert reach[1] == pytest.approx(reach[0], rel=1e-6)
    assert reach[2] == pytest.approx(reach[0] / 2, rel=1e-3)
    order = damage.shuffled(move, rng()).shown
    assert not np.array_equal(order, move.shown)
    assert sorted(frame.tobytes() for frame in order) == sorted(frame.tobytes() for frame in move.shown)


def test_what_falls_rises_upside_down_and_under_reversed_acceleration() -> None:
    move = with_motion("bounce")
    row = [thing["motion"] for thing in DATA.rows()[choose(DATA, ("bounce",), 1)[0]].meta["objects"]].index("bounce")
    falls = np.median(np.diff(middle(move, row)[:, 1], 2))  # y points down; in most frames it falls freely
    flipped = np.median(np.diff(middle(damage.upside_down(move, rng()), row)[:, 1], 2))
    pushed = np.median(np.diff(middle(damage.reversed_acceleration(move, rng()), row)[:, 1], 2))
    assert falls > 0.1
    assert flipped == pytest.approx(-falls, abs=1e-6)
    assert pushed == pytest.approx(-falls, abs=1e-6)
    path, other = middle(move, row), middle(damage.reversed_acceleration(move, rng()), row)
    np.testing.assert_allclose((other - other[0])[-1], (path - path[0])[-1], atol=1e-6)


def test_uniform_motion_has_no_acceleration_to_reverse() -> None:
    fits = (i for i, row in enumerate(DATA.rows()) if row.meta["camera"] == "still" and len(row.meta["objects"]) == 1)
    index = next(i for i in fits if DATA.rows()[i].meta["objects"][0]["motion"] == "drift")
    other = damage.reversed_acceleration(move_of(index), rng())
    np.testing.assert_allclose(other.shifts, move_of(index).shifts, atol=1e-5)  # the world rounds to six digits


def test_jumps_and_shakes_have_their_size() -> None:
    move = with_motion("still")
    ground = len(move.turns) - 1
    jumped = damage.teleport(move, rng()).shifts[ground] - move.shifts[ground]
    steps = np.diff(jumped)
    assert np.count_nonzero(steps) == 3
    assert np.abs(steps[steps != 0].real).tolist() == [16, 16, 16]
    shaken = damage.jitter(move, rng()).shifts[ground] - move.shifts[ground]
    assert 1 < np.abs(shaken.real).max() <= 3
    one = damage.object_teleport(move, rng())
    np.testing.assert_array_equal(one.shifts[ground], move.shifts[ground])
    assert np.abs(one.shifts[:ground] - move.shifts[:ground]).max() == pytest.approx(16 * 2**0.5, rel=2)
    assert (one.shown[0] == move.shown[0]).all()


def test_area_under_the_curve_counts_pairs() -> None:
    assert auc([3, 4], [1, 2]) == 1
    assert auc([1, 2], [1, 2]) == 0.5
    assert auc([2, 2], [1, 3]) == 0.5
    assert auc([1, 10], [0, 9]) == 0.75
    assert wins([1, 10], [0, 9]) == 1
    assert wins([1, 1], [1, 2]) == 0.25


def test_blemished_tracks_are_lost_for_good() -> None:
    tracks, visible = np.zeros((300, 9, 2)), np.ones((300, 9), bool)
    visible[:, 6] = False
    queries = np.full((300, 3), 4.0)
    seen = {True: 0, False: 0}
    for seed in range(20):
        _, kept = blemish(tracks, visible, queries, np.random.default_rng(seed))
        assert not (kept & ~visible).any()
        seen[bool(kept[:, 7:].any())] += 1
    assert min(seen.values()) > 4  # about half of the clips have tracks that are not found again


def options(folder: Path, **change: int) -> argparse.Namespace:
    chosen = {
        "steps": 3,
        "batch": 2,
        "points": 8,
        "targets": 6,
        "decay": 2,
        "clips": 4,
        "seed": 3,
        "threads": 1,
        "save_every": 1,
    }
    return argparse.Namespace(**{**chosen, **change}, state=folder / "state.pt")


def test_a_batch_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    first, again, other = (make_batch(options(tmp_path), step) for step in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["queries"], other["queries"])
    when = first["queries"][..., :1].long()[..., None].expand(-1, -1, -1, 2)
    assert torch.equal(first["targets"].gather(2, when)[:, :, 0], first["queries"][..., 1:])


def test_half_of_the_clips_bounce_and_in_all_something_goes_somewhere() -> None:
    used = chosen_clips(3, 40)
    rows = world("train", 3, 320).rows()
    motions = [{thing["motion"] for thing in rows[index].meta["objects"]} for index in used]
    assert len(set(used.tolist())) == 40
    assert sum("bounce" in names for names in motions) == 20
    assert all(names & {"bounce", "drift", "orbit", "zigzag", "occlude"} for names in motions)


def test_a_new_network_expects_points_to_rest() -> None:
    torch.manual_seed(0)
    net = TrackAutoEncoder(SMALL)
    start_at_rest(net, 0)
    queries = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tracks = net.decode(torch.zeros(1, SMALL.latents, SMALL.latent_width), queries).tracks
    assert (tracks - queries[:, :, None, 1:]).norm(dim=-1).mean() < 0.05


def test_a_killed_run_ends_with_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train(options(tmp_path / "a"))

    def die_at_2(chosen: argparse.Namespace, step: int) -> dict[str, torch.Tensor]:
        if step == 2:
            raise KeyboardInterrupt
        return make_batch(chosen, step)

    with monkeypatch.context() as patch:
        patch.setattr(train_shapes, "make_batch", die_at_2)
        with pytest.raises(KeyboardInterrupt):
            train(options(tmp_path / "b"))
    resumed = train(options(tmp_path / "b"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_run_can_be_given_another_end_before_its_last_steps(tmp_path: Path) -> None:
    train(options(tmp_path, steps=3, decay=2))
    with pytest.raises(UserError, match="in its last 2 steps, to 3"):
        train(options(tmp_path, steps=4, decay=2))
    with pytest.raises(UserError, match="of another run"):
        train(options(tmp_path, seed=4))


def test_the_learning_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    chosen = options(tmp_path, steps=1000, decay=100)
    flat = rate(500, chosen)
    shares = [rate(step, chosen) / flat for step in (0, 99, 900, 950, 999)]
    assert shares == pytest.approx([0.01, 1, 1, 0.5, 0.01])


@pytest.mark.parametrize("of", [of_truth, of_pixels])
def test_a_network_that_expects_rest_ranks_a_still_clip_above_itself_shaken(
    of: Callable[..., dict[str, float]],
) -> None:
    torch.manual_seed(0)
    net = TrackAutoEncoder(SMALL).eval()
    start_at_rest(net, 0)
    rows = enumerate(DATA.rows())
    index = next(
        i
        for i, row in rows
        if row.meta["camera"] == "still" and all(thing["motion"] == "still" for thing in row.meta["objects"])
    )
    found = {name: means for name, means, _ in table(lambda name, _: of(net, DATA, index, 32, name), ("jitter",), [0])}
    assert found["none"]["still"] > 0.85 > 0.5 > found["jitter"]["still"]
    assert found["none"]["average_jaccard"] > found["jitter"]["average_jaccard"] + 0.2
