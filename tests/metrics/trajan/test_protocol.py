"""The colab's evaluation as pure functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import UserError
from metrics.trajan.protocol import draw_queries, fit, make_episode, normalise, resize
from metrics.trajan.scoring import ACCURACIES, STILL, accuracies, is_occluded, numbers, reaches, stillness


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tracks_of(count: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Track n is at x = n / count, y = frame / frames; visible in every frame but n % frames."""
    x = np.broadcast_to(np.arange(count)[:, None] / count, (count, frames))
    y = np.broadcast_to(np.arange(frames) / frames, (count, frames))
    return np.stack([x, y], -1).astype(np.float32), np.arange(frames) != np.arange(count)[:, None] % frames


def test_queries_are_whole_and_inside() -> None:
    queries = draw_queries(5, 4096, rng())
    assert queries.dtype == np.float32
    assert np.array_equal(queries, np.floor(queries))
    assert queries.min(0).tolist() == [0, 0, 0]
    assert queries.max(0).tolist() == [4, 255, 255]
    assert np.array_equal(queries, draw_queries(5, 4096, rng()))


def test_tracks_go_to_the_clips_pixels_and_get_one_half() -> None:
    """The colab: convert_grid_coordinates(tracks, (256, 256), (w, h)), then + 0.5 over (w, h)."""
    found = normalise(np.array([[[0.0, 0.0], [128.0, 64.0]]], np.float32), height=480, width=832)
    expected = [[0.5 / 832, 0.5 / 480], [(416 + 0.5) / 832, (120 + 0.5) / 480]]
    np.testing.assert_allclose(found[0], expected, atol=1e-7)
    assert found.dtype == np.float32
    square = normalise(np.array([[[7.0, 9.0]]], np.float32), 256, 256)
    np.testing.assert_allclose(square[0, 0], [7.5 / 256, 9.5 / 256], atol=1e-7)


def test_frames_are_resized_by_lanczos() -> None:
    frames = np.zeros((2, 8, 4, 3), np.uint8)
    frames[1, :4] = 255
    found = resize(frames, 16)
    assert found.shape == (2, 16, 16, 3)
    assert found[0].max() == 0
    assert found[1, :6].min() > 230
    assert found[1, 10:].max() < 20
    assert found[1, 9, 0, 0] == 0  # undershoot is clipped, which linear interpolation would not have
    assert found[1, 8, 0, 0] < 128 < found[1, 7, 0, 0]


def test_support_and_targets_are_disjoint_and_queries_lie_on_their_targets() -> None:
    tracks, visible = tracks_of(12, 6)
    episode = make_episode(tracks, visible, 10, 7, 5, rng())
    assert episode.support.shape == (7, 10, 2)
    assert episode.targets.shape == (5, 10, 2)
    owners = np.round(np.concatenate([episode.support, episode.targets])[:, 0, 0] * 12).astype(int)
    assert sorted(owners) == list(range(12))
    when = episode.queries[:, 0].astype(int)
    assert (when < 6).all()
    assert episode.target_visible[np.arange(5), when].all()
    np.testing.assert_array_equal(episode.queries[:, 1:], episode.targets[np.arange(5), when])
    assert not episode.support_visible[:, 6:].any()
    assert not episode.support[:, 6:].any()
    assert (episode.boundary, episode.frames) == (6, 6)


def test_a_long_clip_loses_its_end_and_keeps_its_boundary() -> None:
    tracks, visible = tracks_of(4, 20)
    episode = make_episode(tracks, visible, 10, 2, 2, rng())
    assert (episode.boundary, episode.frames) == (20, 10)
    assert episode.targets.shape[1] == 10
    assert fit(np.ones((2, 3, 1)), 5)[0, :, 0].tolist() == [1, 1, 1, 0, 0]


def test_a_target_that_is_never_visible_is_asked_for_from_frame_0() -> None:
    tracks, _ = tracks_of(3, 6)
    episode = make_episode(tracks, np.zeros((3, 6), bool), 6, 1, 2, rng())
    assert episode.queries[:, 0].tolist() == [0, 0]
    np.testing.assert_array_equal(episode.queries[:, 1:], episode.targets[:, 0])


def test_too_few_tracks_are_refused() -> None:
    with pytest.raises(UserError, match="3 tracks are too few for 2 support and 2 target"):
        make_episode(*tracks_of(3, 4), 4, 2, 2, rng())


def test_the_two_occlusion_rules() -> None:
    visible, certain = np.array([3.0, 3.0, -3.0, -0.5]), np.array([3.0, -3.0, -3.0, -0.5])
    assert is_occluded(visible, certain, "colab").tolist() == [False, False, True, False]  # 0.62 ** 2 = 0.387
    assert is_occluded(visible, certain, "visible_and_certain").tolist() == [False, True, True, True]


