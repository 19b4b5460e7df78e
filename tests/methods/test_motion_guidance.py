"""T2V-Turbo-v2's motion guidance: oracles O-CD3 and O-CD4, the offline stage, and what the trainer does with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import Noise, RectifiedFlow, UserError
from harness.registry import make_part, methods
from methods.t2v_turbo_v2.equations import (
    attention_mask,
    clip_quantile,
    energy_mean,
    energy_sum,
    finite_or_zero,
    first_active,
    gamma,
    guided_step,
    inversion_step,
    is_active,
    motion_energy,
    motion_gradient,
)
from tests.methods.common import batch, options, services
from tests.methods.consistency_toys import REWARDS, AttendingToy, distiller, part, rows_of, toy

F64 = torch.float64
MG = "t2v-turbo-v2"
REFERENCE = torch.tensor([[[[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.25, 0.25, 0.5]]]], dtype=F64)
ATTENTION = torch.tensor([[[[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]]]], dtype=F64)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


# ---- equations -----------------------------------------------------------------------------------------------------


def test_the_energy() -> None:  # O-CD4
    assert attention_mask(REFERENCE)[0, 0].nonzero().tolist() == [[0, 1], [1, 0], [2, 2]]
    attention = ATTENTION.clone().requires_grad_()
    total = energy_sum(attention, REFERENCE)
    assert total.tolist() == pytest.approx([0.18], abs=1e-12)
    assert energy_mean(attention, REFERENCE).tolist() == pytest.approx([0.06], abs=1e-12)
    gradient = motion_gradient(total, attention)
    expected = torch.tensor([[0, -0.2, 0], [-0.8, 0, 0], [0, 0, -0.2]], dtype=F64)
    torch.testing.assert_close(gradient[0, 0], expected, rtol=0, atol=1e-12)


def test_the_released_scale_and_the_mean_over_layers() -> None:
    two = {"a": ATTENTION, "b": REFERENCE}  # b has no energy
    assert motion_energy(two, {"a": REFERENCE, "b": REFERENCE}).tolist() == pytest.approx([300.0])  # 1e4 x 0.06 / 2
    assert options(MG, rewards=[], guidance={"lambda": 500}).steering.m == pytest.approx(0.05)


def test_only_the_first_of_equal_maxima_is_picked() -> None:
    tie = torch.tensor([[[[0.4, 0.4, 0.2], [0.1, 0.45, 0.45], [1 / 3, 1 / 3, 1 / 3]]]], dtype=F64)
    assert attention_mask(tie)[0, 0].nonzero().tolist() == [[0, 0], [1, 1], [2, 0]]


@pytest.mark.parametrize(
    ("kind", "value", "z"), [("released", 0.5**0.5, -0.0951436344), ("sigma", 0.75**0.5, -0.1046787518)]
)
def test_the_guided_step(kind: Any, value: float, z: float) -> None:  # O-CD3
    alpha, sigma = tensor(0.5), tensor(0.75).sqrt()
    factor = gamma(alpha, sigma, kind)
    assert factor.item() == pytest.approx(value, abs=1e-12)
    # x0 and eps of O-CD2; Eq. 8 as printed would give +0.0472827725
    x0 = tensor((0.9 - sigma.item() * 1.9) / 0.5)
    found = guided_step(x0, tensor(1.9), 5 * factor * 0.02, (tensor(0.8), tensor(0.6)))
    assert found.item() == pytest.approx(z, abs=1e-9)


def test_the_full_form_also_moves_x0() -> None:
    alpha, sigma, z, eps, push = tensor(0.6), tensor(0.8), tensor(1.3), tensor(0.7), tensor(0.05)
    x0, previous = (z - sigma * eps) / alpha, (tensor(0.8), tensor(0.6))
    found = guided_step(x0, eps, push, previous, (alpha, sigma), "eps_full")
    lower = eps - push  # DDIM from the pushed eps alone
    torch.testing.assert_close(found, 0.8 * (z - sigma * lower) / alpha + 0.6 * lower)
    with pytest.raises(UserError, match="alpha"):
        guided_step(x0, eps, push, previous, (tensor(0), tensor(1)), "eps_full")


def test_where_motion_is_guided() -> None:  # D-T2V5
    assert first_active(200, 0.5) == 100
    assert is_active(torch.tensor([99, 100, 199]), 200, 0.5).tolist() == [False, True, True]
    assert [first_active(10, tau) for tau in (0.3, 0.7, 1.0)] == [7, 3, 0]
    assert first_active(5, 0.5) == 3  # 3 >= 2.5, 2 is not


def test_inversion_is_the_step_backwards() -> None:
    x, eps = tensor(0.4, -1.0), tensor(0.7, 0.2)
    low, high = (tensor(0.9), tensor(0.19).sqrt()), (tensor(0.6), tensor(0.8))
    up = inversion_step(x, eps, low, high)
    x0 = (up - high[1] * eps) / high[0]
    torch.testing.assert_close(low[0] * x0 + low[1] * eps, x, rtol=0, atol=1e-14)
    torch.testing.assert_close(up, (x - low[1] * eps) * (0.36 / 0.81) ** 0.5 + 0.8 * eps, rtol=0, atol=1e-14)


def test_gradients_that_are_not_finite_are_dropped_clip_by_clip() -> None:
    g = torch.ones(3, 2, 2)
    g[1, 0, 0] = math.inf
    g[2, 1, 1] = math.nan
    kept, finite = finite_or_zero(g)
    assert finite.tolist() == [True, False, False]
    assert kept.sum((1, 2)).tolist() == [4, 0, 0]


def test_clipping_to_a_quantile() -> None:
    g = torch.tensor([[1.0, -2.0, 3.0, -4.0, 100.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert clip_quantile(g, 0.75).tolist() == [[1, -2, 3, -4, 4], [0] * 5]
    assert clip_quantile(g, 1) is g


# ---- the stage -----------------------------------------------------------------------------------------------------


def stage_of(base: AttendingToy, **settings: Any) -> Any:
    return make_part("stage", {"name": "motion_guidance", "steps": 20, **settings}, base, services())


def clips(size: int = 3, frames: int = 4, seed: int = 0) -> Any:
    latent = torch.randn(size, 3, frames, 2, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    return batch(range(size), latent=latent, seed=seed, student=toy())


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_the_tuples_of_a_stage(family: Any) -> None:
    """Everything recomputed clip by clip: the noise, the answers, the inversion and its energy's gradient."""
    base, data = toy(family), clips()
    found = stage_of(base, tau=0.4, draws=2).compute(data)
    assert {name: tuple(value.shape[:2]) for name, value in found.items()} == dict.fromkeys(found, (3, 2))
    assert all(value.dtype == torch.float32 for name, value in found.items() if name != "motion_index")
    noise = clips().noise
    draws = [(noise.uniform(), noise.normal(data.latent)) for _ in range(2)]
    schedule = base.schedule
    for k, (u, eps) in enumerate(draws):
        for b in range(3):
            j = 12 + int(u[b] * 8)
            assert found["motion_index"][b, k] == j
            latent, cond = data.latent[b : b + 1], data.cond[b : b + 1]
            levels = [level(family, n) for n in range(21)]
            z = schedule.add_noise(latent, eps[b : b + 1], levels[j + 1])
            here = levels[j + 1].expand(1)
            answers = [base.predict(z, here, c, "native") for c in (cond, base.null_cond(1))]
            x = latent
            for n in range(j + 1):
                x = inverted(base, x, cond, levels[n + 1], levels[n])
            z.requires_grad_()
            loss = 0
            wanted, have = base.temporal_attention(x, here, cond), base.temporal_attention(z, here, cond)
            for name in ("up.0", "up.1"):
                best = wanted[name].argmax(-1, keepdim=True)
                loss = loss + 0.5e4 * (wanted[name].gather(-1, best) - have[name].gather(-1, best)).square().mean()
            g = torch.autograd.grad(loss, z)[0]
            for name, value in (("z", z), ("cond", answers[0]), ("uncond", answers[1]), ("g", g)):
                torch.testing.assert_close(
                    found[f"motion_{name}"][b, k], value[0].detach().float(), rtol=1e-5, atol=1e-6
                )
            assert g.abs().max() > 1e-3
    assert found["motion_active"].tolist() == [[1, 1]] * 3


