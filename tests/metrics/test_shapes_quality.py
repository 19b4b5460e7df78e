"""The judges of motion and visual quality: what they measure, and that what is known to be worse scores lower."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.api import Clip, ClipSpec, UserError
from harness.corruptions import CORRUPTIONS
from harness.data.shapes import Shapes, ShapesConfig
from harness.evaluate import build, row_of
from harness.features import FeatureStore, sha256_file
from harness.plugins import metric_spec
from metrics.shapes import measure_quality, quality, train_quality
from metrics.shapes.measure_quality import auc, clean, judged, lively, quiet
from metrics.shapes.quality import LOOKS, WEIGHTS, MotionQuality, VisualQuality, marks, raw
from metrics.shapes.quality_marks import chosen, looks, motion, spectrum


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Clean held-out clips in which something moves."""
    return lively(8)


def score(metric: type[quality.Quality], path: Path) -> float | None:
    spec = metric_spec({"name": metric.name})
    judge = build(spec)
    clip = Clip(path.name, path, sha256_file(path))
    with FeatureStore().open(clip, judge.extractors()) as features:
        row = row_of(spec, clip, lambda: judge.score(clip, features))
    assert not row["error"]
    return row["value"]


# ---- marks -----------------------------------------------------------------------------------------------------


def test_which_frames_are_looked_at() -> None:
    assert chosen(17).tolist() == list(range(17))
    assert chosen(33).tolist() == list(range(0, 33, 2))
    assert chosen(6).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_checkerboard_is_the_finest_detail() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 2.0 - 1  # +- 1 level
    power, nothing = spectrum(np.repeat(board[None], 3, 0).astype(np.float32))
    assert power[-1] == pytest.approx(np.log1p(16.0))  # all of its variance of 1 in the one coefficient of rank 14
    assert power[:-1].max() < 1e-6
    assert nothing.tolist() == [1.0] * 13 + [0.0]


def test_motion_marks_of_hand_made_motion(clips: list[np.ndarray]) -> None:
    """Of each 35: 16 steps by size, 16 lags, the least distance, how far off the most alike frame is, and a share."""
    frames = clips[0]
    still = motion(np.repeat(frames[:1], 17, 0)).reshape(3, 35)
    assert np.abs(still[:, :33]).max() < 1e-5
    half = motion(np.concatenate([frames[:9], np.repeat(frames[8:9], 8, 0)])).reshape(3, 35)
    assert (half[:, :8] == 0).all()
    assert (half[0, 8:16] > 0).all()
    order = np.random.default_rng(0).permutation(17)
    whole, mixed = (motion(of).reshape(3, 35) for of in (frames, frames[order]))
    assert whole[0, 34] == 0  # every frame's most alike is its neighbour
    assert mixed[0, 34] > 0.5
    np.testing.assert_allclose(motion(frames[::-1]), motion(frames), atol=1e-4)


def test_looks_do_not_know_the_order_of_frames_far_apart(clips: list[np.ndarray]) -> None:
    np.testing.assert_allclose(looks(clips[1][::-1]), looks(clips[1]), atol=0.02)


def test_streaming_takes_the_same_frames(tmp_path: Path) -> None:
    frames = np.concatenate(lively(3))[:40]
    video.write(tmp_path / "a.mp4", frames, 8)
    clip = Clip("a", tmp_path / "a.mp4", "0" * 64)
    with FeatureStore().open(clip) as features:
        streamed = features.of(quality.MARKS)
        np.testing.assert_array_equal(streamed, marks(features.frames[chosen(40)]))
    assert len(streamed) == 247


# ---- judges ----------------------------------------------------------------------------------------------------


def test_the_forward_pass_is_the_trained_network(clips: list[np.ndarray]) -> None:
    import torch
    from torch import nn

    parts = quality.load()
    found = marks(clips[0])
    for which, own in (("mq", found[LOOKS:]), ("vq", found[:LOOKS])):
        width, half = train_quality.WIDTH, train_quality.WIDTH // 2
        net = nn.Sequential(
            nn.Linear(len(own), width), nn.SiLU(), nn.Linear(width, half), nn.SiLU(), nn.Linear(half, 1)
        )
        mine = {name[3:]: torch.from_numpy(part) for name, part in parts.items() if name.startswith(which)}
        x = ((torch.from_numpy(own) - mine.pop("mean")) / mine.pop("scale")).clamp(-5, 5)
        net.load_state_dict(mine)
        assert raw(found, which) == pytest.approx(quality.LOWEST[which] + 3 * net(x).sigmoid().item(), abs=1e-5)


@pytest.mark.parametrize("name", ["freeze", "shuffle", "jitter", "teleport"])
def test_motion_quality_falls(clips: list[np.ndarray], name: str) -> None:
    before = np.array([raw(marks(clip), "mq") for clip in clips])
    after = np.array([raw(marks(CORRUPTIONS[name].apply(clip, 3)), "mq") for clip in clips])
    assert before.mean() > 2.9
    assert after.mean() < 2.4
    assert auc(before, after) > 0.8


