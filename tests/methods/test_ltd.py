"""LTD: oracles O-LTD1 .. O-LTD5, its guards, and what it degenerates to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import make_part
from methods.ltd.equations import latent_difference, motion_weight, unit_mean, windowed_mean
from methods.supervised.trainer import squared_error, weighted_mean
from tests.methods.common import batch, method, services


def column(*frames: tuple[float, ...]) -> Tensor:
    """One clip of one voxel: frames of channels to `[1, C, F, 1, 1]`."""
    return torch.tensor(frames, dtype=torch.float64).T.reshape(1, len(frames[0]), len(frames), 1, 1)


def assert_is(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-8)


Z1 = column((0.0,), (1.0,), (3.0,), (3.0,), (7.0,))
Z2 = column((0.0, 0.0), (3.0, 4.0), (3.0, 4.0), (3.0, 9.0), (9.0, 17.0))
W1 = [2.3132616875, 2.4394278955, 2.3132616875, 2.5514447139, 2.9048324416]


@pytest.mark.parametrize(
    ("z", "tau", "d", "D", "w"),
    [
        (Z1, 3, [1, 2, 0, 4], [1, 1.5, 1, 2, 4], W1),  # O-LTD1
        (
            *(Z2, 3, [5, 0, 5, 10], [5, 2.5, 2.5, 7.5, 10]),  # O-LTD2
            [3.0435917782, 2.6521681961, 2.6521681961, 3.3241784521, 3.5430404724],
        ),
        (
            *(Z1, 5, [1, 2, 0, 4], [1.5, 1, 1.75, 2, 2]),  # O-LTD3
            [2.4394278955, 2.3132616875, 2.4970039563, 2.5514447139, 2.5514447139],
        ),
        (Z1, 99, [1, 2, 0, 4], [1.75] * 5, [1 + math.log(math.e + 1.75)] * 5),
        (Z1, 1, [1, 2, 0, 4], [0] * 5, [2] * 5),
    ],
)
def test_equations(z: Tensor, tau: int, d: list[float], D: list[float], w: list[float]) -> None:
    difference = latent_difference(z)
    assert_is(difference, [float(value) for value in d])
    mean = windowed_mean(difference, tau)
    assert_is(mean, [float(value) for value in D])
    assert_is(motion_weight(mean), [float(value) for value in w])


def test_the_weighted_loss_and_its_gradient() -> None:  # O-LTD4
    err = torch.tensor([1.0, -1.0, 2.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    w = motion_weight(windowed_mean(latent_difference(Z1), 3)).flatten()
    loss = weighted_mean(squared_error(err, torch.zeros_like(err)), w)
    loss.backward()
    assert loss.item() == pytest.approx(2.9463888887, abs=1e-8)
    assert err.grad is not None
    assert_is(err.grad, [0.925304675, -0.9757711582, 1.85060935, 0.0, 0.5809664883])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_static_clip_weighs_exactly_two(dtype: torch.dtype) -> None:  # O-LTD5
    z = torch.randn(2, 4, 1, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype).expand(-1, -1, 6, -1, -1)
    w = motion_weight(windowed_mean(latent_difference(z), 3))
    assert w.shape == (2, 6, 3, 5)
    assert bool((w == 2).all())


@pytest.mark.parametrize("norm", ["voxel", "frame", "frame_rms"])
@pytest.mark.parametrize("tau", [1, 2, 3, 5])
def test_a_single_frame_weighs_two(norm: Any, tau: int) -> None:
    z = torch.randn(2, 4, 1, 3, 5, dtype=torch.float64)
    w = make_part("element_weight", {"name": "ltd", "norm": norm, "tau": tau}, services())(
        batch([0, 1], latent=z), torch.zeros(2)
    )
    assert torch.broadcast_to(w, z.shape).unique().tolist() == [2.0]


@pytest.mark.parametrize("tau", [2, 4, 6])
def test_an_even_window_equals_the_next_odd_one(tau: int) -> None:
    d = torch.rand(2, 8, 3, 3, dtype=torch.float64)
    assert torch.equal(windowed_mean(d, tau), windowed_mean(d, tau + 1))


def test_the_windowed_mean_is_the_slice_form() -> None:
    d = torch.rand(2, 8, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for tau in (2, 3, 5, 7, 16, 40):
        h, frames = tau // 2, 9
        slices = [d[:, max(0, f - h) : min(frames - 1, f + h)].mean(1) for f in range(frames)]
        torch.testing.assert_close(windowed_mean(d, tau), torch.stack(slices, 1), rtol=0, atol=1e-14)


def test_norms() -> None:
    z = torch.zeros(1, 2, 2, 1, 2, dtype=torch.float64)
    z[0, :, 1, 0, 0] = torch.tensor([3.0, 4.0])
    z[0, :, 1, 0, 1] = torch.tensor([0.0, 12.0])
    assert_is(latent_difference(z, "voxel"), [5.0, 12.0])
    assert_is(latent_difference(z, "frame"), [13.0])
    assert_is(latent_difference(z, "frame_rms"), [13.0 / 2])
    assert latent_difference(z, "frame").shape == (1, 1, 1, 1)


def test_the_weight_follows_the_moving_voxel_and_no_channel() -> None:
    z = torch.zeros(1, 4, 5, 3, 3, dtype=torch.float64)
    z[0, 2, 3, 1, 2] = 6.0  # one voxel jumps into frame 3 and out of it
    w = make_part("element_weight", {"name": "ltd"}, services())(batch([0], latent=z), torch.zeros(1))
    assert w.shape == (1, 1, 5, 3, 3)
    assert_is(w[0, 0, :, 1, 2], [2.0, 2.0, *[1 + math.log(math.e + D) for D in (3.0, 6.0, 6.0)]])
    w[0, 0, :, 1, 2] = 2
    assert bool((w == 2).all())


def test_options_reach_the_weight() -> None:
    def weights(z: Tensor, **settings: Any) -> Tensor:
        return make_part("element_weight", {"name": "ltd", **settings}, services())(
            batch([0], latent=z), torch.zeros(1)
        )

    assert_is(weights(Z1), W1)
    assert_is(weights(Z1, tau=5), [2.4394278955, 2.3132616875, 2.4970039563, 2.5514447139, 2.5514447139])
    two = torch.cat([Z1, Z1], 1).expand(-1, -1, -1, 1, 2)  # d = [1, 2, 0, 4] sqrt(2) a voxel, twice that a frame
    for norm, scale in (("voxel", 2**0.5), ("frame", 2.0), ("frame_rms", 1.0)):
        expected = [1 + math.log(math.e + scale * D) for D in (1, 1.5, 1, 2, 4)]
        assert_is(weights(two, norm=norm)[..., 0], expected)


def test_a_reversed_clip_has_reversed_weights_and_a_scaled_one_scaled_differences() -> None:
    z = torch.randn(2, 4, 7, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    D = windowed_mean(latent_difference(z), 3)
    torch.testing.assert_close(windowed_mean(latent_difference(z.flip(2)), 3), D.flip(1))
    torch.testing.assert_close(windowed_mean(latent_difference(-3 * z), 3), 3 * D)


def test_half_precision_latents_are_measured_in_float32() -> None:
    z = torch.randn(1, 4, 5, 3, 3).bfloat16()
    assert latent_difference(z).dtype == torch.float32
    torch.testing.assert_close(latent_difference(z), latent_difference(z.double()).float())


def test_unit_mean() -> None:
    w = torch.tensor(W1, dtype=torch.float64)
    assert unit_mean(w).mean().item() == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(unit_mean(w) * w.mean(), w)
    part = make_part("element_weight", {"name": "ltd", "normalise": True}, services())
    assert part(batch([0, 1, 2]), torch.zeros(3)).mean().item() == pytest.approx(1.0, abs=1e-12)


def test_on_static_clips_ltd_is_the_constant_two() -> None:
    still = torch.randn(4, 3, 1, 2, 2, dtype=torch.float64).expand(-1, -1, 4, -1, -1).contiguous()
    ltd, const2, plain = (method(name) for name in ("ltd", "supervised-const2", "supervised-logitnormal"))
    losses = [m.loss("student", batch([0, 1, 2, 3], latent=still, seed=7), 0)[0].item() for m in (ltd, const2, plain)]
    assert losses[0] == losses[1] == pytest.approx(2 * losses[2], rel=1e-14)


def test_weights_do_not_follow_gradients_or_time() -> None:
    z = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    part = make_part("element_weight", {"name": "ltd"}, services())
    early, late = (part(batch([0, 1], latent=z), torch.full((2,), t)) for t in (0.1, 0.9))
    assert torch.equal(early, late)
    assert not early.requires_grad


def test_broken_latents_stay_visible() -> None:
    """A NaN reaches the loss, where the training loop counts and skips it."""
    z = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64)
    z[0, 0, 1, 0, 0] = float("nan")
    assert math.isnan(method("ltd").loss("student", batch([0, 1], latent=z), 0)[0].item())
