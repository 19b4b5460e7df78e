"""The trainer of the distribution matching family: its two turns, stop-gradients, update counts, presets."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import Turn, convert, shift
from harness.registry import methods
from methods.dmd.equations import temporal_spectrum
from tests.methods.common import options
from tests.methods.matching import NAMES, clips, close, matching, roles, same, train, weights
from tests.toys import ToyBackbone, ToyOptions

F64 = torch.float64


def parameters(role: Any) -> list[Any]:
    return [parameter.grad for parameter in role.net.parameters()]


def expected_gradient(method: Any, batch: Any) -> Tensor:
    """g of a student turn, step by step from the definition; `rollout` has its own tests."""
    given, config = method.roles, method.config
    x_k, k = method.rollout(batch)
    x = given["student"].predict(x_k, method.times[k], batch.cond, "x0").detach()
    eps = batch.noise.normal(x)
    t = shift(batch.noise.uniform(), config.score_shift).clamp(0.02, 0.98)
    at = t.reshape(-1, 1, 1, 1, 1)
    x_t = (1 - at) * x + at * eps
    null = given["teacher"].null_cond(len(x))
    conditional, unconditional = (given["teacher"].predict(x_t, t, text, "x0") for text in (batch.cond, null))
    real = unconditional + config.scale * (conditional - unconditional)
    fake = given["fake"].predict(x_t, t, batch.cond, "x0")
    n = (x - real).abs().mean((1, 2, 3, 4), keepdim=True) + 1e-6
    return ((fake - real) / n).detach()


@pytest.mark.parametrize("rollout", ["simulate", "data"])
def test_the_students_turn_is_the_definition(rollout: str) -> None:
    method = matching("dmd", rollout=rollout)
    loss, logs = method.loss("student", clips(size=4), 0)
    g = expected_gradient(method, clips(size=4))
    assert loss.item() == pytest.approx(0.5 * g.square().mean().item(), rel=1e-9)
    assert logs["kl"] == pytest.approx(loss.item())
    assert logs["g_abs"] == pytest.approx(g.abs().mean().item(), rel=1e-9)
    assert [logs[f"dmd_f{k}"] for k in range(4)] == pytest.approx(temporal_spectrum(g).tolist(), rel=1e-6)
    assert [logs[f"total_f{k}"] for k in range(4)] == [logs[f"dmd_f{k}"] for k in range(4)]

    loss.backward()
    found = parameters(method.student)
    x_k, k = method.rollout(clips(size=4))
    again = method.student.predict(x_k, method.times[k], clips(size=4).cond, "x0")
    wanted = torch.autograd.grad((again * g).sum() / g.numel(), list(method.student.net.parameters()))
    assert all(close(a, b, 1e-12) for a, b in zip(found, wanted, strict=True))
    assert not close(found[0], torch.zeros_like(found[0]), 1e-6)


def test_the_fakes_turn_is_the_definition() -> None:
    method = matching("dmd")
    loss, _ = method.loss("fake", clips("fake"), 0)
    batch = clips("fake")
    x_k, k = method.rollout(batch)
    x = method.student.predict(x_k, method.times[k], batch.cond, "x0").detach()
    eps, t = batch.noise.normal(x), shift(batch.noise.uniform(), 5.0).clamp(0.02, 0.98)
    at = t.reshape(-1, 1, 1, 1, 1)
    flow = method.roles["fake"].predict((1 - at) * x + at * eps, t, batch.cond, "flow")
    assert loss.item() == pytest.approx((flow - (eps - x)).square().mean().item(), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_stop_where_they_should(name: str) -> None:
    """O-DMD4: only the role whose turn it is gets gradients."""
    method = matching(name)
    method.begin(clips("probe"))
    untouched = {"student": ("teacher", "fake"), "fake": ("student", "teacher")}
    for role, others in untouched.items():
        loss, _ = method.loss(role, clips(role), 0)
        loss.backward()
        assert all(grad is not None and grad.abs().sum() > 0 for grad in parameters(method.roles[role]))
        assert all(grad is None for other in others for grad in parameters(method.roles[other]))
        for turn in method.roles.values():
            turn.net.zero_grad(set_to_none=True)


def test_student_and_fake_are_updated_one_to_five() -> None:
    method = matching("dmd")
    method.optimizers = {
        role: torch.optim.AdamW(method.roles[role].net.parameters(), 1e-3) for role in ("student", "fake")
    }
    counts = {"student": 0, "fake": 0}
    for role, optimizer in method.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, role=role: counts.__setitem__(role, counts[role] + 1))
    log = train(method, 12)
    assert counts == {"student": 3, "fake": 12}
    assert [row["step"] for row in log if row["role"] == "student"] == [0, 5, 10]
    assert [row["role"] for row in log[:3]] == ["student", "fake", "fake"]


@pytest.mark.parametrize("name", NAMES)
def test_untouched_roles_are_bit_identical(name: str) -> None:
    method = matching(name, ratio=3)
    teacher, before = weights(method.roles["teacher"]), weights(method.student)
    train(method, 1)
    after_first = weights(method.student)
    assert not same(before, after_first)
    fake = weights(method.roles["fake"])
    train(method, 2, start=1)  # only the fake score's turns
    assert same(after_first, weights(method.student))
    assert not same(fake, weights(method.roles["fake"]))
    assert same(teacher, weights(method.roles["teacher"]))


def test_no_role_has_dropout_on() -> None:
    given = roles()
    for role in given.values():
        role.net.train()
    matching("dmd", given=given)
    assert not given["student"].net.training
    assert not given["fake"].net.training


def test_turns_and_needs_follow_the_options() -> None:
    dmd = methods.get("dmd")
    assert dmd.turns_for(options("dmd")) == (Turn("student", 5, 1, 10.0, 1.0), Turn("fake", 1, 1, 10.0, 1.0))
    assert tuple(dmd.turns) == dmd.turns_for(options("dmd"))
    changed = options("dmd", ratio=2, clip=1.0, student_rate=0.1, fake_rate=2.0)
    assert dmd.turns_for(changed) == (Turn("student", 2, 1, 1.0, 0.1), Turn("fake", 1, 1, 1.0, 2.0))
    needs = {name: methods.get(name).needs(options(name)) for name in NAMES}
    assert {need.roles for need in needs.values()} == {("student", "teacher", "fake")}
    assert {name for name, need in needs.items() if "latent" in need.fields} == {"msm", "dmd+tr+reg", "avd"}
    assert dmd.needs(options("dmd", rollout="data")).fields == ("latent", "prompt")


def test_defaults_are_avds_and_presets_their_papers() -> None:
    plain, motion = options("dmd"), options("msm")
    assert plain.times == (1.0, 0.9, 0.757, 0.522)
    assert (plain.rollout, plain.scale, plain.score_shift, plain.ratio, plain.clip) == ("simulate", 6.0, 5.0, 5, 10.0)
    assert motion.times == (1.0, 0.757, 0.522)
    assert (motion.rollout, motion.scale, motion.score_shift) == ("data", 4.5, 8.0)
    assert options("dmd", guidance=5.0, cfg_convention="causvid").scale == 6.0
    assert matching("msm").sampler().nfe == 3
    assert matching("dmd").sampler().times == (1.0, 0.9, 0.757, 0.522)


def test_rows_of_one_list_differ_by_their_terms_alone() -> None:
    """Set alike, dmd and msm see the same noise, the same x and the same g."""
    alike = {"times": (1.0, 0.7, 0.4), "rollout": "simulate", "guidance": 4.0, "score_shift": 3.0}
    found = {}
    for name in NAMES:
        method = matching(name, **alike)
        method.begin(clips("probe"))
        found[name] = method.loss("student", clips(), 0)[1]
    for name in NAMES[1:]:
        for key in ("kl", "g_abs", "norm", "dmd_f0", "dmd_f3"):
            assert found[name][key] == pytest.approx(found["dmd"][key], rel=1e-12), (name, key)


def test_sampling_needs_only_the_student() -> None:
    for name in NAMES:
        method = matching(name, given={"student": roles()["student"]})
        noise = torch.randn(2, 3, 4, 2, 2, dtype=F64)
        cond = method.student.encode_text(["a", "b"])
        clean = method.sampler()(method.student, noise, cond, [torch.Generator().manual_seed(i) for i in range(2)])
        assert clean.shape == noise.shape


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_trains_on_every_schedule(name: str, family: Any) -> None:
    method = matching(name, family, ratio=2, times=(0.99, 0.7, 0.4))
    before = {role: weights(method.roles[role]) for role in ("student", "fake")}
    log = train(method, 3)
    assert all(math.isfinite(value) for row in log for value in row.values() if not isinstance(value, str))
    for role, old in before.items():
        assert all(not torch.equal(a, b) for a, b in zip(old, weights(method.roles[role]), strict=True))


class Bell(ToyBackbone):
    """The exact denoiser of latents ~ N(mean, 1), mean per channel: what each role believes is one vector."""

    def __init__(self, config: ToyOptions, device: torch.device) -> None:
        super().__init__(config, device)
        self.net = torch.nn.ParameterDict({"mean": torch.nn.Parameter(torch.zeros(3, dtype=F64))})

    def predict(self, x: Tensor, t: Tensor, cond: Tensor, want: Any, embeds: Any = None) -> Tensor:
        at, mean = t.reshape(-1, 1, 1, 1, 1), self.net["mean"].reshape(1, 3, 1, 1, 1)
        x0 = mean + (1 - at) / ((1 - at) ** 2 + at**2) * (x - (1 - at) * mean)
        return convert(x0, x, at, self.schedule, "x0", "flow" if want == "native" else want)

    def clone(self, trainable: bool, embeds: Any = ()) -> Any:
        other = copy.copy(self)
        other.net = copy.deepcopy(self.net).requires_grad_(trainable)
        return other


@pytest.mark.parametrize("name", ["dmd", "msm"])
def test_the_student_arrives_at_the_teachers_distribution(name: str) -> None:
    """A wrong sign of g, or of a fake score that does not follow, would drive it away."""
    teacher = Bell(ToyOptions(), torch.device("cpu"))
    given: Any = {"student": teacher.clone(True), "teacher": teacher, "fake": teacher.clone(True)}
    with torch.no_grad():
        teacher.net["mean"].copy_(torch.tensor([1.0, -0.5, 0.0]))
    settings = {"rollout": "simulate", "guidance": 1.0, "ratio": 2, "times": (1.0, 0.6)}
    train(matching(name, given=given, **settings), 300, lr=2e-2)
    assert close(given["student"].net["mean"].detach(), [1.0, -0.5, 0.0], 0.15)
    assert close(given["fake"].net["mean"].detach(), [1.0, -0.5, 0.0], 0.3)
