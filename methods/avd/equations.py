"""AVD: temporal regularisation and adaptive regression beside DMD. Numbers in parentheses are the paper's equations.

"Released" is the code: `causvid/dmd.py` and `train_distillation_adv.py`. x, y `[B, C, F, H, W]`; t_k an element of the
student's list of times, k its position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from methods.dmd.equations import widen

RHO = math.exp((1.5 - 0.6) / 2)  # V at the paper's threshold 0.6 over V of its teacher, whose -2 ln V is 1.5: 1.568
Init = Literal["first", "zero"]


def temporal_variance(x: Tensor) -> Tensor:
    """V = mean_{B,C,H,W} Var_f(x): population variance over frames, 0-d float64; 0 for one frame."""
    return x.double().var(dim=2, correction=0).mean()


def temporal_loss(variance: Tensor, square: bool = True, eps: float = 1e-6) -> Tensor:
    """L_temp = -log((V + eps)^2) = -2 ln(V + eps) (8); released (square False): -ln(V + eps)."""
    return -(2.0 if square else 1.0) * torch.log(variance + eps)


def temporal_gradient_norm(variance: Tensor, numel: int, square: bool = True, eps: float = 1e-6) -> Tensor:
    """||dL_temp/dx||_2 = 2 c sqrt(V / numel) / (V + eps), c = 2, or 1 with square False; numel of x, 0-d.

    From dL_temp/dx = -c (x - mean_f x) 2 / numel / (V + eps), whose deviations have the norm sqrt(V numel).
    """
    return (2.0 if square else 1.0) * 2 * torch.sqrt(variance / numel) / (variance + eps)


def threshold_variance(threshold: float, square: bool = True, eps: float = 1e-6) -> float:
    """V at which L_temp equals an absolute threshold: exp(-thr / 2) - eps, released exp(-thr) - eps."""
    return math.exp(-threshold / (2 if square else 1)) - eps


def relative_threshold(teacher: Tensor, rho: float = RHO, square: bool = True, eps: float = 1e-6) -> Tensor:
    """thr = L_temp(rho V_teacher): the term stops where the student varies rho times as much as the teacher, 0-d."""
    return temporal_loss(rho * teacher, square, eps)


def gate(loss: Tensor, threshold: Tensor | float) -> Tensor:
    """1[L_temp >= thr], bool 0-d: below thr the term is 0 and has no gradient; it opens again if V falls."""
    return loss.detach() >= threshold


def regression_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L_reg = mean_{C,F,H,W} (native_hat(y_t, t_k, c) - native)^2 (5) of each clip, `[B]`; flow target: eps - y.

    With a weight, which broadcasts to the error, mean(w (...)^2).
    """
    error = (widen(prediction) - widen(target)).square()
    return (error if weight is None else weight.to(error) * error).flatten(1).mean(1)


def adaptive_weight(loss: Tensor, average: Tensor, k: float = 3.0) -> Tensor:
    """w = 1 - sigmoid(k (L_reg - Lbar)) (7), in (0, 1): a clip that is harder than usual counts less; no gradient."""
    return torch.sigmoid(-k * (loss.detach() - average.detach()))


def moving_average(average: Tensor, loss: Tensor, a: float = 0.95) -> Tensor:
    """Lbar <- a Lbar + (1 - a) L_reg (6)."""
    return a * average + (1 - a) * loss.detach()


def visit(
    cache: Tensor, k_visited: Sequence[int], losses: Tensor, a: float = 0.95, k: float = 3.0,
    init: Init = "first", ema_before_weight: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(w, Lbar) of clips that come one after another: weights `[B]` by (7), and the cache `[K]` after (6).

    Clips take their turns in batch order, each seeing the cache as the one before left it: a batch is the same as its
    clips visited singly, however it is split. A clip whose loss is not finite has weight NaN and is not averaged in.

    Args:
        cache: Lbar of each list element, NaN where it was never visited; not changed in place.
        k_visited: list position of each clip. losses: L_reg `[B]`.
        init: an unvisited average starts at the first loss (released) or at 0 (Alg. 1).
        ema_before_weight: update, then weigh (released); the paper weighs by the average of earlier losses.
    """
    averages, weights = list(cache.clone().unbind()), []
    for position, loss in zip(k_visited, losses.detach().to(cache), strict=True):
        if not torch.isfinite(loss):
            weights.append(torch.full_like(loss, math.nan))
            continue
        old = averages[position]
        if torch.isnan(old):
            old = loss if init == "first" else torch.zeros_like(loss)
        averages[position] = moving_average(old, loss, a)
        weights.append(adaptive_weight(loss, averages[position] if ema_before_weight else old, k))
    return torch.stack(weights), torch.stack(averages)


def student_objective(
    kl: Tensor, regression: Tensor, weight: Tensor, temporal: Tensor, w_reg: float = 2.0, w_temp: float = 0.05
) -> Tensor:
    """L_G = L_KL + w_reg w L_reg + w_temp L_temp (9); regression and weight `[B]` are averaged over clips."""
    return kl + w_reg * (weight.detach() * regression).mean() + w_temp * temporal
