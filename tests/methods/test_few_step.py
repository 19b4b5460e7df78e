"""Sampler S2: what each call sees, fresh noise per clip, the deterministic variant, and its times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import UserError, convert
from harness.backbones.base import spread
from harness.counted import Count, counted
from methods import fewstep
from methods.fewstep import Renoise, fresh_noise, predict_x0, renoise
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")
FAMILIES = ("flow", "v", "eps")
TIMES = {"flow": (1.0, 0.9, 0.757, 0.522), "v": (1.0, 0.75, 0.5), "eps": (0.9995, 0.75, 0.5)}
COND = torch.zeros(3, 6, 8, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


NOISE, TRUTH = random(3, 3, 4, 2, 2), random(3, 3, 4, 2, 2, seed=1)


def toy(family: Any = "flow") -> ToyBackbone:
    return ToyBackbone(ToyOptions(family=family), CPU)


def generators(n: int = 3, seed: int = 7) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


class Script:
    """A student that answers a list of x0, one a call, and keeps what it saw."""

    def __init__(self, *answers: Tensor) -> None:
        self.answers = answers
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, model: Any, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        self.seen.append((x, t))
        return self.answers[len(self.seen) - 1]


# ---- calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_one_network_call_a_time_and_no_guidance(family: str) -> None:
    model, count, times = toy(family), Count(), TIMES[family]
    sampler = Renoise(times)
    out = sampler(counted(model, count), NOISE, COND, generators())
    assert sampler.nfe == len(times)
    assert (count.clips, count.frames) == (3 * len(times), 3 * 4 * len(times))
    assert out.shape == NOISE.shape
    assert not out.requires_grad


def test_the_last_prediction_is_returned_as_it_is() -> None:
    answers = [random(*NOISE.shape, seed=k) for k in range(4)]
    assert Renoise(TIMES["flow"], Script(*answers))(toy(), NOISE, COND, generators()) is answers[-1]
    once = Script(TRUTH)
    assert Renoise([1.0], once)(toy(), NOISE, COND) is TRUTH  # one step needs no generator
    assert once.seen[0][0] is NOISE


@pytest.mark.parametrize("family", FAMILIES)
def test_every_call_from_the_definition(family: str) -> None:
    """x = alpha(t_{k+1}) x0 + sigma(t_{k+1}) eps, eps the next draw of each clip's own generator."""
    model, times = toy(family), TIMES[family]
    script = Script(*(random(*NOISE.shape, seed=10 + k) for k in range(len(times))))
    Renoise(times, script)(model, NOISE, COND, generators())
    sources, x = generators(), NOISE
    for k, (t, (seen, at)) in enumerate(zip(times, script.seen, strict=True)):
        assert at.dtype == torch.float64
        assert at.tolist() == [t] * 3
        torch.testing.assert_close(seen, x, rtol=0, atol=1e-14)
        if k + 1 < len(times):
            eps = torch.stack([torch.randn(NOISE.shape[1:], generator=g, dtype=NOISE.dtype) for g in sources])
            after = torch.tensor(times[k + 1], dtype=torch.float64)
            alpha, sigma = (1 - after, after) if family == "flow" else _vp(model, after)
            x = alpha * script.answers[k] + sigma * eps


def _vp(model: ToyBackbone, t: Tensor) -> tuple[Tensor, Tensor]:
    abar = model.schedule.abar[int(t * 1000)]  # type: ignore[attr-defined]
    return abar.sqrt(), (1 - abar).sqrt()


def test_the_default_student_is_the_backbones_x0() -> None:
    for family in FAMILIES:
        model, t = toy(family), torch.full((3,), 0.7, dtype=torch.float64)
        native = model.predict(NOISE, t, COND, "native")
        expected = convert(native, NOISE, spread(t, NOISE), model.schedule, model.native, "x0")
        torch.testing.assert_close(predict_x0(model, NOISE, t, COND), expected, rtol=0, atol=0)


def test_renoising_one_number() -> None:
    x0, eps, t = torch.tensor([[2.0]]), torch.tensor([[-4.0]]), torch.tensor(0.25)
    assert renoise(x0, eps, t, toy().schedule).item() == 0.75 * 2 - 0.25 * 4
    schedule = toy("v").schedule
    for at in (0.1, 0.5, 0.9):  # a time of its own, 0-d, and the variance is preserved
        zero, one = torch.zeros(1).double(), torch.ones(1).double()
        alpha, sigma = (renoise(*pair, torch.tensor(at), schedule).item() for pair in ((one, zero), (zero, one)))
        assert alpha**2 + sigma**2 == pytest.approx(1)
    half = renoise(x0.half(), eps.half(), t.double(), toy().schedule)
    assert half.dtype == torch.float16


# ---- noise -----------------------------------------------------------------------------------------------------


def test_fresh_noise_comes_from_each_clips_generator() -> None:
    like = torch.empty(2, 3, 4)
    found, sources = fresh_noise(like, generators(2)), generators(2)
    assert torch.equal(found, torch.stack([torch.randn(3, 4, generator=source) for source in sources]))
    swapped = fresh_noise(like, generators(2)[::-1])
    assert torch.equal(swapped, found.flip(0))
    assert fresh_noise(like.double(), generators(2)).dtype == torch.float64
    many = fresh_noise(torch.empty(4, 10_000), generators(4))
    assert many.mean().item() == pytest.approx(0, abs=0.02)
    assert many.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stochastic", [True, False])
