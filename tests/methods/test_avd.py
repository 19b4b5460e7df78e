"""AVD: its equations against the oracles: the adaptive weight, its cache, the temporal loss and its gate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.avd.equations import (
    RHO,
    adaptive_weight,
    gate,
    moving_average,
    regression_loss,
    relative_threshold,
    student_objective,
    temporal_gradient_norm,
    temporal_loss,
    temporal_variance,
    threshold_variance,
    visit,
)
from tests.methods.matching import close, frames

F64 = torch.float64
NEW = torch.full((4,), math.nan, dtype=F64)
SEQUENCE = torch.tensor([1.0, 0.6, 1.4, 0.9], dtype=F64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=F64)


# ---- equations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "weights", "averages"),
    [
        ({}, [0.5, 0.7685247835, 0.2209738922, 0.5751757275], [1.0, 0.98, 1.001, 0.99595]),
        (
            {"ema_before_weight": True},
            [0.5, 0.7576796390, 0.2320093297, 0.5714696960],
            [1.0, 0.98, 1.001, 0.99595],
        ),
        (
            {"init": "zero"},
            [0.0474258732, 0.1611089496, 0.0185693314, 0.0937125000],
            [0.05, 0.0775, 0.143625, 0.18144375],
        ),
    ],
)
def test_oracle_adaptive_weight(settings: Any, weights: list[float], averages: list[float]) -> None:
    """O-AVD1: recommended, released and the paper's letter; singly, and as one batch."""
    cache, found, seen = NEW, [], []
    for loss in SEQUENCE:
        before = cache.clone()
        weight, after = visit(cache, [2], loss[None], **settings)
        assert torch.equal(before, cache) or (before.isnan() == cache.isnan()).all()  # not changed in place
        cache = after
        found.append(weight.item())
        seen.append(cache[2].item())
    assert close(found, weights, 1e-9)
    assert close(seen, averages, 1e-12)
    assert cache.isnan().tolist() == [True, True, False, True]
    together, last = visit(NEW, [2] * 4, SEQUENCE, **settings)
    assert close(together, weights, 1e-9)
    assert close(last[2], averages[-1], 1e-12)


def test_a_batch_is_its_clips_in_order() -> None:
    """Several clips with the same k take turns; how the batch is split does not matter."""
    losses, k = torch.tensor([1.0, 0.2, 0.7, 1.5, 0.4], dtype=F64), [0, 3, 0, 3, 0]
    whole, cache = visit(NEW, k, losses)
    first, between = visit(NEW, k[:2], losses[:2])
    second, after = visit(between, k[2:], losses[2:])
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(after[[0, 3]], cache[[0, 3]])
    assert whole[[0, 1]].tolist() == [0.5, 0.5]
    lone, _ = visit(NEW, [0, 0, 0], losses[[0, 2, 4]])  # other times do not matter either
    assert torch.equal(lone, whole[[0, 2, 4]])


def test_weighing_after_the_average_is_a_smaller_k() -> None:
    """D-AVD1: L - (a L' + (1 - a) L) = a (L - L'), so k = 3 released is k = 2.85."""
    known = torch.tensor([0.8], dtype=F64)
    released, _ = visit(known, [0], scalar(1.3)[None], ema_before_weight=True)
    smaller, _ = visit(known, [0], scalar(1.3)[None], k=0.95 * 3)
    assert close(released, smaller, 1e-15)


def test_weights_lie_between_zero_and_one_and_fall_with_difficulty() -> None:
    losses = torch.linspace(0, 3, 50, dtype=F64)
    weights = adaptive_weight(losses, scalar(1.0))
    assert ((weights > 0) & (weights < 1)).all()
    assert (weights.diff() < 0).all()
    assert adaptive_weight(scalar(1.0), scalar(1.0)).item() == 0.5
    assert moving_average(scalar(2.0), scalar(1.0)).item() == pytest.approx(1.95)


def test_a_loss_that_is_not_finite_is_not_averaged_in() -> None:
    weights, cache = visit(torch.tensor([0.7], dtype=F64), [0, 0], torch.tensor([math.nan, 0.7], dtype=F64))
    assert weights.isnan().tolist() == [True, False]
    assert cache.item() == pytest.approx(0.7)


