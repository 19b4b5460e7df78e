"""Networks and preprocessing against what the official package computes of the same clips with the same weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import UserError
from metrics.cdfvd.networks import i3d, videomae
from metrics.cdfvd.networks.i3d import I3D
from metrics.cdfvd.networks.videomae import GIANT, Shape, VideoMAE
from metrics.cdfvd.sampling import fit, for_i3d, for_videomae, window
from tests.metrics.cdfvd import seeded

OFFICIAL: dict[str, Any] = json.loads(Path(__file__).with_name("official_outputs.json").read_text())
TINY = Shape(
    side=224, patch=14, frames=16, tubelet=2, width=24, depth=2, heads=2, hidden=seeded.HIDDEN, classes=174
)  # seeded.TINY


def state(net: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    values = {name: torch.from_numpy(value) for name, value in seeded.weights(shapes, seed).items()}
    return {**net.state_dict(), **values}


def save(folder: Path, content: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


def seen(frames: int) -> torch.Tensor:
    return torch.from_numpy(seeded.clip(frames, 40, 56, 6)).permute(0, 3, 1, 2)


CPU = torch.device("cpu")


# ---- preprocessing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", seeded.SIZES)
def test_frames_are_fitted_as_by_the_package(name: str) -> None:
    height, width = seeded.SIZES[name]
    frames = torch.from_numpy(seeded.clip(2, height, width, 5)).permute(0, 3, 1, 2)
    official = np.frombuffer(bytes.fromhex(OFFICIAL["fitted"][name]), np.uint8)
    ours = fit(frames, seeded.RESOLUTION).numpy().ravel()
    assert np.abs(ours.astype(int) - official).max() <= 1  # a level where x * 255 falls on an integer
    assert (ours == official).mean() > 0.999


def test_truncation_takes_levels_even_where_nothing_is_resized() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256)
    kept = fit(levels, 256)[0, 0, 0].int()
    assert set((levels[0, 0, 0].int() - kept).tolist()) <= {0, 1}


def test_windows_depend_on_content_alone() -> None:
    frames = seeded.clip(40, 16, 16, 0)
    starts = [window(40, 16, "random", seed, frames[0]) for seed in range(300)]
    assert set(starts) == set(range(25))  # every start that leaves 16 frames, and no other
    assert window(40, 16, "random", 0, frames[0].copy()) == starts[0]
    assert len({window(40, 16, "random", 0, frame) for frame in frames}) > 10
    assert window(16, 16, "random", 7, frames[0]) == 0
    assert {window(40, 16, "first", seed, frames[0]) for seed in range(9)} == {0}


# ---- VideoMAE ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [16, 32])
def test_official_features_of_videomae(frames: int, tmp_path: Path) -> None:
    net = videomae.load(save(tmp_path, {"module": state(VideoMAE(TINY), 1)}), CPU, TINY)
    with torch.inference_mode():
        ours = net(for_videomae(seen(frames)))[0].numpy()
    assert np.abs(ours - OFFICIAL["features"][f"videomae {frames}"]).max() < 1e-5


@pytest.mark.parametrize("wrap", ["model", "module", None])
def test_weights_lie_under_a_key_or_by_themselves(wrap: str | None, tmp_path: Path) -> None:
    values = {name: value.half() for name, value in state(VideoMAE(TINY), 1).items()}  # as the published file
    net = videomae.load(save(tmp_path, {wrap: values, "epoch": 3} if wrap else values), CPU, TINY)
    assert net.state_dict().keys() == values.keys()
    assert all(torch.equal(value, values[name].float()) for name, value in net.state_dict().items())


def test_the_published_names_and_sizes() -> None:
    with torch.device("meta"):
        nets: Mapping[str, nn.Module] = {"videomae": VideoMAE(GIANT), "i3d": I3D()}
    counts = {name: sum(value.numel() for value in net.parameters()) for name, net in nets.items()}
    assert counts == {"videomae": 1_011_855_918, "i3d": 12_697_264}
    assert {name: len(net.state_dict()) for name, net in nets.items()} == {"videomae": 526, "i3d": 344}
    keys = nets["videomae"].state_dict()
    assert keys["patch_embed.proj.weight"].shape == (1408, 3, 2, 14, 14)
    assert keys["blocks.39.attn.qkv.weight"].shape == (3 * 1408, 1408)
    assert keys["head.weight"].shape == (174, 1408)


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    values = state(VideoMAE(TINY), 1)
    del values["fc_norm.bias"]
    with pytest.raises(UserError, match=r"fc_norm\.bias"):
        videomae.load(save(tmp_path, values), CPU, TINY)
    with pytest.raises(UserError, match="does not fit"):
        i3d.load(save(tmp_path, values), CPU)
    with pytest.raises(UserError, match="holds no tensors by name"):
        videomae.load(save(tmp_path, {"epoch": 3}), CPU, TINY)


# ---- I3D -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [10, pytest.param(16, marks=pytest.mark.slow)])
def test_official_logits_of_i3d(frames: int, tmp_path: Path) -> None:
    net = i3d.load(save(tmp_path, state(I3D(), 2)), CPU)
    with torch.inference_mode():
        ours = net(for_i3d(seen(frames)))[0].numpy()
    assert np.abs(ours - OFFICIAL["features"][f"i3d {frames}"]).max() < 1e-4


def test_padding_as_in_tensorflow() -> None:
    x = torch.ones(1, 1, 5, 6, 7)
    assert i3d.same(x, (7, 7, 7), (2, 2, 2)).shape == (1, 1, 5 + 6, 6 + 5, 7 + 6)
    assert i3d.same(x, (1, 3, 3), (1, 2, 2))[0, 0, 0, :, 0].tolist() == [0] * 7  # odd column: one zero before
    assert i3d.same(x, (1, 3, 3), (1, 2, 2))[0, 0, 0, 0].tolist() == [0, *[1] * 7, 0]
    assert i3d.same(x, (1, 3, 3), (1, 2, 2))[0, 0, 0, -1].tolist() == [0] * 9  # even rows: one zero after
