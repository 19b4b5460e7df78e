"""The supervised trainer: its loss and gradient, the order of its draws, caption dropout, and the plain time laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from harness.api import Noise, Services, make_part
from methods.supervised.trainer import squared_error, weighted_mean
from tests.methods.common import TRAINED, batch, method, services
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")


def toy(family: Any = "flow", hidden: int = 8) -> ToyBackbone:
    return ToyBackbone(ToyOptions(family=family, hidden=hidden), CPU)


def times(spec: dict[str, Any], n: int = 20_000) -> Tensor:
    u = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return make_part("time_law", spec, services())(u, None)


def test_the_mean_is_over_all_elements() -> None:  # O-S1
    prediction = torch.tensor([1.0, -1.0, 2.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    loss = weighted_mean(squared_error(prediction, torch.zeros(5, dtype=torch.float64)), torch.ones(()))
    loss.backward()
    assert loss.item() == 1.25
    assert prediction.grad is not None
    torch.testing.assert_close(prediction.grad, torch.tensor([0.4, -0.4, 0.8, 0, 0.2], dtype=torch.float64))


def test_a_weight_broadcasts_and_is_not_normalised() -> None:
    error = torch.arange(24, dtype=torch.float64).reshape(1, 2, 3, 2, 2)
    w = torch.tensor([1.0, 0.0, 3.0]).reshape(1, 1, 3, 1, 1)
    assert weighted_mean(error, w).item() == pytest.approx((error * w).sum().item() / 24)


def test_half_precision_is_squared_in_float32() -> None:
    error = squared_error(torch.tensor([300.0], dtype=torch.float16), torch.tensor([0.0], dtype=torch.float16))
    assert error.dtype == torch.float32
    assert error.item() == 90_000  # float16 would overflow


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_the_loss_is_the_equation(family: str) -> None:
    """x_t = alpha x0 + sigma eps, native target, mean square; drawn in the order eps, dropout, time."""
    student = toy(family)
    plain = method("supervised-uniform", student=student, p_drop=0.4)
    data = batch([0, 1, 2, 3, 4, 5, 0, 1], student=student)
    loss, logs = plain.loss("student", data, 0)

    noise = Noise(0, "train", "student", 0, rows=(0, 8, 8))
    eps, drop, t = noise.normal(data.latent), noise.uniform() < 0.4, noise.uniform()
    assert 0 < drop.sum() < 8
    cond = torch.stack([student.null_cond(1)[0] if d else c for c, d in zip(data.cond, drop, strict=True)])
    at = t.reshape(-1, 1, 1, 1, 1)
    if family == "flow":
        x_t, target = (1 - at) * data.latent + at * eps, eps - data.latent
    else:
        index = (t * 1000).long()
        a, s = (
            x.sqrt().reshape(-1, 1, 1, 1, 1) for x in (student.schedule.abar[index], 1 - student.schedule.abar[index])
        )
        x_t, target = a * data.latent + s * eps, (a * eps - s * data.latent if family == "v" else eps)
    expected = (student.net(x_t, t, cond) - target).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert logs["mse"] == pytest.approx(expected.item(), rel=1e-12)
    assert logs["t"] == pytest.approx(t.mean().item())
    assert logs["dropped"] == drop.double().mean().item()
    assert (logs["weight"], logs["kept"]) == (1.0, 1.0)


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
@pytest.mark.parametrize("name", TRAINED)
def test_the_gradient_is_the_derivative_of_the_loss(name: str, family: str) -> None:
    """Central differences in float64 on a few parameters of every layer."""
    student = toy(family, hidden=2)
    trained = method(name, student=student)

    def loss() -> Tensor:
        return trained.loss("student", batch([0, 1, 2, 3], student=student), 0)[0]

    student.net.zero_grad()
    loss().backward()
    step = 1e-5
    for parameter in student.net.parameters():
        flat, grad = parameter.data.view(-1), parameter.grad
        assert grad is not None
        for i in {0, len(flat) // 2, len(flat) - 1}:
            kept = flat[i].item()
            flat[i] = kept + step
            above = loss().item()
            flat[i] = kept - step
            below = loss().item()
            flat[i] = kept
            assert grad.view(-1)[i].item() == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", TRAINED)
def test_methods_of_one_seed_share_their_noise(name: str) -> None:
    seen: dict[str, Tensor] = {}
    student = toy()

    class Recorder:
        def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
            seen["eps"], seen["t"] = eps, t
            return x0

    student.schedule = Recorder()  # type: ignore[assignment]
    _, logs = method(name, student=student, p_drop=0.5).loss("student", batch([0, 1, 2, 3], seed=11), 0)
    noise = Noise(11, "train", "student", 0, rows=(0, 4, 4))
    latent = batch([0, 1, 2, 3], seed=11).latent
    assert torch.equal(seen["eps"], noise.normal(latent))
    assert logs["dropped"] == (noise.uniform() < 0.5).double().mean().item()
    assert seen["t"].dtype == torch.float64
    assert seen["t"].shape == (4, 1, 1, 1, 1)


def test_time_is_a_monotone_function_of_shared_numbers() -> None:
    u = torch.linspace(0, 1 - 1e-12, 999, dtype=torch.float64)
    rows = batch([0] * 999)
    for spec in ("uniform", "logit_normal", "shifted_uniform", "tqd_beta"):
        t = make_part("time_law", {"name": spec}, services())(u, rows)
        assert bool((t.diff() >= 0).all()), spec
        assert t.dtype == torch.float64
        assert (t[0].item(), t[-1].item()) == (1e-3, 0.999)


def test_time_stays_in_float64_up_to_the_network() -> None:
    student, seen = toy("v"), []
    student.net.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    data = batch([0, 1], latent=torch.randn(2, 3, 4, 2, 2))
    loss, _ = method("supervised-uniform", student=student).loss("student", data, 0)
    noise = Noise(0, "train", "student", 0, rows=(0, 2, 2))
    noise.normal(data.latent), noise.uniform()
    assert torch.equal(seen[0], noise.uniform())
    assert loss.dtype == torch.float32


@pytest.mark.parametrize(("p_drop", "expected"), [(0.0, 0), (1.0, 4)])
def test_caption_dropout_ends(p_drop: float, expected: int) -> None:
    student, seen = toy(), []
    student.net.register_forward_pre_hook(lambda _, args: seen.append(args[2]))
    data = batch([0, 1, 2, 3], student=student)
    method("supervised-uniform", student=student, p_drop=p_drop).loss("student", data, 0)
    dropped = (seen[0] == student.null_cond(4)).flatten(1).all(1)
    assert int(dropped.sum()) == expected
    if not expected:
        assert torch.equal(seen[0], data.cond)


def test_a_single_frame_trains() -> None:
    for name in TRAINED:
        loss, _ = method(name).loss("student", batch([0, 1], shape=(3, 1, 2, 2)), 0)
        assert torch.isfinite(loss)


def test_micro_batches_add_up_to_the_batch() -> None:
    whole, data = method("tqd"), batch([0, 1, 2, 3])
    loss = whole.loss("student", data, 0)[0].item()
    halves = []
    for first, last in ((0, 2), (2, 4)):
        part = batch([0, 1, 2, 3])
        cut = slice(first, last)
        part.index, part.latent, part.cond, part.prompt = (
            part.index[cut],
            part.latent[cut],
            part.cond[cut],
            part.prompt[cut],
        )
        part.scores = {name: column[cut] for name, column in part.scores.items()}
        part.noise = Noise(0, "train", "student", 0, rows=(first, last, 4))
        halves.append(whole.loss("student", part, 0)[0].item())
    assert sum(halves) / 2 == pytest.approx(loss, rel=1e-12)


def test_uniform_law() -> None:
    assert kstest(times({"name": "uniform"}).numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("m", "s"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal_law(m: float, s: float) -> None:
    t = times({"name": "logit_normal", "m": m, "s": s, "t_min": 0, "t_max": 1})
    assert kstest(torch.logit(t).numpy(), norm(m, s).cdf).pvalue > 1e-4
    if (m, s) == (0.0, 1.0):
        assert t.var().item() == pytest.approx(0.04336, abs=4 * 0.04336 * (2 / len(t)) ** 0.5)


def test_shifted_uniform_law() -> None:
    t = times({"name": "shifted_uniform", "s": 5.0})
    assert t.median().item() == pytest.approx(0.8333333333, abs=0.01)
    assert kstest((t / (5 - 4 * t)).numpy(), "uniform").pvalue > 1e-4


def test_discrete_law() -> None:
    listed = [1.0, 0.757, 0.522]
    t = times({"name": "discrete", "times": listed, "t_max": 1.0}, 30_000)
    values, counts = t.unique(return_counts=True)
    assert values.tolist() == sorted(listed)
    assert (counts / 30_000).tolist() == pytest.approx([1 / 3] * 3, abs=4 * (2 / 9 / 30_000) ** 0.5)
    assert times({"name": "discrete", "times": [1.0]}, 3).tolist() == [0.999] * 3


def test_all_laws_obey_their_bounds() -> None:
    for spec in ({"name": "uniform"}, {"name": "logit_normal", "s": 9.0}, {"name": "shifted_uniform", "s": 99.0}):
        t = times({**spec, "t_min": 0.02, "t_max": 0.98})
        assert t.min() >= 0.02
        assert t.max() <= 0.98
    assert times({"name": "logit_normal", "s": 50.0}).max().item() == 0.999


def test_the_constant_weight_scales_the_loss() -> None:
    plain, twice = method("supervised-logitnormal"), method("supervised-const2")
    data = [batch([0, 1, 2], seed=5) for _ in range(2)]
    one, two = (m.loss("student", rows, 0) for m, rows in zip((plain, twice), data, strict=True))
    assert two[0].item() == pytest.approx(2 * one[0].item(), rel=1e-14)
    assert two[1]["mse"] == one[1]["mse"]
    assert two[1]["weight"] == 2


def test_a_training_set_without_scores_is_enough_for_plain_training() -> None:
    plain: Any = method("supervised-uniform", Services({}, rows=4))
    assert plain.retention.kept == 1.0
