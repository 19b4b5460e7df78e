"""MSM: its equations against the oracles, what it does to temporal frequencies and to zeros, its part and guards."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import UserError
from methods.dmd.equations import normaliser, pseudo_loss, score_gradient, temporal_basis, temporal_spectrum
from methods.msm.equations import (
    difference,
    difference_adjoint,
    difference_eigenvalues,
    frame_gradient,
    frequency_gain,
    motion_gradient,
    motion_loss,
)
from tests.methods.matching import clips, close, frames, matching

F64 = torch.float64
G = frames(0.4, -0.2, 0.1, 0.5)
FORMS: tuple[tuple[Any, Any], ...] = (
    ("difference", "mean"), ("difference", "numel"), ("next", "mean"), ("prev", "mean"),
)  # fmt: skip


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


# ---- equations -----------------------------------------------------------------------------------------------------


def test_oracle_differences() -> None:
    """O-MSM1."""
    assert close(difference(G), [-0.6, 0.3, 0.4])
    assert close(difference_adjoint(difference(G)), [0.6, -0.9, -0.1, 0.4])
    assert difference_adjoint(randn(2, 3, 6, 2, 2)).sum(2).abs().max() < 1e-12


def test_the_adjoint_is_the_adjoint() -> None:
    """<D x, y> = <x, D^T y>."""
    x, y = randn(2, 3, 5, 2, 2), randn(2, 3, 4, 2, 2, seed=1)
    assert close((difference(x) * y).sum(), (x * difference_adjoint(y)).sum(), 1e-10)


@pytest.mark.parametrize(
    ("form", "wanted"),
    zip(
        FORMS,
        (
            [0.2, -0.2, 0.0083333333, 0.1916666667],
            [0.175, -0.1625, 0.0125, 0.175],
            [0.1, -0.125, 0.0625, 0.175],
            [0.025, -0.0125, 0.075, 0.125],
        ),
        strict=True,
    ),
)
def test_oracle_total_gradient(form: tuple[Any, Any], wanted: list[float]) -> None:
    """O-MSM2, lambda = 0.5, from autograd and in closed form."""
    x, motion = randn(1, 1, 4, 1, 1).requires_grad_(), difference(G)
    (pseudo_loss(x, G) + 0.5 * motion_loss(x, motion, *form)).backward()
    assert close(x.grad, wanted, 1e-9)
    assert close((G + 0.5 * frame_gradient(motion, *form)) / 4, wanted, 1e-9)


def test_oracle_losses() -> None:
    """O-MSM3."""
    x = frames(3.0, 1.0, 4.0, 1.0)
    dmd, msm = pseudo_loss(x, G), motion_loss(x, difference(G))
    assert close(dmd, 0.0575)
    assert close(msm, 0.1016666667, 1e-9)
    assert close(dmd + 0.5 * msm, 0.1083333333, 1e-9)
    assert close(motion_loss(x, difference(G), reduction="numel"), 0.1016666667 * 3 / 4, 1e-9)


def test_oracle_eigenvalues() -> None:
    """O-MSM4."""
    assert close(difference_eigenvalues(4), [0, 0.5857864376, 2, 3.4142135624], 1e-9)
    still = randn(2, 3, 1, 2, 2).expand(-1, -1, 4, -1, -1)
    assert frame_gradient(difference(still)).abs().max() == 0
    for count in (2, 5, 21):
        basis = temporal_basis(count)
        d = torch.diff(torch.eye(count, dtype=F64), dim=0)
        assert close(d.T @ d, basis.T @ torch.diag(difference_eigenvalues(count)) @ basis, 1e-12)
        assert 0 <= difference_eigenvalues(count).max() < 4


@pytest.mark.parametrize("form", FORMS)
def test_oracle_finite_differences(form: tuple[Any, Any]) -> None:
    """O-MSM5: autograd equals central differences of the loss with its target held fixed."""
    x, motion, h = randn(2, 1, 4, 1, 1), randn(2, 1, 3, 1, 1, seed=1), 1e-5
    variable = x.clone().requires_grad_()
    motion_loss(variable, motion, *form).backward()

    if form[0] == "difference":
        target, through = difference(x) - motion, difference
    else:
        target, through = x - frame_gradient(motion, form[0]), lambda z: z
    count = target.numel() if form == ("difference", "mean") or form[0] != "difference" else x.numel()

    def loss(z: Tensor) -> float:
        return float(0.5 * (through(z) - target).square().sum() / count)

    assert loss(x) == pytest.approx(motion_loss(x, motion, *form).item(), rel=1e-12)
    for i in range(x.numel()):
        step = torch.zeros(x.numel(), dtype=F64)
        step[i] = h
        step = step.reshape(x.shape)
        central = (loss(x + step) - loss(x - step)) / (2 * h)
        assert variable.grad.flatten()[i].item() == pytest.approx(central, abs=1e-8)


@pytest.mark.parametrize("lambda_", [0.25, 1.0, 4.0])
def test_every_temporal_frequency_is_multiplied(lambda_: float) -> None:
    """1 + lambda (2 - 2 cos(pi k / F)) exactly; the mean form has F / (F - 1) on the second part."""
    for count in (2, 4, 5, 21):
        g = randn(1, 3, count, 2, 2)
        total = g + lambda_ * frame_gradient(difference(g), reduction="numel")
        assert close(temporal_spectrum(total), temporal_spectrum(g) * frequency_gain(count, lambda_), 1e-10)
        mean = g + lambda_ * frame_gradient(difference(g))
        gain = 1 + (frequency_gain(count, lambda_) - 1) * count / (count - 1)
        assert close(temporal_spectrum(mean), temporal_spectrum(g) * gain, 1e-10)
    assert frequency_gain(7, lambda_)[0] == 1


@pytest.mark.parametrize("form", FORMS[:2])
def test_zeros_stay_zeros_and_no_others_appear(form: tuple[Any, Any]) -> None:
    """I + lambda D^T D is positive definite: <g, total> >= ||g||^2, so the total is 0 only where g is."""
    for seed in range(5):
        g = randn(1, 2, 6, 2, 2, seed=seed)
        total = g + 3.0 * frame_gradient(difference(g), *form)
        assert (g * total).sum() >= g.square().sum()
    zero = torch.zeros(1, 2, 6, 2, 2, dtype=F64)
    assert (zero + 3.0 * frame_gradient(difference(zero), *form)).abs().max() == 0


def test_the_other_adjoints_are_not_definite() -> None:
    """Why "difference" is the default: `prev` puts D g on frames 1..F-1 and can cancel g altogether."""
    wave = torch.arange(5.0, dtype=F64).flip(0).exp2().reshape(1, 1, 5, 1, 1)  # halves from frame to frame
    total = wave + 2.0 * frame_gradient(difference(wave), "prev")
    assert total[:, :, :-1].abs().max() < 1e-12
    assert wave.abs().min() > 0
    summed = frame_gradient(difference(G), "next").sum()
    assert summed.item() == pytest.approx(0.1)  # a mean over frames, which D^T never has


def test_motion_normalisers() -> None:
    x, real, fake = randn(2, 3, 4, 2, 2), randn(2, 3, 4, 2, 2, seed=1), randn(2, 3, 4, 2, 2, seed=2)
    g = score_gradient(x, real, fake)
    assert close(motion_gradient(x, real, fake), difference(g), 1e-10)
    assert close(motion_gradient(x, real, fake, "none"), difference(fake - real), 1e-12)
    n = (difference(x) - difference(real)).abs().mean((1, 2, 3, 4), keepdim=True) + 1e-6
    assert close(motion_gradient(x, real, fake, "motion"), difference(fake - real) / n, 1e-10)
    assert not close(n, normaliser(x, real), 1e-2)
    scaled = motion_gradient(10 * x, 10 * real, 10 * fake, "motion")  # free of the latents' scale
    assert close(scaled, motion_gradient(x, real, fake, "motion"), 1e-4)
    alike = motion_gradient(x, x, fake, "motion")
    assert torch.isfinite(alike).all()


def test_one_frame_has_no_motion() -> None:
    with pytest.raises(UserError, match="at least two latent frames"):
        difference(frames(1.0))
    method = matching("msm")
    with pytest.raises(UserError, match="at least two latent frames, this clip has one"):
        method.loss("student", clips(frames=1), 0)
    loss, _ = method.loss("fake", clips("fake", frames=1), 0)
    assert math.isfinite(loss.item())


# ---- the part in the trainer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["shared", "motion", "none"])
@pytest.mark.parametrize("form", FORMS)
def test_the_students_turn_adds_lambda_times_the_term(form: tuple[Any, Any], norm: str) -> None:
    term = {"name": "msm", "lambda_": 0.5, "adjoint": form[0], "reduction": form[1], "norm": norm}
    method = matching("dmd", gradient_terms=[term])
    match, _ = method.observe(clips())
    loss, logs = method.loss("student", clips(), 0)
    motion = motion_gradient(match.x.detach(), match.real, match.fake, norm)  # type: ignore[arg-type]
    wanted = pseudo_loss(match.x, match.g) + 0.5 * motion_loss(match.x, motion, *form)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    gradient = 0.5 * frame_gradient(motion, *form)
    assert [logs[f"msm_f{k}"] for k in range(4)] == pytest.approx(temporal_spectrum(gradient).tolist(), rel=1e-6)
    total = temporal_spectrum(match.g + gradient)
    assert [logs[f"total_f{k}"] for k in range(4)] == pytest.approx(total.tolist(), rel=1e-6)
    inside = torch.autograd.grad(wanted, match.x)[0]
    assert close(inside * inside.numel(), match.g + gradient, 1e-9)


def test_the_logged_gain_is_the_frequency_gain() -> None:
    method = matching("dmd", gradient_terms={"msm": {"reduction": "numel"}})
    _, logs = method.loss("student", clips(), 0)
    found = [logs[f"total_f{k}"] / logs[f"dmd_f{k}"] for k in range(4)]
    assert found == pytest.approx([1.0, 1.5857864376, 3.0, 4.4142135624], rel=1e-6)


def test_only_the_students_turn_changes() -> None:
    alike = {"times": (1.0, 0.6), "rollout": "data", "guidance": 3.0, "score_shift": 8.0}
    losses = [matching(name, **alike).loss("fake", clips("fake"), 0)[0].item() for name in ("dmd", "msm")]
    assert losses[0] == losses[1]
    plain, none = (
        matching("dmd", **alike),
        matching("msm", gradient_terms={"msm": {"lambda_": 0.0}}, **alike),
    )
    assert plain.loss("student", clips(), 0)[0].item() == none.loss("student", clips(), 0)[0].item()