def level(family: str, n: int) -> Tensor:
    """t of grid point n of 20, shift 5 for flows."""
    return tensor(5 * n / 20 / (1 + 4 * n / 20) if family == "flow" else (max(50 * n - 1, 0) + 0.5) / 1000)


def inverted(base: Any, x: Tensor, cond: Tensor, target: Tensor, previous: Tensor) -> Tensor:
    """One step of inversion in each family's own terms."""
    answer, schedule = base.predict(x, target.expand(1), cond, "native"), base.schedule
    if isinstance(schedule, RectifiedFlow):
        return x + (target - previous) * answer  # Euler
    a, s = schedule.alpha(previous), schedule.sigma(previous)
    eps = answer if base.native == "eps" else s * x + a * answer
    return schedule.alpha(target) * (x - s * eps) / a + schedule.sigma(target) * eps


def test_the_gradient_does_not_know_how_many_clips_share_a_batch() -> None:
    whole = stage_of(toy()).compute(clips(4))
    halves = []
    for first in (0, 2):
        some = clips(4)
        rows = slice(first, first + 2)
        noise = Noise(0, "train", "student", 0, rows=(first, first + 2, 4))
        some.latent, some.cond, some.noise = some.latent[rows], some.cond[rows], noise
        halves.append(stage_of(toy()).compute(some))
    for name, value in whole.items():
        torch.testing.assert_close(value, torch.cat([half[name] for half in halves]), rtol=1e-6, atol=1e-7)


