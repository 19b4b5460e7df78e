"""Lucas-Kanade on motion that is known: sub-pixel positions, visibility, both directions, what it loses and finds."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from harness.api import UserError
from harness.tracking import make_tracker
from metrics.trackers import lk
from metrics.trackers.accuracy import tapvid
from metrics.trackers.layers import FRAMES, SIDE, Layered, draw_queries, layered
from metrics.trackers.lk import LucasKanade, LucasKanadeOptions
from tests.footage import drifting, texture

LK = LucasKanade(LucasKanadeOptions())


@cache
def clip_of(speed: float) -> Layered:
    return layered(0, "noise", speed)


def grid(frame: int, low: float, high: float, count: int = 5) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(low, high, count), np.linspace(low, high, count))
    return np.column_stack([np.full(x.size, frame), x.ravel(), y.ravel()])


@pytest.mark.parametrize("step", [(0.4, 0.0), (0.0, -1.3), (2.5, 1.5), (-4.0, 3.0)])
def test_follows_a_translation_below_a_tenth_of_a_pixel_a_frame(step: tuple[float, float]) -> None:
    video, queries = drifting(6, 96, 96, *step), grid(0, 32.3, 64.7)
    tracks, visible = LK.track(video, queries)
    true = queries[:, None, 1:] + np.arange(6)[None, :, None] * np.array(step)
    assert visible.all()
    assert np.hypot(*(tracks - true).T).max() < 0.3


def test_queries_of_any_frame_go_both_ways_and_start_where_they_were_put() -> None:
    video = drifting(7, 96, 96, 1.5, -1.0)
    queries = np.concatenate([grid(0, 40, 56, 2), grid(3, 40, 56, 2), grid(6, 40, 56, 2)])
    tracks, visible = LK.track(video, queries)
    when = queries[:, 0].astype(int)
    true = queries[:, None, 1:] + (np.arange(7)[None] - when[:, None])[..., None] * np.array([1.5, -1.0])
    assert visible.all()
    assert np.hypot(*(tracks - true).T).max() < 0.3
    np.testing.assert_array_equal(tracks[np.arange(12), when], queries[:, 1:].astype(np.float32))


def test_a_point_does_not_depend_on_the_others() -> None:
    clip, queries = clip_of(1.0).video[:12], draw_queries(0, 40, "first")
    queries[::2, 0] = 7
    together, seen = LK.track(clip, queries)
    alone = [LK.track(clip, query[None]) for query in queries]
    np.testing.assert_array_equal(together, np.concatenate([tracks for tracks, _ in alone]))
    np.testing.assert_array_equal(seen, np.concatenate([visible for _, visible in alone]))


def test_time_turned_round_gives_the_same_tracks() -> None:
    clip, queries = clip_of(1.0).video[:10], draw_queries(1, 60, "first")
    queries[:, 0] = np.arange(60) % 10
    tracks, visible = LK.track(clip, queries)
    turned = np.column_stack([9 - queries[:, 0], queries[:, 1:]])
    back, seen = LK.track(np.ascontiguousarray(clip[::-1]), turned)
    np.testing.assert_array_equal(back[:, ::-1], tracks)
    np.testing.assert_array_equal(seen[:, ::-1], visible)


def covered(patch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tracks, visibility and truth of points that three of twelve grey frames hide."""
    video, queries = drifting(12, 96, 96, 2.0, 0.0), grid(0, 30, 50, 7)
    video[5:8] = 128
    tracks, visible = LucasKanade(LucasKanadeOptions(patch=patch)).track(video, queries)
    return tracks, visible, queries[:, None, 1:] + np.arange(12)[None, :, None] * np.array([2.0, 0.0])


def test_a_covered_point_keeps_its_velocity_and_is_found_again() -> None:
    tracks, visible, true = covered(patch=9)
    assert visible[:, :5].all()
    assert visible[:, 5:8].mean() < 0.07  # patches that are themselves grey and flat
    assert visible[:, 8:].mean(0) == pytest.approx([46 / 49] * 4, abs=0.03)
    lost = ~visible[:, 5:8].any(1)
    np.testing.assert_allclose(tracks[lost, 5:8], true[lost, 5:8], atol=0.4)
    assert np.hypot(*(tracks - true).T)[8:, lost].max() < 0.1


