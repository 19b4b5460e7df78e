"""Consistency distillation: oracles O-CD1, O-CD2, O-CD5, O-CD6, the loss by hand, its target, and sampling."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from harness.api import RectifiedFlow, UserError, VariancePreserving
from harness.registry import methods
from methods.consistency import SolverGrid
from methods.consistency.equations import (
    boundary_scalings,
    consistency_function,
    ema_,
    flow_time,
    guided,
    ode_step,
    pseudo_huber,
    sampling_steps,
    solver_index,
    squared_distance,
    vp_index,
    vp_previous,
)
from tests.methods.common import options
from tests.methods.consistency_toys import distiller, part, rows_of, toy
from tests.toys import toy_abar

F64 = torch.float64


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


# ---- equations -----------------------------------------------------------------------------------------------------


def test_boundary_scalings() -> None:  # O-CD1
    c_skip, c_out = boundary_scalings(torch.tensor([0, 1, 4, 999]))
    torch.testing.assert_close(c_skip, tensor(1, 0.0024937655861, 1.5622558975e-4, 2.5050075e-9), rtol=1e-8, atol=0)
    torch.testing.assert_close(c_out, tensor(0, 0.9987523388778, 0.9999218841541, 0.99999999875), rtol=0, atol=1e-11)
    c_skip, c_out = boundary_scalings(torch.arange(1000))
    torch.testing.assert_close(c_skip + c_out.square(), torch.ones(1000, dtype=F64), rtol=0, atol=1e-15)
    z, x0 = tensor(0.3, -2), tensor(9, 9)
    assert torch.equal(consistency_function(z, x0, *boundary_scalings(torch.tensor([0]))), z)


def test_the_teachers_step() -> None:  # O-CD2
    alpha, sigma, z = tensor(0.5), tensor(0.75).sqrt(), tensor(0.9)
    eps_c, eps_u, w = tensor(0.4), tensor(0.2), tensor(7.5)
    x0_c, x0_u = (z - sigma * eps_c) / alpha, (z - sigma * eps_u) / alpha
    x0, eps = guided(x0_c, x0_u, w), guided(eps_c, eps_u, w)
    found = torch.cat([x0_c, x0_u, x0, eps, ode_step(x0, eps, tensor(0.8), tensor(0.6))])
    expected = tensor(1.1071796770, 1.4535898385, -1.4908965344, 1.9, -0.0527172275)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_distances() -> None:  # O-CD5
    d = tensor(0, 0.001, 0.01, 1)
    assert pseudo_huber(d, 0.001).item() == pytest.approx(0.2521161473, abs=1e-10)
    assert squared_distance(d).item() == pytest.approx((1e-6 + 1e-4 + 1) / 4)
    d = tensor(0.003, -0.004).requires_grad_()
    pseudo_huber(d, 0.003).backward()
    assert d.grad is not None
    expected = tensor(0.003 / math.hypot(0.003, 0.003), -0.004 / 0.005) / 2
    torch.testing.assert_close(d.grad, expected, rtol=1e-12, atol=0)


def test_average_of_weights() -> None:
    target = ema_(tensor(1, 2), tensor(5, -2), 0.95)
    torch.testing.assert_close(target, tensor(1.2, 1.8), rtol=0, atol=1e-15)


# ---- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "k", "expected"),
    [(50, 4, [999, 759, 519, 279]), (200, 4, [999, 749, 499, 249]), (200, 16, [*range(999, 98, -60)])],
)
def test_sampling_grids(steps: int, k: int, expected: list[int]) -> None:  # O-CD6
    assert vp_index(torch.tensor(sampling_steps(steps, k)), steps).tolist() == expected
    grid = SolverGrid(VariancePreserving(toy_abar(False)), steps, 1.0)
    assert grid.schedule.index(tensor(*grid.sampling(k))).tolist() == expected  # type: ignore[attr-defined]


def test_the_index_grid_of_a_table() -> None:
    index = torch.tensor([0, 1, 49])
    assert vp_index(index, 50).tolist() == [19, 39, 999]
    assert vp_previous(index, 50).tolist() == [0, 19, 979]
    assert vp_previous(torch.tensor([0, 1, 199]), 200).tolist() == [0, 4, 994]
    assert vp_index(torch.tensor([100]), 200).item() == 504
    with pytest.raises(UserError, match="does not divide"):
        SolverGrid(VariancePreserving(toy_abar(False)), 30, 1.0)


def test_the_grid_of_a_flow() -> None:
    grid = SolverGrid(RectifiedFlow(), 4, 5.0)
    starts, ends = grid.time(torch.arange(4)), grid.previous(torch.arange(4))
    torch.testing.assert_close(starts.flip(0), tensor(1, 0.9375, 5 / 6, 0.625), rtol=0, atol=1e-15)  # O-C4
    torch.testing.assert_close(ends, torch.cat([tensor(0), starts[:-1]]), rtol=0, atol=0)
    assert grid.sampling(2) == pytest.approx([1, 5 / 6])
    torch.testing.assert_close(flow_time(torch.arange(3), 2), tensor(0, 0.5, 1))
    with pytest.raises(UserError, match="5 sampling steps from a grid of 4"):
        grid.sampling(5)


def test_every_solver_step_is_equally_likely() -> None:
    u = torch.linspace(0, 1 - 1e-12, 1001, dtype=F64)
    assert np.ptp(torch.bincount(solver_index(u, 7)).numpy()) <= 1
    assert solver_index(tensor(1 - 2**-53), 50).item() == 49


# ---- the loss ------------------------------------------------------------------------------------------------------


def by_hand(method: Any, data: Any, target: Any) -> torch.Tensor:
    """The loss row by row in plain arithmetic, from the draws in their order."""
    noise = part(data, 0, len(data.index), "loss").noise
    eps, u, u_w = noise.normal(data.latent), noise.uniform(), noise.uniform()
    base, schedule, total = method.roles["teacher"], method.student.schedule, []
    flow = isinstance(schedule, RectifiedFlow)
    for b in range(len(u)):
        j, w = int(u[b] * 20), 5 + 10 * u_w[b].item()
        if flow:
            t, s = (5 * n / 20 / (1 + 4 * n / 20) for n in (j + 1, j))
            (a, sd), (a_, sd_) = (1 - t, t), (1 - s, s)
        else:
            i, i_ = 50 * (j + 1) - 1, max(50 * j - 1, 0)
            t, s = (i + 0.5) / 1000, (i_ + 0.5) / 1000
            (a, sd), (a_, sd_) = ((schedule.abar[k] ** 0.5, (1 - schedule.abar[k]) ** 0.5) for k in (i, i_))
        x, c = data.latent[b : b + 1], data.cond[b : b + 1]
        z = a * x + sd * eps[b : b + 1]
        x0_c, x0_u = (base.predict(z, tensor(t), k, "x0") for k in (c, base.null_cond(1)))
        x0 = x0_u + (1 + w) * (x0_c - x0_u)
        z_prev = a_ * x0 + sd_ * (z - a * x0) / sd
        f = method.student.predict(z, tensor(t), c, "x0", {"guidance": tensor(w)})
        goal = target.predict(z_prev, tensor(s), c, "x0", {"guidance": tensor(w)}).detach()
        if not flow:
            (skip, out), (skip_, out_) = (
                (0.25 / (q + 0.25), (q / (q + 0.25)) ** 0.5) for q in (100 * i * i, 100 * i_**2)
            )
            f, goal = skip * z + out * f, skip_ * z_prev + out_ * goal
        total.append(((f - goal).square() + 1e-6).sqrt().sub(1e-3).mean())
    return torch.stack(total).mean()


def shaken(method: Any) -> Any:
    """The method with another student than its teacher, embeddings included."""
    random = torch.Generator().manual_seed(9)
    for p in method.student.net.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=random, dtype=p.dtype)
    return method


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
@pytest.mark.parametrize("name", ["lcm", "vcm"])
def test_the_loss_and_its_gradient(name: str, family: Any) -> None:
    method = shaken(distiller(name, toy(family)))
    data = rows_of(method)
    target = method.student if name == "vcm" else method.target
    loss, logs = method.loss("student", part(data, 0, 6, "loss"), 0)
    expected = by_hand(method, data, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert logs["cd"] == loss.item()
    assert logs["guided"] == 0
    found, wanted = (torch.autograd.grad(value, [*method.student.net.parameters()]) for value in (loss, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)


def test_a_student_is_told_its_guidance() -> None:
    method = shaken(distiller("vcm"))
    data, losses = rows_of(method), []
    for low in (5.0, 9.0):
        told = distiller("vcm", w_range=[low, low])
        told.student.net.load_state_dict(method.student.net.state_dict())
        losses.append(told.sample(told.student, data.latent, tensor(*[0.5] * 6), data.cond))
        assert told.loss("student", part(data, 0, 6, "loss"), 0)[1]["w"] == low
    assert torch.equal(*losses)  # sampling is told w = 7.5 whatever the range
    other = distiller("vcm", w=3.0)
    other.student.net.load_state_dict(method.student.net.state_dict())
    assert not torch.allclose(losses[0], other.sample(other.student, data.latent, tensor(*[0.5] * 6), data.cond))


def test_without_the_embedding_there_is_one_scale() -> None:
    method = distiller("vcm", guidance_embed=False, w=4.0)
    assert method.needs(method.config).caps == ()
    assert not [name for name, _ in method.student.net.named_parameters() if "embed" in name]
    _, logs = method.loss("student", part(rows_of(method), 0, 6, "loss"), 0)
    assert logs["w"] == 4.0


def test_micro_batches_see_the_same_numbers() -> None:
    method = shaken(distiller("lcm"))
    data = rows_of(method)
    whole = method.loss("student", part(data, 0, 6, "loss"), 0)[0].item()
    halves = [method.loss("student", part(data, first, first + 3, "loss"), 0)[0].item() for first in (0, 3)]
    assert whole == pytest.approx(np.mean(halves), rel=1e-12)


@pytest.mark.parametrize("distance", ["huber", "l2"])
def test_training_learns_and_leaves_the_teacher_alone(distance: str) -> None:
    base = toy()
    before = copy.deepcopy(base.net.state_dict())
    method = distiller("vcm", base, distance=distance, w_range=[0, 1])
    optimizer = torch.optim.Adam(method.student.net.parameters(), lr=3e-3)
    data, losses = rows_of(method, 12), []
    for step in range(150):
        loss, _ = method.loss("student", part(data, 0, 12, "loss", step), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after("student", step)
        losses.append(loss.item())
    assert np.mean(losses[-30:]) < 0.8 * np.mean(losses[:10])
    assert all(torch.equal(value, before[name]) for name, value in base.net.state_dict().items())


def test_a_teacher_without_alpha_cannot_predict_noise() -> None:
    base = toy("eps")
    base.schedule = VariancePreserving(toy_abar(True))
    with pytest.raises(UserError, match="alpha = 0"):
        distiller("lcm", base)
    base = toy("v")  # ends at alpha = 0 too, and answers v
    method = distiller("lcm", base)
    data = rows_of(method, 40)
    assert math.isfinite(method.loss("student", part(data, 0, 40, "loss"), 0)[0].item())


# ---- the target ----------------------------------------------------------------------------------------------------


def test_the_target_follows_and_resumes_bit_for_bit() -> None:
    method = distiller("lcm")
    data = rows_of(method)
    start = {name: value.clone() for name, value in method.target.net.state_dict().items()}
    shaken(method)
    method.after("student", 0)
    for name, value in method.target.net.state_dict().items():
        online = method.student.net.state_dict()[name]
        torch.testing.assert_close(value, 0.95 * start[name] + 0.05 * online, rtol=1e-14, atol=1e-16)
    assert not any(p.requires_grad for p in method.target.net.parameters())

    other = distiller("lcm")
    other.student.net.load_state_dict(method.student.net.state_dict())
    other.load_state_dict({name: value.clone() for name, value in method.state_dict().items()})
    pair = [m.loss("student", part(data, 0, 6, "loss"), 1)[0].item() for m in (method, other)]
    assert pair[0] == pair[1]
    assert distiller("vcm").state_dict() == {}


def test_the_target_is_asked_without_dropout_and_the_student_keeps_its_mode() -> None:
    method = distiller("vcm")
    modes: list[bool] = []
    method.student.net.register_forward_pre_hook(lambda net, args: modes.append(net.training))
    method.student.net.train()
    method.loss("student", part(rows_of(method), 0, 6, "loss"), 0)
    assert modes == [True, False]
    assert method.student.net.training


# ---- names, needs, sampling ----------------------------------------------------------------------------------------


def test_what_each_name_is() -> None:
    found = {name: options(name) for name in ("lcm", "vcm")}
    slots = {name: (c.solver_steps, c.target, c.ema_decay, c.w_range, c.huber_c) for name, c in found.items()}
    assert slots == {"lcm": (50, "ema", 0.95, (5, 15), 1e-3), "vcm": (200, "online", 0.95, (5, 15), 1e-3)}
    needs = {name: methods.get(name).needs(config) for name, config in found.items()}
    assert needs["lcm"].roles == ("student", "teacher", "target")
    assert needs["vcm"].roles == ("student", "teacher")
    assert needs["vcm"].caps == ("guidance_embed",)
    assert needs["vcm"].fields == ("latent", "prompt")
    (turn,) = methods.get("lcm").turns_for(options("lcm", rate=0.1))
    assert (turn.role, turn.every, turn.repeat, turn.clip, turn.rate) == ("student", 1, 1, 1.0, 0.1)


def test_mistakes_in_the_options() -> None:
    for settings, message in (
        ({"w_range": [9, 5]}, "w_range"),
        ({"guidance": "nothing"}, "no teacher_guidance is called"),
        ({"rewards": "toy-brightness"}, "rewards is a list"),
        ({"rewards": [{"name": "toy-brightness", "size": 3}]}, "unknown"),
        ({"targets": "ema"}, "unknown key"),
        ({"w": float("inf")}, "finite"),
        ({"sample_steps": 8, "solver_steps": 5}, "sample_steps 8"),
    ):
        with pytest.raises(UserError, match=message):
            options("lcm", **settings)


@pytest.mark.parametrize("family", ["flow", "v"])
def test_sampling(family: Any) -> None:
    """Four calls on the training grid: x0, fresh noise at the next time, x0, ..."""
    trained = shaken(distiller("vcm", toy(family)))
    cls = methods.get("vcm")
    config = options("vcm", solver_steps=20, shift=3.0)
    student = cls.build(config, "student", toy(family), False)
    student.net.load_state_dict(trained.student.net.state_dict())
    method = cls(config, {"student": student}, trained.services)  # at generation there is no teacher
    sampler = method.sampler()
    assert sampler.nfe == cls.nfe(config, {}) == 4
    noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(3), dtype=F64)
    cond = student.encode_text(["red", "blue"])
    found = sampler(student, noise, cond, [torch.Generator().manual_seed(row) for row in (0, 1)])

    sources, x = [torch.Generator().manual_seed(row) for row in (0, 1)], noise
    steps, scale = (20, 15, 10, 5), {"guidance": tensor(7.5, 7.5)}
    times = [3 * n / 20 / (1 + 2 * n / 20) if family == "flow" else (50 * n - 0.5) / 1000 for n in steps]
    for k, t in enumerate(times):
        level = tensor(t, t)
        x0 = student.predict(x, level, cond, "x0", scale)
        if family == "v":
            c_skip, c_out = boundary_scalings(torch.tensor(50 * steps[k] - 1))
            x0 = c_skip * x + c_out * x0
        if k < 3:
            eps = torch.stack([torch.randn(x.shape[1:], generator=source, dtype=F64) for source in sources])
            later = tensor(times[k + 1])
            x = method.grid.schedule.alpha(later) * x0 + method.grid.schedule.sigma(later) * eps
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-12)


def test_the_flow_is_bound_by_either_boundary() -> None:
    for boundary in ("identity", "lcm"):
        method = shaken(distiller("vcm", boundary=boundary))
        data = rows_of(method)
        zero = torch.zeros(6, dtype=F64)
        found = method.f(method.student, data.latent, zero, data.cond, {"guidance": zero})
        torch.testing.assert_close(found, data.latent, rtol=0, atol=1e-15)
    at_one = method.f(method.student, data.latent, zero + 0.001, data.cond)
    x0 = method.student.predict(data.latent, zero + 0.001, data.cond, "x0")
    skip = 0.0024937655861
    torch.testing.assert_close(at_one, skip * data.latent + 0.9987523388778 * x0, rtol=0, atol=1e-10)