def test_guidance_lowers_the_energy_and_the_printed_sign_would_raise_it() -> None:
    for m, falls in ((1e-4, True), (-1e-4, False)):
        stage = stage_of(toy("eps", hidden=16), m=abs(m), steps=50)
        if m < 0:
            stage.config = stage.config.model_copy(update={"m": m})
        found = stage.compute(clips(6))
        change = found["motion_energy_after"] - found["motion_energy_before"]
        assert ((change < 0) == falls).float().mean() >= 5 / 6
        assert (change != 0).all()


def test_one_frame_has_no_motion() -> None:
    found = stage_of(toy()).compute(clips(frames=1))
    assert not found["motion_g"].any()
    assert not found["motion_active"].any()
    assert found["motion_z"].abs().min() > 0


def test_a_gradient_that_is_not_finite_guides_nothing() -> None:
    class Broken(AttendingToy):
        def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
            odd = torch.where(torch.arange(len(x)) == 1, math.inf, 1.0)
            return {name: a * odd[:, None, None, None] for name, a in super().temporal_attention(x, t, cond).items()}

    base = Broken(toy().config, toy().device)
    base.net.requires_grad_(False)
    found = stage_of(base).compute(clips())
    assert found["motion_active"].tolist() == [[1], [0], [1]]
    assert not found["motion_g"][1].any()
    assert torch.isfinite(found["motion_g"]).all()


def test_layers_are_chosen_by_pattern() -> None:
    both, one = (stage_of(toy(), layers=layers).compute(clips())["motion_g"] for layers in ([], ["up.0"]))
    assert not torch.allclose(both, one)
    with pytest.raises(UserError, match="no temporal attention layer matches") as error:
        stage_of(toy(), layers=["down.*"]).compute(clips())
    assert "up.0, up.1" in error.value.remedy


def test_mistakes_in_the_options() -> None:
    with pytest.raises(UserError, match="lambda and m"):
        options(MG, rewards=[], guidance={"lambda": 500, "m": 0.05})
    with pytest.raises(UserError, match="less than one step"):
        distiller(MG, rewards=[], guidance={"tau": 0.01})
    with pytest.raises(UserError, match="eps_full"):
        distiller(MG, toy("flow"), rewards=[], guidance={"mg_form": "eps_full"})
    distiller(MG, toy("eps"), rewards=[], guidance={"mg_form": "eps_full"})


# ---- the trainer ---------------------------------------------------------------------------------------------------


def test_the_names() -> None:
    found = {name: options(name, rewards=REWARDS) for name in (MG, f"{MG}-nomg")}
    assert {name: (c.solver_steps, c.target, c.guidance["name"]) for name, c in found.items()} == {
        MG: (200, "online", "motion"),
        f"{MG}-nomg": (200, "online", "none"),
    }
    motion = found[MG].steering
    assert (motion.m, motion.tau, motion.gamma, motion.mg_form) == (0.05, 0.5, "sigma", "code")
    needs = methods.get(MG).needs(found[MG])
    assert set(needs.caps) == {"guidance_embed", "motion_embed", "temporal_attention", "decode_grad"}
    assert needs.fields == ("latent", "prompt", "short_prompt")
    (stage,) = needs.stages
    assert (stage["name"], stage["steps"], stage["shift"], stage["tau"]) == ("motion_guidance", 200, 5.0, 0.5)
    plain = methods.get(f"{MG}-nomg").needs(found[f"{MG}-nomg"])
    assert plain.stages == ()
    assert set(plain.caps) == {"guidance_embed", "decode_grad"}


