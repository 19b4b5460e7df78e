"""Sampler S3: what each call sees and costs (O-VIF4), and what it shares with plain S2."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import UserError
from harness.counted import Count, counted
from methods.avd.frame_plan import FramePlan, frame_evaluations
from methods.avd.interpolation import InterpolationUNet, interpolate, linear_middle
from methods.avd.vif import Interpolator
from methods.fewstep import Renoise
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")
TIMES = (1.0, 0.9, 0.757, 0.522)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def upsample(z: Tensor) -> Tensor:
    """Interpolation whose answer is known: the mean of the neighbours."""
    return interpolate(z, linear_middle)


def generators(n: int, seed: int = 7) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def toy(family: Any = "flow") -> ToyBackbone:
    return ToyBackbone(ToyOptions(family=family), CPU)


@pytest.mark.parametrize(
    ("frames", "low_steps", "seen"), [(21, 2, 64), (21, 0, 84), (5, 2, 16), (5, 0, 20), (21, 4, 44), (1, 2, 4)]
)
def test_frames_that_the_network_sees(frames: int, low_steps: int, seen: int) -> None:  # O-VIF4
    count, model = Count(), toy()
    plan, noise = FramePlan(TIMES, upsample, low_steps), random(2, 3, frames, 2, 2)
    out = plan(counted(model, count), noise, model.encode_text(["a", "b"]), generators(2))
    assert out.shape == noise.shape
    assert frame_evaluations(frames, 4, low_steps) == seen
    assert (count.clips, count.frames) == (2 * 4, 2 * seen)
    assert plan.nfe == 4


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_without_low_steps_it_is_plain_renoising(family: Any) -> None:
    model, noise = toy(family), random(2, 3, 5, 4, 4)
    cond, times = model.encode_text(["a", "b"]), TIMES[1:]
    plan = FramePlan(times, upsample, low_steps=0)(model, noise, cond, generators(2))
    assert torch.equal(plan, Renoise(times)(model, noise, cond, generators(2)))
    even = FramePlan(times, upsample, low_steps=0)(model, noise[:, :, :4], cond, generators(2))
    assert even.shape[2] == 4


class Scripted(ToyBackbone):
    """Answers a given x0 a call, cut to the frames it is asked for, and keeps what it saw."""

    def __init__(self, answers: list[Tensor]) -> None:
        super().__init__(ToyOptions(), CPU)
        self.answers = answers
        self.seen: list[tuple[float, Tensor]] = []

    def predict(self, x: Tensor, t: Tensor, cond: Tensor, want: Any, embeds: Any = None) -> Tensor:
        self.seen.append((t[0].item(), x))
        return self.answers[len(self.seen) - 1]


@pytest.mark.parametrize("low_steps", [1, 2, 3])
def test_the_plan_step_by_step(low_steps: int) -> None:
    """Every x the student sees, from the definition: x0 is interpolated, and only then is full-size noise put back."""
    noise, times = random(2, 3, 5, 2, 2), (1.0, 0.75, 0.25)
    answers = [random(2, 3, 3 if k < low_steps else 5, 2, 2, seed=k + 1) for k in range(3)]
    model = Scripted(answers)
    found = FramePlan(times, upsample, low_steps)(model, noise, torch.zeros(2, 6, 8), generators(2))

    sources, x, x0 = generators(2), noise[:, :, ::2], noise
    for k, t in enumerate(times):
        assert model.seen[k][0] == t
        torch.testing.assert_close(model.seen[k][1], x, rtol=0, atol=0)
        x0 = upsample(answers[k]) if k + 1 == low_steps else answers[k]
        if k + 1 < len(times):
            eps = torch.stack([torch.randn(x0.shape[1:], generator=g, dtype=x0.dtype) for g in sources])
            x = (1 - times[k + 1]) * x0 + times[k + 1] * eps
    assert torch.equal(found, x0)
    assert found.shape == noise.shape


def test_a_clip_depends_on_its_generator_and_on_no_other_clip() -> None:
    torch.manual_seed(0)
    net = InterpolationUNet(3, (8, 16, 32)).double()
    model, noise, plan = toy(), random(3, 3, 5, 4, 4), FramePlan(TIMES, Interpolator(net))
    cond = model.encode_text(["red square", "a", "b c"])
    together = plan(model, noise, cond, generators(3))
    assert torch.equal(together, plan(model, noise, cond, generators(3)))
    assert not torch.equal(together, plan(model, noise, cond, generators(3, seed=8)))
    for i in range(3):
        alone = plan(model, noise[i : i + 1], cond[i : i + 1], generators(3)[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)
    assert not together.requires_grad


@pytest.mark.parametrize("low_steps", [-1, 5])
def test_low_steps_must_be_among_the_calls(low_steps: int) -> None:
    with pytest.raises(UserError, match=f"low_steps {low_steps}, but the sampler makes 4 calls"):
        FramePlan(TIMES, upsample, low_steps)