def test_what_is_covered_goes_on_as_it_went_last() -> None:
    video = drifting(12, 96, 96, 2.0, 0.0)[[0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0, 0]]  # there, and back
    video[11:] = 128
    tracks, visible = LK.track(video, grid(0, 30, 50, 7))
    lost = ~visible[:, 11:].any(1)
    assert lost.mean() > 0.9
    np.testing.assert_allclose(np.diff(tracks[lost, 10:, 0], axis=1), -2.0, atol=0.2)  # half of it is 0 on the way


def test_without_a_patch_it_is_lost_for_good() -> None:
    tracks, visible, true = covered(patch=0)
    assert visible[:, :5].all()
    assert not visible[:, 5:].any()
    np.testing.assert_allclose(tracks, true, atol=0.5)


def test_a_patch_stops_the_drift_of_many_steps() -> None:
    """Along a path that is known the error of steps adds up; that of a patch does not."""
    clip, queries = clip_of(0.5), draw_queries(6, 300, "first")
    true, shown = clip.tracks(queries)
    drift = []
    for patch in (0, 9):
        tracks, visible = LucasKanade(LucasKanadeOptions(patch=patch)).track(clip.video, queries)
        both = (visible & shown)[:, -1]
        drift.append(float(np.median(np.hypot(*(tracks - true).T)[-1, both])))
    assert drift[1] < 0.5 * drift[0], drift


def test_a_patch_turns_and_grows_with_its_point() -> None:
    """Half a turn of a quarter, and 1.2 times as large: nothing looks as it did unless the patch does the same."""
    canvas, middle, frames = texture(160, 160).astype(np.uint8), (80.0, 80.0), 16
    shots, steps = [], [cv2.getRotationMatrix2D(middle, 3.0 * t, 1 + 0.0125 * t) for t in range(frames)]
    for matrix in steps:
        shots.append(np.repeat(cv2.warpAffine(canvas, matrix, (160, 160))[..., None], 3, 2))
    queries = grid(0, 60, 100, 5)
    tracks, visible = LK.track(np.stack(shots), queries)
    true = np.stack([cv2.transform(queries[None, :, 1:], matrix)[0] for matrix in steps], 1)
    assert visible[:, -1].mean() > 0.9
    assert np.hypot(*(tracks - true).T)[-1][visible[:, -1]].max() < 0.3


def test_a_point_does_not_follow_what_covers_it() -> None:
    """A disc of another texture passes over points that stand still."""
    clip, queries = clip_of(1.0), draw_queries(5, 400, "first")
    _, shown = clip.tracks(queries)
    wrong = [
        float(LucasKanade(LucasKanadeOptions(patch=patch)).track(clip.video, queries)[1][~shown].mean())
        for patch in (0, 9)
    ]
    assert wrong[0] > 0.5
    assert wrong[1] < 0.1, wrong


def test_a_point_that_leaves_the_frame_is_not_visible_there() -> None:
    tracks, visible = LK.track(drifting(12, 96, 96, -3.0, 0.0), np.array([[0, 20.0, 48.0]]))
    inside = tracks[0, :, 0] >= -0.5
    assert not visible[0][~inside].any()
    assert visible[0, :4].all()
    assert not visible[0, -1]
    assert tracks[0, -1, 0] == pytest.approx(20 - 33, abs=1.0)  # it goes on outside


def test_a_query_outside_the_frame_stays_there_unseen() -> None:
    tracks, visible = LK.track(drifting(4, 64, 64, 1.0, 0.0), np.array([[1, -5.0, 10.0], [1, 63.6, 10.0]]))
    assert not visible.any()
    np.testing.assert_array_equal(tracks[0], [[-5.0, 10.0]] * 4)


