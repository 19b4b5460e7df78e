"""RAFT against what the official class makes of the same seeded weights and clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness import video
from harness.api import UserError
from metrics.vbench.dynamic_degree import fastest
from metrics.vbench.networks.raft import Flow, correlations, halved, look_up, network, official_names, pad
from metrics.vbench.static_filter import FASTEST
from tests.metrics.vbench.flow import RAFT, official, write_clip, write_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.getbasetemp() / "seeded") / RAFT


@pytest.fixture(scope="module")
def raft(weights: Path) -> Flow:
    return Flow(weights, CPU)


@pytest.mark.parametrize("name", ["moving", "odd_rate", "still"])
def test_speeds_are_the_official_ones(raft: Flow, name: str, tmp_path: Path) -> None:
    frames = [torch.from_numpy(frame).permute(2, 0, 1) for frame in video.read(write_clip(tmp_path, name)).frames]
    first, second, last = (raft.encode(frames[index]) for index in (0, 1, -1))
    found = [fastest(raft.flow(*pair), FASTEST) for pair in ((first, second), (first, last), (last, first))]
    recorded = [official()[name]["speeds"][index] for index in (0, -2, -1)]
    assert found == pytest.approx(recorded, abs=2e-5)


def test_every_tensor_of_the_file_is_used_once(weights: Path) -> None:
    held = torch.load(weights, weights_only=True)
    names = {name: official_names(name) for name in network().state_dict()}
    assert sorted(f"module.{name}" for group in names.values() for name in group) == sorted(held)
    assert official_names("context_encoder.layer2.0.downsample.1.running_var") == (
        "cnet.layer2.0.downsample.1.running_var",
        "cnet.layer2.0.norm3.running_var",
    )
    assert official_names("update_block.recurrent_block.convgru2.convr.bias") == ("update_block.gru.convr2.bias",)


def test_a_frame_serves_several_pairs(raft: Flow) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 3, 128, 128), dtype=np.uint8)
    images = [torch.from_numpy(image) for image in noise]
    kept = [raft.encode(image) for image in images]
    for first, second in ((1, 0), (1, 2)):
        anew = raft.flow(raft.encode(images[first]), raft.encode(images[second]))
        torch.testing.assert_close(raft.flow(kept[first], kept[second]), anew, rtol=0, atol=0)


def test_padding_is_centred_and_repeats_edges() -> None:
    image = torch.arange(5 * 3.0).reshape(1, 1, 5, 3)
    padded = pad(image, 8)
    assert padded.shape == (1, 1, 8, 8)
    torch.testing.assert_close(padded[:, :, 1:6, 2:5], image)
    assert padded[0, 0, 0].tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert padded[0, 0, 7].tolist() == [12, 12, 12, 13, 14, 14, 14, 14]
    assert pad(torch.zeros(1, 1, 16, 24), 8).shape == (1, 1, 16, 24)


def test_look_up_reads_correlations_around_a_place() -> None:
    features = torch.randn(2, 1, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    levels = halved(correlations(*features), 16, 24, 4)
    assert [tuple(level.shape) for level in levels] == [(384, 1, 16 >> i, 24 >> i) for i in range(4)]
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    seen = look_up(levels, torch.stack([xs + 2, ys - 1])[None], 4)[0]
    first, second = features[0, 0], features[1, 0]
    here, there = (5, 7), (5 - 1 + 3, 7 + 2 - 2)  # window: three down, two left
    expected = float(first[:, here[0], here[1]] @ second[:, there[0], there[1]]) / 2
    assert float(seen[(-2 + 4) * 9 + (3 + 4), here[0], here[1]]) == pytest.approx(expected, abs=1e-5)


def test_fastest_is_the_mean_of_the_longest_vectors() -> None:
    flow = torch.zeros(2, 10, 20)
    flow[0, 0, :12] = -torch.arange(1.0, 13.0)
    flow[1, 0, 11] = 5.0  # (-12, 5): length 13
    assert fastest(flow, 0.05) == pytest.approx(np.mean([13, *range(3, 12)]))
    flow[0, 1:, :] = torch.nan  # the 20 numbers left suffice
    assert fastest(flow, 0.05) == pytest.approx(np.mean([13, *range(3, 12)]))
    assert np.isnan(fastest(torch.full((2, 10, 20), torch.nan), 0.05))


def test_another_checkpoint_is_named(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    held = torch.load(weights, weights_only=True)
    missing = held.pop("module.cnet.layer2.0.norm3.bias")
    torch.save(held, path)
    with pytest.raises(UserError, match=r"lacks cnet\.layer2\.0\.norm3\.bias"):
        Flow(path, CPU)
    torch.save({**held, "module.cnet.layer2.0.norm3.bias": missing, "extra": missing}, path)
    with pytest.raises(UserError, match="has extra"):
        Flow(path, CPU)
    torch.save({**held, "module.cnet.layer2.0.norm3.bias": missing, "module.fnet.conv1.bias": missing}, path)
    with pytest.raises(UserError, match="does not fit"):
        Flow(path, CPU)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        Flow(path, CPU)