@pytest.mark.parametrize("name", ["blur", "noise", "compression"])
def test_visual_quality_falls_and_what_spoils_motion_leaves_it(clips: list[np.ndarray], name: str) -> None:
    before = np.array([raw(marks(clip), "vq") for clip in clips])
    after = np.array([raw(marks(CORRUPTIONS[name].apply(clip, 3)), "vq") for clip in clips])
    frozen = np.array([raw(marks(CORRUPTIONS["freeze"].apply(clip, 3)), "vq") for clip in clips])
    assert before.min() > 2.7 > np.median(after)
    assert auc(before, after) > 0.95
    assert np.abs(frozen - before).max() < 0.6


def test_a_single_picture_held_still_is_the_lowest_motion(clips: list[np.ndarray]) -> None:
    """Whatever is shown, and with the grain of a video codec: standing still must not pay."""
    for clip in clips[:4]:
        assert raw(marks(np.repeat(clip[:1], 17, 0)), "mq") < 1.6
        assert raw(marks(train_quality.through_codec(np.repeat(clip[:1], 17, 0))), "mq") < 1.6


def test_scores_agree_with_the_worlds_knobs() -> None:
    data = Shapes(ShapesConfig(size=60, seed=8, split="heldout", preset="set-a"), ClipSpec())
    found = [marks(data.video(index)) for index in range(60)]
    for which, least in (("mq", 0.75), ("vq", 0.93)):
        truth = np.array([row.scores[which] for row in data.rows()])
        assert np.corrcoef([raw(each, which) for each in found], truth)[0, 1] > least


def test_metrics_on_files(tmp_path: Path, clips: list[np.ndarray]) -> None:
    large = np.repeat(np.repeat(clips[0], 2, 1), 2, 2)
    for name, frames in (("a", clips[0]), ("large", large), ("short", clips[0][:4])):
        video.write(tmp_path / f"{name}.mp4", frames, 8)
    for metric in (MotionQuality, VisualQuality):
        low, high = metric.range
        values = [score(metric, tmp_path / f"{name}.mp4") for name in ("a", "large", "short")]
        assert values[2] is None
        assert values[0] is not None
        assert low <= values[0] <= high
        assert values[1] == pytest.approx(values[0], abs=0.5)  # brought to the same size


def test_weights_enter_the_fingerprint_and_must_be_there(tmp_path: Path) -> None:
    assert MotionQuality.weights(None) == (WEIGHTS,)
    assert WEIGHTS.stat().st_size < 300_000
    with pytest.raises(UserError, match="missing"):
        quality.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="holds no quality judges"):
        quality.load(tmp_path / "bad.safetensors")


# ---- training --------------------------------------------------------------------------------------------------


def test_a_killed_preparation_goes_on_to_the_same_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_quality, "CHUNK", 2)

    def prepare(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        return train_quality.prepare(argparse.Namespace(clips=count, seed=1, state=tmp_path / f"{name}.npz"))

    whole = prepare("whole", 6)
    prepare("killed", 4)
    again = prepare("killed", 6)
    np.testing.assert_array_equal(whole[0], again[0])
    np.testing.assert_array_equal(whole[1], again[1])
    assert whole[0].shape == (6, 247)


def test_training_is_deterministic_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_quality, "STEPS", 60)
    rng = np.random.default_rng(0)
    found = rng.normal(size=(200, 247)).astype(np.float32)
    wanted = np.stack([1 / (1 + np.exp(-found[:, 150])), 1 / (1 + np.exp(-found[:, 3]))], 1).astype(np.float32)
    for column, which in enumerate(("mq", "vq")):
        parts, again = (dict(train_quality.fit(found, wanted, which, 0)) for _ in range(2))
        assert all(np.array_equal(parts[name], again[name]) for name in parts)
        assert np.corrcoef(quality.quality(found, parts, which), wanted[:, column])[0, 1] > 0.9


def test_shaken_clips_count_as_shuffled() -> None:
    drawn = [train_quality.draw(0, index) for index in range(400)]
    for example in drawn:
        share = {"": 0.0, "object_swap": 0.0, "teleport": 0.6, "jitter": 1.0}[example.corruption]
        assert example.mq == pytest.approx(example.knobs.mq * (1 - 0.8 * share))
        assert example.lively or example.knobs.mq < 0.3
    assert 0.08 < np.mean([bool(example.corruption) for example in drawn]) < 0.2


def test_clean_clips_in_which_nothing_moves_look_good_and_score_low_in_motion(clips: list[np.ndarray]) -> None:
    still, panned = quiet(3, camera=False), quiet(3, camera=True)
    assert all((clip == clip[0]).all() for clip in still)
    assert not any((clip[1:] == clip[:-1]).all() for clip in panned)
    found = {about: judged(shown, WEIGHTS) for about, shown in (("still", still), ("panned", panned))}
    assert found["still"]["mq"].max() < 1.3 < found["panned"]["mq"].min()
    assert min(each["vq"].min() for each in found.values()) > 3.8


def test_the_cards_table_of_clean_clips(monkeypatch: pytest.MonkeyPatch, clips: list[np.ndarray]) -> None:
    monkeypatch.setattr(measure_quality, "QUIET", 2)
    *head, moves, camera, nothing = clean(judged(clips, WEIGHTS), WEIGHTS)
    assert len(head) == 2
    assert moves.startswith("| something moves | 8 | ")
    assert moves.count("| 0.500 |") == 2
    assert camera.startswith("| only the camera moves | 2 | ")
    assert nothing.startswith("| nothing moves | 2 | 1.0")


def test_auc_by_hand() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 4)
    assert auc(np.array([1.0]), np.array([2.0])) == 0.0