def test_what_is_too_flat_for_a_small_window_is_followed_by_a_large_one() -> None:
    faint = 128 + (drifting(8, 96, 96, 1.0, 0.5, sigma=4).astype(float) - 128) / 12
    noisy = faint + np.random.default_rng(0).normal(0, 1, faint.shape)
    video, queries = noisy.round().astype(np.uint8), grid(0, 30, 60, 12)
    small, both = (
        LucasKanade(LucasKanadeOptions(windows=windows, patch=0)).track(video, queries)[1][:, -1].mean()
        for windows in ((7,), (7, 15))
    )
    assert both > small + 0.1


def test_accuracy_on_moving_discs_is_held() -> None:
    """Two cells of the README's table at one seed; a step in the wrong direction would halve them."""
    found = []
    for speed in (1.0, 2.0):
        clip, queries = clip_of(speed), draw_queries(0, 300, "strided")
        tracks, visible = LK.track(clip.video, queries)
        assert ((tracks[visible] >= -0.5) & (tracks[visible] < SIDE - 0.5)).all()
        scores = tapvid(queries[:, 0], *clip.tracks(queries), tracks, visible, "strided")
        found.append([float(scores[n]) for n in ("average_pts_within_thresh", "occlusion_accuracy", "average_jaccard")])
    assert (np.array(found) > [[0.93, 0.88, 0.86], [0.86, 0.86, 0.8]]).all(), found


@pytest.mark.parametrize("side", [4, 9])
def test_tiny_frames_are_no_error(side: int) -> None:
    tracks, visible = LK.track(drifting(3, side, side, 0, 0), np.array([[0, 1.0, 2.0]]))
    assert np.isfinite(tracks).all()
    assert visible[0, 0]


def test_one_frame_is_its_own_track() -> None:
    tracks, visible = LK.track(drifting(1, 32, 32, 0, 0), np.array([[0, 3.25, 4.0]]))
    assert tracks.tolist() == [[[3.25, 4.0]]]
    assert visible.all()


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match=r"tracker\.windows\.0"):
        make_tracker({"name": "lk", "windows": [1]})
    assert make_tracker({"name": "lk"}).identity == {
        "tracker": "lk",
        "version": 2,
        "options": {"windows": [7, 15], "levels": 4, "tolerance": 0.5, "patch": 9},
        "resolution": None,
        "weights": [],
    }


def test_more_points_than_are_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, queries = clip_of(1.0).video[:5], draw_queries(2, 50, "first")
    whole = LK.track(clip, queries)
    monkeypatch.setattr(lk, "AT_ONCE", 20)
    for one, other in zip(whole, LK.track(clip, queries), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- the truth the accuracy rests on ---------------------------------------------------------------------------------


def test_layered_tracks_pass_through_their_queries_and_see_themselves() -> None:
    clip, queries = clip_of(1.0), draw_queries(3, 200, "strided")
    tracks, visible = clip.tracks(queries)
    when = queries[:, 0].astype(int)
    np.testing.assert_allclose(tracks[np.arange(200), when], queries[:, 1:], atol=1e-9)
    assert visible[np.arange(200), when].all()
    assert 0.5 < visible.mean() < 0.95


def test_layered_pixels_are_where_the_tracks_say() -> None:
    """Along a visible track the picture keeps its colour, to rounding and noise; along a shifted one it does not."""
    clip, queries = clip_of(1.0), draw_queries(4, 300, "first")
    tracks, visible = clip.tracks(queries)

    def spread(path: np.ndarray) -> float:
        columns, rows = path.round().astype(int).clip(0, SIDE - 1).transpose(2, 0, 1)
        colours = clip.video[np.arange(FRAMES)[None], rows, columns].astype(float)
        return float(np.abs(colours - colours[:, :1])[visible].mean())

    assert spread(tracks) < 0.5 * spread(tracks + 4 * np.linspace(0, 1, FRAMES)[None, :, None])


def test_layered_videos_are_functions_of_their_seed() -> None:
    again, other = layered(0), clip_of(2.0)
    np.testing.assert_array_equal(again.video, clip_of(1.0).video)
    assert (again.video != other.video).mean() > 0.9
