"""DMD: its equations against the oracles, its rollouts and scores."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import RectifiedFlow, UserError
from methods.dmd import Question
from methods.dmd.equations import (
    denoising_loss,
    matching_loss,
    normaliser,
    one_time_per_clip,
    pseudo_loss,
    score_gradient,
    score_times,
    temporal_basis,
    temporal_spectrum,
)
from methods.dmd.rollout import Rollout, answers, clean, noised, pick, scores
from methods.fewstep import Renoise
from tests.methods.matching import clips, close, roles

F64 = torch.float64


def rows(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=F64)


def parameters(role: Any) -> list[Any]:
    return [parameter.grad for parameter in role.net.parameters()]


# ---- equations -----------------------------------------------------------------------------------------------------


def test_oracle_one_clip() -> None:
    """O-DMD1."""
    x, real, fake = rows([1, 2, 3, 4]).requires_grad_(), rows([0, 2, 1, 1]), rows([1, 1, 2, 3])
    assert close(normaliser(x.detach(), real, 0), 1.5)
    assert close(score_gradient(x.detach(), real, fake, 0), [2 / 3, -2 / 3, 2 / 3, 4 / 3])
    loss = matching_loss(x, real, fake, 0)
    assert loss.item() == pytest.approx(0.3888888889, abs=1e-9)
    loss.backward()
    assert close(x.grad, [1 / 6, -1 / 6, 1 / 6, 1 / 3])


def test_oracle_two_clips_are_normalised_each_by_itself() -> None:
    """O-DMD2: normalising over the batch (n = 2.75) would give another loss."""
    x, real, fake = rows([1, 3], [10, -2]).requires_grad_(), rows([0, 1], [4, 0]), rows([0.5, 2], [7, 1])
    assert close(normaliser(x.detach(), real, 0), [1.5, 4])
    assert close(score_gradient(x.detach(), real, fake, 0), [1 / 3, 2 / 3, 0.75, 0.25])
    loss = matching_loss(x, real, fake, 0)
    loss.backward()
    assert loss.item() == pytest.approx(0.1475694444, abs=1e-9)
    assert close(x.grad, [1 / 12, 1 / 6, 0.1875, 0.0625])


def test_oracle_zeros() -> None:
    """O-DMD3: equal scores give nothing; a student on the teacher's answer gives at most |fake - real| / 1e-6."""
    x = rows([1.0, 2.0]).requires_grad_()
    same_scores = rows([0.3, 0.4])
    loss = matching_loss(x, same_scores, same_scores)
    loss.backward()
    assert (loss.item(), x.grad.tolist()) == (0.0, [[0.0, 0.0]])
    g = score_gradient(rows([1.0, 2.0]), rows([1.0, 2.0]), rows([1.5, 1.0]))
    assert close(g, [0.5e6, -1e6], 1e-3)
    both = score_gradient(rows([1.0]), rows([1.0]), rows([1.0]))
    assert both.tolist() == [[0.0]]
    huge = score_gradient(rows([1.0]), rows([1.0]), rows([1.0]), eps=0.0)  # 0 / 0, CausVid's own guard
    assert huge.tolist() == [[0.0]]


def test_oracle_a_common_constant_changes_only_the_normaliser() -> None:
    """O-DMD4."""
    random = torch.Generator().manual_seed(0)
    x, real, fake = torch.randn(3, 2, 3, 4, 2, 2, generator=random, dtype=F64)
    one, other = score_gradient(x, real, fake), score_gradient(x, real + 0.7, fake + 0.7)
    factor = normaliser(x, real) / normaliser(x, real + 0.7)
    assert close(other, one * factor)
    assert not close(factor, torch.ones_like(factor), 1e-3)


