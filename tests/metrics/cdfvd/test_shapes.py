"""The embedded metric: how its encoder learns, what it ships with, and that it sees time."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import video
from harness.api import Clip, ClipSpec, UserError
from harness.corruptions import CORRUPTIONS
from harness.features import FeatureStore, sha256_file
from harness.registry import datasets
from metrics.cdfvd import card, reference, train_shapes
from metrics.cdfvd.networks import small
from metrics.cdfvd.networks.small import SMALL
from metrics.cdfvd.networks.videomae import Shape, VideoMAE, separable_sinusoids
from metrics.cdfvd.pretraining import Pretraining, draw_mask, patches, targets
from metrics.cdfvd.shapes import REFERENCE, WEIGHTS, CDFVDShapes, ShapesOptions
from metrics.cdfvd.statistics import read
from metrics.cdfvd.warps import warp

TINY = Shape(side=16, patch=8, frames=8, tubelet=2, width=32, depth=1, heads=2, hidden=32, classes=0, separable=True)


def clips(seed: int, count: int) -> list[np.ndarray]:
    kind = datasets.get("shapes")
    data = kind(kind.Config(size=1000 + count, seed=seed, split="heldout"), ClipSpec())
    return [data.video(1000 + index) for index in range(count)]


# ---- pretraining ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(8))
def test_masks(step: int) -> None:
    """Shown and hidden tokens never meet; places are tubes; odd steps hide a beginning or an end altogether."""
    mask = draw_mask(SMALL, 3, step, torch.Generator().manual_seed(step))
    times, rows, columns = SMALL.grid
    for shown, hidden in zip(mask.shown, mask.hidden, strict=True):
        assert not set(shown.tolist()) & set(hidden.tolist())
        seen = torch.zeros(times * rows * columns, dtype=torch.bool)
        seen[shown] = True
        seen = seen.view(times, -1)
        used = seen.any(1)
        assert (seen[used] == seen.any(0)).all()  # the same places whenever something is shown
        assert seen.any(0).sum() == round((0.75 if step % 2 else 0.4) * rows * columns)
        if step % 2:
            assert 1 <= used.sum() < times - 1
            assert used[0] != used[-1]
            assert (used.int().diff() != 0).sum() == 1
        else:
            assert used.all()
    assert len(set(map(tuple, mask.shown.tolist()))) == 3  # each clip its own


def test_patches_are_what_the_encoder_convolves() -> None:
    net = VideoMAE(TINY).patch_embed
    clip = torch.randn(2, 3, 8, 16, 16)
    size = (TINY.tubelet, TINY.patch, TINY.patch, 3)
    weight = net.proj.weight.permute(0, 2, 3, 4, 1).flatten(1)
    by_hand = patches(clip, TINY) @ weight.T + net.proj.bias
    assert torch.allclose(net(clip), by_hand, atol=1e-5)
    assert patches(clip, TINY).shape == (2, 16, int(np.prod(size)))


def test_targets_do_not_depend_on_a_clips_colour_and_contrast() -> None:
    clip = torch.randn(1, 3, 8, 16, 16)
    assert targets(clip, TINY).mean().abs() < 1e-6
    assert targets(clip, TINY).var(correction=0) == pytest.approx(1, rel=0.01)
    assert torch.allclose(targets(clip, TINY), targets(2 * clip + 3, TINY), atol=1e-5)


def test_positions_tell_every_place_apart() -> None:
    table = separable_sinusoids(SMALL.grid, SMALL.width)
    assert table.shape == (512, 128)
    assert torch.cdist(table, table).add(10 * torch.eye(512)).min() > 0.5
    one, next_row, next_time = table[0], table[8], table[64]
    assert torch.equal(one[:32], next_row[:32])  # time's channels, then rows', then columns'
    assert not torch.equal(one[32:80], next_row[32:80])
    assert torch.equal(one[32:], next_time[32:])


def test_only_what_is_shown_is_seen() -> None:
    net = Pretraining(VideoMAE(TINY))
    mask = draw_mask(TINY, 1, 0, torch.Generator().manual_seed(0))
    clip = torch.randn(1, 3, 8, 16, 16)
    changed = clip.clone().requires_grad_()
    net(changed, mask).sum().backward()
    moved = patches(changed.grad, TINY).abs().sum(2)[0] > 0  # type: ignore[arg-type]
    assert set(moved.nonzero()[:, 0].tolist()) == set(mask.shown[0].tolist())


def test_a_killed_training_goes_on_with_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def options(steps: int, state: str) -> argparse.Namespace:
        return argparse.Namespace(
            steps=steps, batch=1, clips=50, seed=0, threads=1, save_every=1, state=tmp_path / state
        )

    whole = train_shapes.train(options(3, "whole")).state_dict()
    made = train_shapes.make_batch
    calls = iter((True, True, False))

    def killed(*args: object) -> torch.Tensor:
        if not next(calls):
            raise KeyboardInterrupt
        return made(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(train_shapes, "make_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_shapes.train(options(3, "cut"))
    monkeypatch.setattr(train_shapes, "make_batch", made)
    again = train_shapes.train(options(3, "cut")).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    with pytest.raises(UserError, match="of another run"):
        train_shapes.train(options(4, "cut"))


# ---- what ships ----------------------------------------------------------------------------------------------------


def test_what_ships_is_small_and_fits() -> None:
    net = small.load()
    assert sum(value.numel() for value in net.parameters()) == 710_528
    assert all(value.dtype == torch.float32 for value in net.state_dict().values())
    assert len(net.state_dict()) == 58
    assert WEIGHTS.stat().st_size + REFERENCE.stat().st_size < 3_000_000
    known = read(REFERENCE)
    metric = CDFVDShapes(ShapesOptions())
    assert known.gaussian.count == card.KNOWN
    assert known.gaussian.size == 256
    assert reference.load(REFERENCE, metric.extractor).gaussian.trace == known.gaussian.trace  # made with these weights
    assert CDFVDShapes.weights(ShapesOptions()) == (WEIGHTS, REFERENCE)


def test_the_shipped_reference_is_reproduced() -> None:
    """Its first clips, rendered, written, read and encoded again."""
    data = train_shapes.shapes_dataset("heldout", 0, card.KNOWN)
    with np.load(REFERENCE, allow_pickle=False) as kept, torch.inference_mode():
        for index in (0, 1, card.KNOWN - 1):
            found = card.clip_feature(small.load(), card.through_a_file(data.video(index)))
            assert np.abs(found - kept["features"][index]).max() < 1e-4


def test_the_metric_sees_time(tmp_path: Path) -> None:
    """Whole pipeline on 24 clips: clean ones are nearest, and frames in another order or place are noticed."""

    def score(name: str) -> float:
        metric, store = CDFVDShapes(ShapesOptions()), FeatureStore()
        for index, frames in enumerate(clips(0, 24)):
            path = tmp_path / f"{name}{index}.mp4"
            changed = frames if name == "real" else CORRUPTIONS[name].apply(frames, index)
            video.write(path, changed, 8.0)
            with store.open(Clip(path.name, path, sha256_file(path)), metric.extractors()) as features:
                metric.update(Clip(path.name, path, sha256_file(path)), features)
        value = metric.compute().value
        assert value is not None
        return value

    real = score("real")
    assert score("shuffle") > 1.3 * real
    assert score("jitter") > 1.3 * real
    assert score("noise") > 1.3 * real


def test_warps_differ_in_time_alone() -> None:
    frames = np.repeat(clips(0, 1)[0][:1], 12, 0)  # a still clip
    held, changing = warp(frames, 3, changing=False), warp(frames, 3, changing=True)
    assert (held == held[0]).all()
    assert (held[0] != frames[0]).any()
    apart = np.abs(changing.astype(int) - frames).mean((1, 2, 3))
    once = np.abs(held[0].astype(int) - frames[0]).mean()
    assert 0.5 < once / apart.mean() < 2  # bent as much
    assert np.abs(np.diff(changing.astype(int), axis=0)).mean() > 0.5 * apart.mean()
    assert np.array_equal(warp(frames, 3, changing=True), changing)
    assert np.array_equal(warp(frames, 3, changing=False, level=0), frames)


def test_auc() -> None:
    low, high = np.arange(10.0), np.arange(10.0) + 20
    assert (card.auc(low, high), card.auc(high, low), card.auc(low, low)) == (1.0, 0.0, 0.5)