@pytest.mark.parametrize(("family", "form"), [("flow", "code"), ("v", "code"), ("eps", "eps_full")])
def test_the_loss_takes_guided_steps_from_the_cache(family: Any, form: str) -> None:
    """Row by row: below N / 2 an ordinary draw, above it the clip's prepared tuple, whose step is pushed."""
    method = distiller(MG, toy(family), rewards=[], target="online", guidance={"m": 0.3, "mg_form": form, "draws": 2})
    for p in method.student.net.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=F64)
    data = rows_of(method, 8)
    loss, logs = method.loss("student", part(data, 0, 8, "loss"), 0)

    noise, base, schedule = part(data, 0, 8, "loss").noise, method.roles["teacher"], method.student.schedule
    eps, u, u_w = noise.normal(data.latent), noise.uniform(), noise.uniform()
    total, before = [], []
    for b in range(8):
        w, m, cond, g = 5 + 10 * u_w[b : b + 1], 0.0, data.cond[b : b + 1], torch.zeros(1)
        if u[b] < 0.5:
            j = int(20 * u[b])
            z = schedule.add_noise(data.latent[b : b + 1], eps[b : b + 1], level(family, j + 1))
            answers = [base.predict(z, level(family, j + 1), c, "native") for c in (cond, base.null_cond(1))]
        else:
            m, k = 0.3, int(2 * (2 * u[b] - 1))
            kept = {name: data.extras[f"motion_{name}"][b, k][None] for name in ("index", "z", "cond", "uncond", "g")}
            j, z, g = int(kept["index"]), kept["z"].double(), kept["g"].double()
            answers = [kept["cond"].double(), kept["uncond"].double()]
            before.append(data.extras["motion_energy_before"][b, k].item())
        t, s = level(family, j + 1), level(family, j)
        native = answers[1] + (1 + w) * (answers[0] - answers[1])
        a, sd = schedule.alpha(t), schedule.sigma(t)
        if family == "eps":
            x0, e = (z - sd * native) / a, native
        else:
            x0, e = (
                (z - t * native, z + (1 - t) * native)
                if family == "flow"
                else (a * z - sd * native, sd * z + a * native)
            )
        e = e - m * sd * g
        x0 = (z - sd * e) / a if form == "eps_full" else x0
        z_prev = schedule.alpha(s) * x0 + schedule.sigma(s) * e
        embeds = {"guidance": w, "motion": tensor(m)}
        f = method.f(method.student, z, t, cond, embeds)
        goal = method.f(method.student, z_prev, s, cond, embeds).detach()
        total.append(((f - goal).square() + 1e-6).sqrt().sub(1e-3).mean())
    assert loss.item() == pytest.approx(torch.stack(total).mean().item(), rel=1e-7)
    assert logs["guided"] == len(before) / 8
    assert 0 < len(before) < 8
    assert logs["energy_before"] == pytest.approx(sum(before) / len(before), rel=1e-6)


def test_prepared_rows_spare_the_teacher() -> None:
    method, asked = distiller(MG, rewards=[]), []
    data = rows_of(method, 40)
    inner = method.teacher.predict
    method.teacher.predict = lambda x, *rest, **more: asked.append(len(x)) or inner(x, *rest, **more)
    _, logs = method.loss("student", part(data, 0, 40, "loss"), 0)
    assert asked == [2 * round(40 * (1 - logs["guided"]))]
    assert 10 < asked[0] < 70


def test_a_clip_without_a_gradient_is_an_ordinary_row() -> None:
    """active = 0: the student is told no motion, and m changes nothing."""
    losses = []
    for m in (0.0, 5.0):
        method = distiller(MG, rewards=[], guidance={"m": m})
        data = rows_of(method)
        data.extras = {**data.extras, "motion_g": torch.zeros_like(data.extras["motion_g"])}
        data.extras["motion_active"] = torch.zeros_like(data.extras["motion_active"])
        method.student.net.scalar_embeds.layers["motion"].weight.data.fill_(0.1)
        losses.append(method.loss("student", part(data, 0, 6, "loss"), 0)[0].item())
    assert losses[0] == losses[1]


def test_no_guided_row_in_a_batch_logs_no_energy() -> None:
    method = distiller(MG, rewards=[])
    data = rows_of(method)
    logs = [method.loss("student", part(data, row, row + 1, "one", row), 0)[1] for row in range(6)]
    assert {("energy_before" in log, log["guided"]) for log in logs} <= {(True, 1.0), (False, 0.0)}
    assert {log["guided"] for log in logs} == {0.0, 1.0}


def test_the_sampler_tells_the_student_of_motion_at_high_noise() -> None:
    for family, times in (("flow", [1.0, 0.9375, 5 / 6, 0.625]), ("v", [0.9995, 0.7495, 0.4995, 0.2495])):
        method = distiller(MG, toy(family), rewards=[], solver_steps=200)
        assert method.sampler().times == pytest.approx(times)
        told = method.guidance.told(tensor(*method.sampler().times))["motion"]
        assert told.tolist() == [0.05, 0.05, 0, 0]  # indices 199, 149, 99, 49; guided from 100


def test_pictures_show_the_energies_of_the_probe_clips() -> None:
    method = distiller(MG, rewards=[])
    data = rows_of(method)
    log = [{"step": 0, "role": "student", "cd": 1.0}, {"step": 1, "role": "student", "cd": 0.5, "guided": 0.0}]
    assert set(method.diagnostics(log, data)) == {"Distillation", "Motion guidance"}
    before, after = method.guidance.energies(data)
    assert before.tolist() == pytest.approx(data.extras["motion_energy_before"].flatten().tolist())
    assert after.tolist() != before.tolist()
    assert set(distiller("vcm").diagnostics(log, data)) == {"Distillation"}