def test_oracle_temporal_loss() -> None:
    """O-AVD2, O-AVD5."""
    x = frames(0.0, 1.0, 2.0)
    variance = temporal_variance(x)
    assert close(variance, 2 / 3, 1e-15)
    paper, released = temporal_loss(variance), temporal_loss(variance, square=False)
    assert close(paper, 0.8109272162, 1e-9)
    assert close(released, 0.4054636081, 1e-9)
    assert bool(gate(paper, 0.6))
    assert not bool(gate(released, 0.8))
    for square, factor in ((True, 2.0), (False, 1.0)):
        variable = x.clone().requires_grad_()
        temporal_loss(temporal_variance(variable), square).backward()
        wanted = factor / (2 / 3 + 1e-6) * (2 / 3) * torch.tensor([1.0, 0.0, -1.0], dtype=F64)
        assert close(variable.grad, wanted, 1e-12)
        assert close(temporal_gradient_norm(variance, 3, square), wanted.norm(), 1e-12)
        assert close(variable.grad, factor * torch.tensor([1.0, 0, -1.0], dtype=F64) * (1 - 1.5e-6), 1e-11)
    assert close(threshold_variance(0.6), math.exp(-0.3) - 1e-6, 1e-15)
    assert close(threshold_variance(0.6), 0.7408172207, 1e-9)
    assert close(threshold_variance(0.8, square=False), 0.4493289641 - 1e-6, 1e-9)


def test_the_temporal_gradient_is_autograds_on_any_shape() -> None:
    x = torch.randn(2, 3, 5, 2, 2, dtype=F64, requires_grad=True)
    variance = temporal_variance(x)
    assert close(variance.detach(), x.detach().numpy().var(axis=2).mean(), 1e-12)
    temporal_loss(variance).backward()
    deviation = (x - x.mean(2, keepdim=True)).detach()
    assert close(x.grad, -4 * deviation / (x.numel() * (variance.item() + 1e-6)), 1e-12)
    assert close(temporal_gradient_norm(variance.detach(), x.numel()), x.grad.norm(), 1e-12)


def test_oracle_one_frame() -> None:
    """O-AVD3."""
    x = frames(5.0).requires_grad_()
    variance = temporal_variance(x)
    assert close(temporal_loss(variance).detach(), 27.6310211159, 1e-9)
    assert close(temporal_loss(variance, square=False).detach(), 13.8155105580, 1e-9)
    temporal_loss(variance).backward()
    assert x.grad.item() == 0.0


def test_oracle_objective() -> None:
    """O-AVD4."""
    found = student_objective(scalar(0.3), scalar(0.9), scalar(0.4), scalar(0.9))
    assert close(found, 1.065, 1e-12)
    weights, losses = torch.tensor([0.2, 0.6], dtype=F64), torch.tensor([1.0, 0.5], dtype=F64)
    assert close(student_objective(scalar(0.0), losses, weights, scalar(0.0)), 2 * (0.2 + 0.3) / 2, 1e-12)


def test_oracle_the_weight_has_no_gradient() -> None:
    """O-AVD6: d(w L)/dtheta = w dL/dtheta."""
    theta = torch.tensor(1.7, dtype=F64, requires_grad=True)
    losses = regression_loss(theta * torch.ones(2, 1, 1, 1, 1, dtype=F64), torch.zeros(2, 1, 1, 1, 1, dtype=F64))
    weights, _ = visit(torch.tensor([2.0], dtype=F64), [0, 0], losses)
    assert not weights.requires_grad
    student_objective(scalar(0.0), losses, weights, scalar(0.0), w_reg=1.0).backward()
    assert theta.grad.item() == pytest.approx(weights.mean().item() * 2 * 1.7, rel=1e-12)


def test_regression_is_per_clip() -> None:
    prediction = torch.zeros(2, 2, 1, 1, 1, dtype=F64)
    target = torch.tensor([1.0, 3.0, 0.0, 2.0], dtype=F64).reshape(2, 2, 1, 1, 1)
    assert regression_loss(prediction, target).tolist() == [5.0, 2.0]


def test_the_relative_threshold_is_where_the_paper_puts_it() -> None:
    """rho = exp(0.45): with the teacher's -2 ln V = 1.5, the threshold is the paper's 0.6."""
    assert pytest.approx(1.5683121855, abs=1e-9) == RHO
    teacher = scalar(math.exp(-0.75))
    assert relative_threshold(teacher, eps=0.0).item() == pytest.approx(0.6, abs=1e-12)
    assert relative_threshold(teacher, square=False, eps=0.0).item() == pytest.approx(0.3, abs=1e-12)
    for square in (True, False):
        threshold = relative_threshold(teacher, square=square)
        below, above = (temporal_loss(factor * RHO * teacher, square) for factor in (0.999, 1.001))
        assert (bool(gate(below, threshold)), bool(gate(above, threshold))) == (True, False)