def test_clips_do_not_depend_on_their_neighbours(family: Any, stochastic: bool) -> None:
    model, sampler = toy(family), Renoise(TIMES[family], stochastic=stochastic)
    cond = model.encode_text(["red square", "a", "b c"])
    together = sampler(model, NOISE, cond, generators())
    assert torch.equal(together, sampler(model, NOISE, cond, generators()))
    for i in range(3):
        alone = sampler(model, NOISE[i : i + 1], cond[i : i + 1], generators()[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


def test_only_the_stochastic_variant_draws() -> None:
    model = toy()
    one, other = (Renoise(TIMES["flow"])(model, NOISE, COND, generators(seed=seed)) for seed in (7, 11))
    assert (one - other).abs().max() > 1e-3
    sources = generators()
    before = [source.get_state() for source in sources]
    fixed = Renoise(TIMES["flow"], stochastic=False)(model, NOISE, COND, sources)
    assert all(torch.equal(state, source.get_state()) for state, source in zip(before, sources, strict=True))
    assert torch.equal(fixed, Renoise(TIMES["flow"], stochastic=False)(model, NOISE, COND))


# ---- the deterministic variant -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["flow", "v"])
def test_the_deterministic_variant_stays_on_the_path_of_a_right_student(family: str) -> None:
    """x0 right: the implied eps is the initial noise, and every x lies on alpha x0 + sigma noise."""
    model, times = toy(family), TIMES[family]
    script = Script(*[TRUTH] * len(times))
    found = Renoise(times, script, stochastic=False)(model, NOISE, COND)
    assert torch.equal(found, TRUTH)
    for t, (seen, _) in zip(times, script.seen, strict=True):
        at = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = model.schedule.alpha(at), model.schedule.sigma(at)
        torch.testing.assert_close(seen, alpha * TRUTH + sigma * NOISE, rtol=0, atol=1e-12)


def test_the_deterministic_variant_solves_a_straight_path() -> None:
    """A velocity of noise - x0 everywhere: each x0 prediction is the truth, whatever the times."""

    class Straight(ToyBackbone):
        def predict(self, x: Tensor, t: Tensor, cond: Tensor, want: Any, embeds: Any = None) -> Tensor:
            return convert(NOISE - TRUTH, x, spread(t, x), self.schedule, "flow", want)

    model = Straight(ToyOptions(), CPU)
    for times in ([1.0], TIMES["flow"], [1.0, 0.01]):
        torch.testing.assert_close(Renoise(times, stochastic=False)(model, NOISE, COND), TRUTH, rtol=0, atol=1e-12)
    drifting = Renoise(TIMES["flow"])(model, NOISE, COND, generators())  # fresh noise leaves that path
    assert (drifting - TRUTH).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_deterministic_variant_is_the_ode_step(family: Any) -> None:
    model, times = toy(family), TIMES[family]
    x, grid = NOISE, torch.tensor(times, dtype=torch.float64)
    with torch.no_grad():
        for k, t in enumerate(grid):
            x0, eps = (model.predict(x, t.expand(3), COND, want) for want in ("x0", "eps"))
            x = x0 if k + 1 == len(times) else model.schedule.step(x0, eps, grid[k + 1])
    found = Renoise(times, stochastic=False)(model, NOISE, COND)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-9 if family == "eps" else 1e-12)


# ---- times and hooks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "problem", "remedy"),
    [
        ([], "must descend", "from noise"),
        ([0.5, 0.9], "must descend", "from noise"),
        ([1.0, 0.5, 0.5], "must descend", "from noise"),
        ([1.0, 0.0], r"must lie in \(0, 1\]", "pure noise"),
        ([1.0, -0.1], r"must lie in \(0, 1\]", "pure noise"),
        ([1000, 757, 522], r"must lie in \(0, 1\]", "pure noise"),
    ],
)
def test_times_that_cannot_be_sampled(times: list[float], problem: str, remedy: str) -> None:
    with pytest.raises(UserError, match=problem) as error:
        Renoise(times)
    assert str(list(times)) in error.value.problem
    assert remedy in error.value.remedy


def test_hooks_see_every_prediction_once() -> None:
    """`start` replaces the noise, `arrange` every x0, the last one included."""

    class Doubled(Renoise):
        def start(self, noise: Tensor) -> Tensor:
            return -noise

        def arrange(self, k: int, x0: Tensor) -> Tensor:
            calls.append(k)
            return 2 * x0

    calls: list[int] = []
    script = Script(TRUTH, NOISE)
    found = Doubled([1.0, 0.5], script)(toy(), NOISE, COND, generators())
    assert calls == [0, 1]
    assert torch.equal(script.seen[0][0], -NOISE)
    torch.testing.assert_close(script.seen[1][0], TRUTH + 0.5 * fresh_noise(TRUTH, generators()))
    assert torch.equal(found, 2 * NOISE)


def test_single_precision_stays_close_and_keeps_its_type() -> None:
    for family in FAMILIES:
        model, sampler = toy(family), Renoise(TIMES[family], stochastic=False)
        found = sampler(model, NOISE.float(), COND.float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), sampler(model, NOISE, COND), rtol=2e-3, atol=2e-3)


def test_the_readmes_example_runs() -> None:
    text = (Path(fewstep.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["sampler"].nfe == 4
    assert names["sampler"].times == TIMES["flow"]
