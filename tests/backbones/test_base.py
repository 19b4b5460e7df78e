"""Schedules, conversions, shift, guidance: the oracles O-C1 .. O-C7 and the variance-preserving round trip."""

from __future__ import annotations

import pytest
import torch

from harness.api import RectifiedFlow, VariancePreserving, convert, guide, shift
from harness.backbones.base import spread
from tests.toys import toy_abar

X0 = torch.tensor([2.0, -1.0], dtype=torch.float64)
EPS = torch.tensor([1.0, 3.0], dtype=torch.float64)
FLOW = RectifiedFlow()
T = torch.tensor(0.25, dtype=torch.float64)


class Fixed(VariancePreserving):
    """alpha = 0.8, sigma = 0.6 at every time."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([0.64]))

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return torch.tensor(0.8, dtype=torch.float64)

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        return torch.tensor(0.6, dtype=torch.float64)


def assert_is(found: object, expected: object, tolerance: float = 1e-12) -> None:
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (found, expected))
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_rectified_flow() -> None:  # O-C1
    x = FLOW.add_noise(X0, EPS, T)
    assert_is(x, [1.75, 0.0])
    flow = EPS - X0
    assert_is(flow, [-1.0, 4.0])
    assert_is(convert(flow, x, T, FLOW, "flow", "x0"), X0)
    assert_is(convert(flow, x, T, FLOW, "flow", "eps"), EPS)
    assert_is([FLOW.alpha(0.25), FLOW.sigma(0.25)], [0.75, 0.25])


def test_variance_preserving() -> None:  # O-C2
    x = Fixed().add_noise(X0, EPS, T)
    assert_is(x, [2.2, 1.0])
    v = convert(X0, x, T, Fixed(), "x0", "v")
    assert_is(v, [-0.4, 3.0])
    assert_is(convert(v, x, T, Fixed(), "v", "x0"), X0)
    assert_is(convert(v, x, T, Fixed(), "v", "eps"), EPS)


def test_shift() -> None:  # O-C3, O-C4
    assert_is([shift(0.5, s) for s in (1, 3, 5, 8)], [0.5, 0.75, 0.8333333333, 0.8888888889], 1e-10)
    assert_is([shift(1 - i / 4, 5) for i in range(5)], [1, 0.9375, 0.8333333333, 0.625, 0], 1e-10)


def test_guidance_conventions() -> None:  # O-C5
    assert guide(1.0, 0.5, 5, "causvid") == 3.5
    assert guide(1.0, 0.5, 5) == 3.0
    assert guide(1.0, 0.5, 6) == 3.5
    assert guide(1.0, 0.5, 1) == 1.0
    assert guide(1.0, 0.5, 0) == 0.5


KINDS = ("x0", "eps", "flow", "v")


@pytest.mark.parametrize("schedule", [RectifiedFlow(), VariancePreserving(toy_abar(False))])
@pytest.mark.parametrize("native", KINDS)
@pytest.mark.parametrize("want", KINDS)
def test_guiding_and_converting_commute(schedule: RectifiedFlow, native: str, want: str) -> None:  # O-C6
    random = torch.Generator().manual_seed(0)
    x, cond, uncond = torch.randn(3, 4, 3, 2, 2, 2, generator=random, dtype=torch.float64)
    t = torch.tensor([0.05, 0.4, 0.7, 0.95], dtype=torch.float64).reshape(-1, 1, 1, 1, 1)
    first = convert(guide(cond, uncond, 5.0), x, t, schedule, native, want)
    last = guide(convert(cond, x, t, schedule, native, want), convert(uncond, x, t, schedule, native, want), 5.0)
    torch.testing.assert_close(first, last, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", [RectifiedFlow(), VariancePreserving(toy_abar(False))])
@pytest.mark.parametrize("native", KINDS)
def test_every_prediction_recovers_both_ends(schedule: RectifiedFlow, native: str) -> None:
    random = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, 5, 3, generator=random, dtype=torch.float64)
    t = torch.tensor([0.03, 0.3, 0.5, 0.8, 0.99], dtype=torch.float64)[:, None]
    x = schedule.add_noise(x0, eps, t)
    truth = {
        "x0": x0,
        "eps": eps,
        "flow": eps - x0,
        "v": schedule.alpha(t) * eps - schedule.sigma(t) * x0,
    }
    for want in KINDS:
        found = convert(truth[native], x, t, schedule, native, want)
        torch.testing.assert_close(found, truth[want], rtol=1e-9, atol=1e-9)


def test_one_step_is_euler_for_flows() -> None:  # O-C7
    random = torch.Generator().manual_seed(2)
    x, flow = torch.randn(2, 6, 3, generator=random, dtype=torch.float64)
    for t, s in ((1.0, 0.9), (0.7, 0.2), (0.1, 0.0), (0.3, 0.6)):
        x0, eps = (convert(flow, x, t, FLOW, "flow", want) for want in ("x0", "eps"))
        assert_is(FLOW.step(x0, eps, s), x + (s - t) * flow)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_thousand_indices_survive_the_round_trip(dtype: torch.dtype) -> None:
    schedule = VariancePreserving(toy_abar(True))
    index = torch.arange(1000)
    assert torch.equal(schedule.index(schedule.time(index).to(dtype)), index)


def test_time_covers_the_indices_evenly_and_ascending() -> None:
    schedule = VariancePreserving(toy_abar(True))
    ends = schedule.index(torch.tensor([0.0, 0.000999, 0.001, 0.5, 0.999, 1.0], dtype=torch.float64))
    assert ends.tolist() == [0, 0, 1, 500, 999, 999]
    grid = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    assert schedule.index(grid).bincount().tolist() == [100] * 1000
    sigma = schedule.sigma(grid)
    assert bool((sigma.diff() >= 0).all())
    assert sigma[-1] == 1
    assert schedule.alpha(grid)[-1] == 0


def test_the_last_index_converts_through_v_and_refuses_eps() -> None:
    schedule = VariancePreserving(toy_abar(True))
    t = torch.tensor(0.9995, dtype=torch.float64)
    x = schedule.add_noise(X0, EPS, t)
    assert_is(x, EPS)
    assert_is(convert(-X0, x, t, schedule, "v", "x0"), X0)
    assert_is(convert(-X0, x, t, schedule, "v", "eps"), EPS)
    for want in ("x0", "v", "flow"):
        with pytest.raises(ZeroDivisionError, match="predict v"):
            convert(EPS, x, t, schedule, "eps", want)
    assert_is(convert(EPS, x, t, schedule, "eps", "eps"), EPS)


@pytest.mark.parametrize(("native", "want"), [("noise", "x0"), ("flow", "noise")])
def test_unknown_predictions_are_refused(native: str, want: str) -> None:
    with pytest.raises(ValueError, match="noise"):
        convert(X0, X0, T, FLOW, native, want)


def test_spread_broadcasts_against_samples() -> None:
    like = torch.zeros(2, 3, 4, 5, 6)
    out = spread(torch.tensor([0.25, 0.75], dtype=torch.float64), like)
    assert out.shape == (2, 1, 1, 1, 1)
    assert out.dtype == like.dtype
    assert (like + out)[1].unique().tolist() == [0.75]
