"""The interpolation network and where its frames go: oracles O-VIF1 .. O-VIF3, padding, batching, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from methods.avd.interpolation import (
    InterpolationUNet,
    every_second,
    interleave,
    interpolate,
    linear_middle,
    neighbours,
)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unet(**settings: Any) -> InterpolationUNet:
    torch.manual_seed(0)
    return InterpolationUNet(3, (8, 16, 32), **settings).double()


def upsample(z: Tensor) -> Tensor:
    """Interpolation whose answer is known: the mean of the neighbours."""
    return interpolate(z, linear_middle)


# ---- frames ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "half"), [(1, 1), (3, 2), (5, 3), (21, 11)])
def test_how_many_frames(frames: int, half: int) -> None:  # O-VIF1
    z = random(2, 3, frames, 2, 2)
    assert every_second(z).shape[2] == half
    assert interpolate(every_second(z), unet()).shape == z.shape


def test_given_frames_come_back_bit_for_bit() -> None:  # O-VIF2
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        z = (1e3 * random(2, 3, 4, 6, 5)).to(dtype)
        out = interpolate(z, unet())
        assert out.dtype == dtype
        assert torch.equal(out[:, :, ::2], z)


def test_neighbours_and_their_place() -> None:
    """Frame f of clip b, channel c is 100 b + 10 f + c: every element can be told apart."""
    b, c, f = torch.meshgrid(torch.arange(2.0), torch.arange(3.0), torch.arange(4.0), indexing="ij")
    z = (100 * b + 10 * f + c)[..., None, None].double()
    pairs = neighbours(z)
    assert pairs.shape == (6, 6, 1, 1)
    assert pairs[0].flatten().tolist() == [0, 1, 2, 10, 11, 12]
    assert pairs[2].flatten().tolist() == [20, 21, 22, 30, 31, 32]
    assert pairs[3].flatten().tolist() == [100, 101, 102, 110, 111, 112]
    assert upsample(z)[1, 2].flatten().tolist() == [102, 107, 112, 117, 122, 127, 132]
    first = interpolate(z, lambda pairs: pairs[:, :3])  # a network that copies the earlier neighbour
    assert first[0, 0].flatten().tolist() == [0, 0, 10, 10, 20, 20, 30]
    assert interleave(z[:, :, :2], -z[:, :, :1])[1, 0].flatten().tolist() == [100, -100, 110]


def test_all_pairs_go_through_the_network_in_one_call() -> None:
    calls = []

    def net(pairs: Tensor) -> Tensor:
        calls.append(tuple(pairs.shape))
        return linear_middle(pairs)

    interpolate(random(2, 3, 11, 4, 4), net)
    assert calls == [(20, 6, 4, 4)]
    single = random(2, 3, 1, 4, 4)
    assert torch.equal(interpolate(single, net), single)
    assert len(calls) == 1


# ---- the network -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize(("latent_channels", "count"), [(16, 235_760), (4, 228_452)])
def test_the_number_of_parameters(latent_channels: int, count: int, norm: Any) -> None:  # O-VIF3
    net = InterpolationUNet(latent_channels, norm=norm)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    kinds = {type(module).__name__ for module in net.modules()}
    assert ("BatchNorm2d" in kinds, "GroupNorm" in kinds) == (norm == "batch", norm == "group")


def test_the_large_network_has_the_size_of_the_released_checkpoint() -> None:
    with torch.device("meta"):
        net = InterpolationUNet(16, (512, 1024, 2048))
    assert sum(parameter.numel() for parameter in net.parameters()) == 57_839_120


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (5, 7), (1, 2)])
def test_any_size_is_padded_and_cropped(size: tuple[int, int]) -> None:
    net, z = unet(), random(2, 6, *size)
    out = net(z)
    assert out.shape == (2, 3, *size)
    tall, wide = (-(-side // 4) * 4 for side in size)
    rows, columns = (torch.arange(n).clamp(max=m - 1) for n, m in ((tall, size[0]), (wide, size[1])))
    by_hand = net(z[:, :, rows][..., columns])[..., : size[0], : size[1]]  # the border repeated to a multiple of 4
    torch.testing.assert_close(out, by_hand, rtol=0, atol=0)


def test_a_pair_does_not_depend_on_its_batch() -> None:
    net, z = unet(), random(3, 3, 5, 8, 8)
    together = interpolate(z, net)
    torch.testing.assert_close(interpolate(z[1:2], net)[0], together[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(interpolate(z[:, :, 2:4], net)[:, :, 1], together[:, :, 5], rtol=0, atol=1e-12)
    batched = unet(norm="batch")  # the official layout mixes pairs while it trains; that is why it is not the default
    assert (interpolate(z[1:2], batched)[0] - interpolate(z, batched)[1]).abs().max() > 1e-3


def test_autocast_does_not_lower_the_precision() -> None:
    net, z = unet().float(), random(1, 3, 3, 8, 8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        cast = interpolate(z, net)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast.double(), interpolate(z.double(), net.double()), rtol=0, atol=1e-5)


def test_a_residual_network_starts_at_the_mean_of_the_neighbours() -> None:
    z = random(2, 3, 5, 6, 6)
    net = unet(residual=True)
    torch.testing.assert_close(interpolate(z, net), upsample(z), rtol=0, atol=0)
    with torch.no_grad():
        net.out.load_state_dict({"weight": net.out.weight, "bias": torch.tensor([1.0, 2.0, 3.0])})
    added = (interpolate(z, net) - upsample(z))[:, :, 1::2].mean((0, 2, 3, 4))
    torch.testing.assert_close(added, torch.tensor([1.0, 2.0, 3.0]).double())