def test_the_arithmetic_is_at_least_float32_and_the_loss_float64() -> None:
    x = torch.full((1, 4), 300.0, dtype=torch.bfloat16)
    n = normaliser(x, x + 2)
    assert n.dtype == torch.float32
    assert close(n, 2 + 1e-6, 1e-6)
    assert pseudo_loss(torch.ones(2, 2), torch.ones(2, 2)).dtype == F64
    tiny = torch.full((1, 4), 1e-9)  # lost in x - (x - g) at float32
    big = torch.full((1, 4), 100.0, requires_grad=True)
    pseudo_loss(big, tiny).backward()
    assert close(big.grad, [2.5e-10] * 4, 1e-14)


def test_score_times_are_shifted_then_clamped() -> None:
    u = rows(0.0, 0.001, 0.1, 0.5, 0.9999)
    assert close(score_times(u), [0.02, 0.02, 0.5 / 1.4, 0.8333333333333333, 0.98])
    assert close(score_times(u, 8.0)[3], 8 / 9)
    assert close(score_times(u, 1.0, 0.1, 0.4), [0.1, 0.1, 0.1, 0.4, 0.4])


def test_denoising_loss_is_a_mean_over_everything() -> None:
    prediction = torch.zeros(2, 1, 2, 1, 1, dtype=F64)
    assert denoising_loss(prediction, torch.tensor([1.0, 2, 3, 4], dtype=F64).reshape(2, 1, 2, 1, 1)).item() == 7.5