def episode_and_answer() -> tuple:
    """Two visible points that stay, of 4 frames; the second is 5 pixels of 256 off."""
    tracks = np.full((3, 4, 2), 0.5, np.float32)
    episode = make_episode(tracks, np.ones((3, 4), bool), 8, 1, 2, rng())
    answer = episode.targets.copy()
    answer[1, :, 0] += 5 / 256
    return episode, answer, np.zeros((2, 8), bool)


def test_accuracies_in_pixels_of_the_frame_that_is_named() -> None:
    episode, answer, occluded = episode_and_answer()
    found = accuracies(episode, answer, occluded, 256, 256)
    assert tuple(found) == ACCURACIES
    assert [found[f"pts_within_{t}"] for t in (1, 2, 4, 8, 16)] == [0.5, 0.5, 0.5, 1, 1]
    assert found["jaccard_1"] == pytest.approx(3 / (6 + 3))  # 3 hits; 6 true positives to find, 3 false ones claimed
    assert found["average_jaccard"] == pytest.approx((3 / 9 * 3 + 2) / 5)
    assert found["occlusion_accuracy"] == 1
    wide = accuracies(episode, answer, occluded, 480, 1024)  # 20 pixels off
    assert wide["average_pts_within_thresh"] == 0.5


def test_frame_0_is_left_out_and_the_frame_of_the_query_counts() -> None:
    episode, answer, occluded = episode_and_answer()
    answer[:, 0] = 9.0
    answer[1, 1:] = episode.targets[1, 1:]
    assert accuracies(episode, answer, occluded, 256, 256)["average_jaccard"] == 1
    answer[0, 1:4] = 9.0
    assert accuracies(episode, answer, occluded, 256, 256)["average_pts_within_thresh"] == 0.5


def test_nothing_visible_is_undefined() -> None:
    tracks = np.full((3, 4, 2), 0.5, np.float32)
    episode = make_episode(tracks, np.zeros((3, 4), bool), 8, 1, 2, rng())
    found = accuracies(episode, episode.targets, np.ones((2, 8), bool), 256, 256)
    assert np.isnan(found["average_jaccard"])
    assert found["occlusion_accuracy"] == 1


def test_the_moving_jaccard_looks_at_moving_targets_only() -> None:
    tracks = np.full((3, 4, 2), 0.5, np.float32)
    tracks[:, :, 0] += np.arange(4) / 128  # 6 pixels in all
    tracks[0, :, 0] = 0.5
    episode = make_episode(tracks, np.ones((3, 4), bool), 8, 1, 2, rng(3))
    moves = episode.targets[:, 3, 0] > episode.targets[:, 0, 0]
    answer = episode.targets.copy()
    answer[moves] += 9.0
    found = numbers(episode, answer, np.zeros((2, 8), bool), 256, 256)
    assert found["moving_jaccard"] == 0
    assert found["average_jaccard"] == (0 if moves.all() else pytest.approx(3 / (6 + 3)))
    still = replace(episode, targets=np.full_like(episode.targets, 0.5))
    assert np.isnan(numbers(still, answer, np.zeros((2, 8), bool), 256, 256)["moving_jaccard"])
    assert reaches(tracks[1:2], np.array([[True, False, False, True]])) == pytest.approx(6)


def test_stillness_counts_tracks_that_stay_in_a_small_box() -> None:
    frames = 5
    steps = np.arange(frames) / 256
    still, slow, fast, back = np.zeros(frames), steps * 0.9, steps * 2, np.array([0, 8, 0, 8, 0]) / 256
    x = np.stack([still, slow, fast, back])
    tracks = np.stack([x, np.full_like(x, 0.5)], -1).astype(np.float32)
    found = stillness(tracks, np.ones((4, frames), bool))
    assert STILL == 4.0
    assert found["still"] == 0.5  # reaches of 0, 3.6, 8 and 8 pixels
    assert found["mean_reach"] == pytest.approx((0 + 3.6 + 8 + 8) / 4, abs=1e-4)
    assert found["mean_path"] == pytest.approx((0 + 3.6 + 8 + 32) / 4, abs=1e-4)


def test_stillness_looks_at_visible_frames_only() -> None:
    tracks = np.zeros((1, 4, 2), np.float32)
    tracks[0, 2] = 1.0
    assert stillness(tracks, np.array([[True, True, False, True]]))["mean_path"] == 0
    assert np.isnan(stillness(tracks, np.array([[True, False, False, False]]))["still"])
