"""Sampler S1: its grids, Euler parity, guidance, and convergence on a model whose answer is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import UserError, VariancePreserving, convert, shift
from methods.supervised.sampler import (
    MultistepCFG,
    SamplerOptions,
    flow_times,
    multistep,
    sampling_times,
    trailing_indices,
)
from tests.methods.common import services
from tests.toys import ToyBackbone, ToyOptions, toy_abar

CPU = torch.device("cpu")
NOISE = torch.randn(3, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Gaussian(ToyBackbone):
    """Knows the truth for data N(mean, std^2): a noisy x has one best x0, linear in x; the mean is read off cond."""

    std = 0.5

    def __init__(self, family: Any = "flow") -> None:
        super().__init__(ToyOptions(family=family), CPU)
        self.calls: list[tuple[int, float]] = []

    def predict(self, x: Tensor, t: Tensor, cond: Tensor, want: Any) -> Tensor:
        assert t.shape == (len(x),)
        assert len(cond) == len(x)
        assert t.dtype == torch.float64
        self.calls.append((len(x), t[0].item()))
        at, mean = t.reshape(-1, 1, 1, 1, 1), cond[:, 0, 0].reshape(-1, 1, 1, 1, 1)
        a, s = self.schedule.alpha(at), self.schedule.sigma(at)
        rest = (x - a * mean) / (a**2 * self.std**2 + s**2)
        x0, eps = mean + a * self.std**2 * rest, s * rest
        truth = {"x0": x0, "eps": eps, "flow": eps - x0, "v": a * eps - s * x0}
        return truth[self.native if want == "native" else want]

    def null_cond(self, n: int) -> Tensor:
        return torch.zeros(n, 1, 1, dtype=torch.float64)


COND = torch.full((3, 1, 1), 2.0, dtype=torch.float64)


def test_the_flow_grid() -> None:  # O-C4
    assert flow_times(4, 5) == pytest.approx([1, 0.9375, 0.8333333333, 0.625], abs=1e-10)
    assert flow_times(1, 5) == [1]
    times = sampling_times(ToyBackbone(ToyOptions(), CPU).schedule, 50, 5.0)
    assert times.dtype == torch.float64
    assert times[0] == 1
    assert bool((times.diff() < 0).all())


def test_the_trailing_grid() -> None:
    assert trailing_indices(4, 1000) == [999, 749, 499, 249]
    assert trailing_indices(50, 1000) == list(range(999, 0, -20))
    assert trailing_indices(3, 1000) == [999, 666, 332]
    assert trailing_indices(1000, 1000) == list(range(999, -1, -1))
    schedule = VariancePreserving(toy_abar(True))
    times = sampling_times(schedule, 7, 5.0)
    assert schedule.index(times).tolist() == trailing_indices(7, 1000)
    with pytest.raises(UserError, match="1001 sampling steps"):
        sampling_times(schedule, 1001, 1.0)


@pytest.mark.parametrize("s", [1.0, 5.0])
def test_it_is_euler_for_flows(s: float) -> None:  # O-C7 along a whole trajectory
    model = ToyBackbone(ToyOptions(), CPU)
    cond = model.encode_text(["red square", "a", "b c"])
    x, times = NOISE, [shift(1 - i / 6, s) for i in range(7)]
    with torch.no_grad():
        for t, after in pairwise(times):
            x = x + (after - t) * model.predict(x, torch.full((3,), t, dtype=torch.float64), cond, "flow")
    found = MultistepCFG(6, 1.0, s)(model, NOISE, cond)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_it_recovers_a_gaussian(family: str) -> None:
    """The exact flow of N(mean, std^2) data is linear in the noise; the error falls as 1/n."""
    model = Gaussian(family)
    end = model.schedule.sigma(sampling_times(model.schedule, 1, 1.0))  # eps never reaches sigma = 1 exactly
    start = model.schedule.alpha(sampling_times(model.schedule, 1, 1.0))
    exact = 2.0 + model.std * (NOISE - 2.0 * start) / (start**2 * model.std**2 + end**2).sqrt()
    errors = [(MultistepCFG(n, 1.0, 1.0)(model, NOISE, COND) - exact).abs().max().item() for n in (5, 20, 80, 320)]
    assert all(later < 0.5 * sooner for sooner, later in pairwise(errors)), errors
    assert errors[-1] < 0.03


@pytest.mark.parametrize("family", ["flow", "v"])
def test_one_step_is_the_prediction_of_x0(family: str) -> None:
    model = Gaussian(family)
    found = MultistepCFG(1, 1.0, 5.0)(model, NOISE, COND)
    assert [size for size, _ in model.calls] == [3]
    torch.testing.assert_close(found, torch.full_like(NOISE, 2.0))  # at pure noise the best guess is the mean


def test_guidance_of_one_halves_the_evaluations() -> None:
    plain, guided = MultistepCFG(10, 1.0, 5.0), MultistepCFG(10, 5.0, 5.0)
    assert (plain.nfe, guided.nfe) == (10, 20)
    model = Gaussian()
    plain(model, NOISE, COND)
    assert [size for size, _ in model.calls] == [3] * 10
    model.calls.clear()
    guided(model, NOISE, COND)
    assert [size for size, _ in model.calls] == [6] * 10  # one call on [cond, uncond]
    assert [t for _, t in model.calls] == pytest.approx(flow_times(10, 5.0))


def test_guidance_extrapolates_from_the_unconditional_mean() -> None:
    """One step answers the mean: cond 2, uncond 0, so scale s gives 2 s."""
    for scale in (0.0, 1.0, 3.0, 7.5):
        found = MultistepCFG(1, scale, 1.0)(Gaussian(), NOISE, COND)
        torch.testing.assert_close(found, torch.full_like(NOISE, 2 * scale))


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_clips_do_not_depend_on_their_neighbours(family: Any) -> None:
    model = ToyBackbone(ToyOptions(family=family), CPU)
    cond, sampler = model.encode_text(["red square", "a", "b c"]), MultistepCFG(5, 3.0, 2.0)
    together = sampler(model, NOISE, cond)
    for i in range(3):
        torch.testing.assert_close(sampler(model, NOISE[i : i + 1], cond[i : i + 1])[0], together[i])


def test_single_precision_stays_close_and_keeps_its_type() -> None:
    model = ToyBackbone(ToyOptions(family="v"), CPU)
    cond, sampler = model.encode_text(["red square", "a", "b c"]), MultistepCFG(8, 3.0, 2.0)
    found = sampler(model, NOISE.float(), cond.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), sampler(model, NOISE, cond), rtol=1e-3, atol=1e-3)


def test_no_gradient_is_kept() -> None:
    model = ToyBackbone(ToyOptions(), CPU)
    assert not MultistepCFG(2, 3.0, 1.0)(model, NOISE, model.encode_text(["a"] * 3)).requires_grad


def test_settings_come_from_the_suite_and_the_row_overrides_them() -> None:
    given = services(steps=30, guidance=6.0, shift=3.0, batch=4)
    suite, row = multistep(given, SamplerOptions()), multistep(given, SamplerOptions(steps=4, guidance=1.0))
    assert (suite.steps, suite.guidance, suite.shift) == (30, 6.0, 3.0)
    assert (row.steps, row.guidance, row.shift, row.nfe) == (4, 1.0, 3.0, 4)
    bare = multistep(services(), SamplerOptions())
    assert (bare.steps, bare.guidance, bare.shift) == (50, 5.0, 5.0)


def test_the_guided_toy_matches_guiding_by_hand() -> None:
    model = ToyBackbone(ToyOptions(family="v"), CPU)
    cond, null = model.encode_text(["red square", "a", "b c"]), model.null_cond(3)
    t = sampling_times(model.schedule, 2, 1.0)
    x, at = NOISE, t[:, None].expand(2, 3)
    with torch.no_grad():
        for i in range(2):
            c, u = (model.predict(x, at[i], which, "v") for which in (cond, null))
            v = u + 4.0 * (c - u)
            x0, eps = (convert(v, x, t[i], model.schedule, "v", want) for want in ("x0", "eps"))
            x = x0 if i else model.schedule.step(x0, eps, t[1])
    np.testing.assert_allclose(MultistepCFG(2, 4.0, 1.0)(model, NOISE, cond), x, rtol=0, atol=1e-12)