def test_the_temporal_basis_is_orthonormal_and_its_spectrum_has_the_energy() -> None:
    for count in (1, 2, 5, 21):
        basis = temporal_basis(count)
        assert close(basis @ basis.T, torch.eye(count, dtype=F64), 1e-12)
    assert close(temporal_basis(4)[0], [0.5] * 4)
    assert close(temporal_basis(2)[1], [math.sqrt(0.5), -math.sqrt(0.5)])
    g = torch.randn(1, 3, 5, 2, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert close(temporal_spectrum(g).square().sum(), g.square().sum(), 1e-10)
    still = g[:, :, :1].expand(-1, -1, 5, -1, -1)
    assert close(temporal_spectrum(still), [still.norm(), 0, 0, 0, 0], 1e-10)
    wave = temporal_basis(5)[3].reshape(1, 1, 5, 1, 1) * 2
    two = torch.cat([wave, 3 * wave])
    assert close(temporal_spectrum(two), [0, 0, 0, 4, 0], 1e-10)  # per clip, mean over clips


def test_one_time_per_clip() -> None:
    x = torch.zeros(2, 3, 4, 2, 2)
    assert one_time_per_clip(torch.ones(2), x).tolist() == [1, 1]
    with pytest.raises(UserError, match=r"times of shape \[2, 4\] for 2 clips: .* one time per clip"):
        one_time_per_clip(torch.ones(2, 4), x)
    student = roles()["student"]
    with pytest.raises(UserError, match="one time per clip"):
        answers(student, [Question(x.double(), torch.full((2, 4), 0.5, dtype=F64), student.encode_text(["a", "b"]))])
    with pytest.raises(UserError, match="one time per clip"):
        scores(student, student, x.double(), torch.full((2, 4), 0.5, dtype=F64), student.encode_text(["a", "b"]), 2.0)


# ---- rollouts and scores -------------------------------------------------------------------------------------------


def test_pick_is_uniform_over_the_list() -> None:
    assert pick(rows(0.0, 0.24, 0.25, 0.74, 0.999999, 1.0), 4).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_a_simulated_path_is_the_samplers(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last time, the student's input is what S2 shows it, with the rollout's noise."""
    student = roles(family)["student"]
    times = (0.99, 0.9, 0.5)
    batch = clips(size=5)
    x, k = Rollout(student, torch.tensor(times, dtype=F64)).simulate(batch)

    noise = clips(size=5).noise
    start = noise.normal(batch.latent)
    picked = pick(noise.uniform(), 3)
    fresh = [noise.normal(batch.latent) for _ in times[1:]]
    assert picked.tolist() == k.tolist()
    assert len(set(k.tolist())) == 3  # every exit is taken
    seen: list[Tensor] = []

    def spy(model: Any, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        seen.append(x)
        return model.predict(x, t, cond, "x0")

    draws = iter(fresh)
    monkeypatch.setattr(sys.modules["methods.fewstep.renoise"], "fresh_noise", lambda *_: next(draws))
    Renoise(times, spy)(student, start, batch.cond)
    for row, position in enumerate(k.tolist()):
        assert close(x[row], seen[position][row], 1e-12)


def test_a_clip_leaves_the_path_at_its_own_time_and_no_latents_are_read() -> None:
    given, calls = roles(), []
    student = given["student"]
    ask = student.predict
    student.predict = lambda x, *rest: (calls.append(len(x)), ask(x, *rest))[1]  # type: ignore[method-assign]
    batch = clips(size=8)
    batch.latent.fill_(math.nan)
    x, k = Rollout(student, torch.tensor([1.0, 0.7, 0.4], dtype=F64)).simulate(batch)
    assert calls == [int((k > 0).sum()), int((k > 1).sum())]
    assert torch.isfinite(x).all()
    assert not x.requires_grad


def test_the_data_rollout_noises_real_latents() -> None:
    student, batch, again = roles()["student"], clips(size=5), clips(size=5)
    times = torch.tensor([1.0, 0.5], dtype=F64)
    x, k = Rollout(student, times, "data")(batch)
    eps = again.noise.normal(again.latent)
    t = times[k].reshape(-1, 1, 1, 1, 1)
    assert close(x, (1 - t) * batch.latent + t * eps, 1e-12)
    assert set(k.tolist()) == {0, 1}


def test_halves_of_a_batch_see_what_the_whole_sees() -> None:
    rollout = Rollout(roles()["student"], torch.tensor([1.0, 0.7, 0.4], dtype=F64))
    whole, _ = rollout.simulate(clips(size=6))
    parts = [rollout.simulate(clips(size=6, rows=part))[0] for part in ((0, 2), (2, 6))]
    assert close(torch.cat(parts), whole, 1e-12)


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_scores_are_guided_in_any_space(family: Any) -> None:
    """One call on [cond, uncond] in the native space equals two in x0 space; the fake score is not guided."""
    given = roles(family)
    with torch.no_grad():
        for parameter in given["fake"].net.parameters():
            parameter.add_(0.05)
    batch = clips()
    t = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    x_t = batch.latent
    real, fake = scores(given["teacher"], given["fake"], x_t, t, batch.cond, 6.0)
    conditional = given["teacher"].predict(x_t, t, batch.cond, "x0")
    unconditional = given["teacher"].predict(x_t, t, given["teacher"].null_cond(3), "x0")
    assert close(real, unconditional + 6 * (conditional - unconditional), 1e-9)
    assert close(fake, given["fake"].predict(x_t, t, batch.cond, "x0").detach(), 1e-12)
    assert close(scores(given["teacher"], given["fake"], x_t, t, batch.cond, 1.0)[0], conditional, 1e-12)


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
def test_questions_asked_together_are_answered_as_if_alone(family: Any) -> None:
    student, batch = roles(family)["student"], clips(size=5)
    t = torch.tensor([0.9, 0.1, 0.3, 0.5, 0.7], dtype=F64)
    questions = [Question(batch.latent[part], t[part], batch.cond[part]) for part in (slice(0, 2), slice(2, 5))]
    together = answers(student, questions)
    alone = [answers(student, [question])[0] for question in questions]
    assert [len(native) for native in together] == [2, 3]
    assert all(close(a.detach(), b.detach(), 1e-12) for a, b in zip(together, alone, strict=True))
    x0 = clean(together[1], questions[1].x, questions[1].t, student)
    assert close(x0.detach(), student.predict(batch.latent[2:], t[2:], batch.cond[2:], "x0").detach(), 1e-9)


def test_noising_uses_each_clips_own_time() -> None:
    x0, eps = torch.ones(2, 1, 1, 1, 1, dtype=F64), torch.zeros(2, 1, 1, 1, 1, dtype=F64)
    assert noised(x0, eps, rows(0.25, 1.0), RectifiedFlow()).flatten().tolist() == [0.75, 0.0]
