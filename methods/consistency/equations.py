"""Consistency distillation: what it computes, as functions of tensors. Samples `[B, C, F, H, W]`, times `[B]`.

Solver steps are counted by an index 0 .. N - 1 (the official code's); index j is the papers' n = j + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.api import UserError, guide, shift

SIGMA_DATA, TIMESTEP_SCALE = (
    0.5,
    10.0,
)  # LCM, diffusers examples/consistency_distillation, scalings_for_boundary_conditions


# ---- the solver's grid -------------------------------------------------------------------------------------------


def solver_index(u: Tensor, steps: int) -> Tensor:
    """j = floor(u N): the solver step of u ~ U[0, 1) `[B]`, each of 0 .. N - 1 equally likely; int64."""
    return (u * steps).long().clamp(max=steps - 1)


def vp_index(index: Tensor, steps: int, n: int = 1000) -> Tensor:
    """i_j = (j + 1) n / N - 1: where solver step j starts in a table of n noise levels (VP)."""
    return (index + 1) * (n // steps) - 1


def vp_previous(index: Tensor, steps: int, n: int = 1000) -> Tensor:
    """max(i_j - n / N, 0): where solver step j ends in a table of n noise levels (VP)."""
    return (vp_index(index, steps, n) - n // steps).clamp(min=0)


def flow_time(n: Tensor, steps: int, s: float = 1.0) -> Tensor:
    """t_n = shift(n / N; s), t_0 = 0, t_N = 1 (RF), float64; a step goes from t_n to t_{n-1}."""
    return shift(n.double() / steps, s)


def sampling_steps(steps: int, k: int) -> list[int]:
    """grid[::-(N // K)][:K] as solver indices: N - 1, N - 1 - N // K, ...; K calls on the grid that was trained."""
    if not 1 <= k <= steps:
        raise UserError(f"{k} sampling steps from a grid of {steps}", "set sample_steps between 1 and solver_steps")
    return [steps - 1 - i * (steps // k) for i in range(k)]


# ---- the teacher's step ------------------------------------------------------------------------------------------


def guided(cond: Tensor, uncond: Tensor, w: Tensor) -> Tensor:
    """y = y_u + (1 + w) (y_c - y_u): guidance in LCM's convention, scale 1 + w in ours; w broadcasts (LCM, eq. 16)."""
    return guide(cond, uncond, 1 + w)  # type: ignore[arg-type]


def ode_step(x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """z_prev = alpha x0_hat + sigma eps_hat at the earlier level: DDIM (eta = 0) for VP, Euler for RF."""
    return alpha * x0 + sigma * eps


# ---- the student -------------------------------------------------------------------------------------------------


def boundary_scalings(index: Tensor) -> tuple[Tensor, Tensor]:
    """(c_skip, c_out) = (s_d^2 / ((10 i)^2 + s_d^2), 10 i / sqrt((10 i)^2 + s_d^2)), s_d = 0.5, i of 0 .. 999.

    Index 0 gives (1, 0): f returns its input there. c_skip + c_out^2 = 1.
    """
    scaled = TIMESTEP_SCALE * index.double()
    total = scaled.square() + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, scaled / total.sqrt()


def consistency_function(z: Tensor, x0: Tensor, c_skip: Tensor, c_out: Tensor) -> Tensor:
    """f(z, w, c, t) = c_skip(t) z + c_out(t) x0_theta(z, w, c, t)."""
    return c_skip * z + c_out * x0


def pseudo_huber(difference: Tensor, c: float = 0.001, weight: Tensor | None = None) -> Tensor:
    """L = mean(w (sqrt(d^2 + c^2) - c)) over all elements, w = 1 if none; |d| far from 0, d^2 / 2c near it."""
    return _weighted((difference.square() + c * c).sqrt() - c, weight)


def squared_distance(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """L = mean(w d^2) over all elements, w = 1 if none."""
    return _weighted(difference.square(), weight)


def _weighted(distance: Tensor, weight: Tensor | None) -> Tensor:
    return (distance if weight is None else weight.to(distance) * distance).mean()


def between(u: Tensor, low: float, high: float) -> Tensor:
    """w = low + (high - low) u: guidance scales w ~ U[w_min, w_max] from u ~ U[0, 1) `[B]`."""
    return low + (high - low) * u


@torch.no_grad()
def ema_(target: Tensor, online: Tensor, decay: float) -> Tensor:
    """target <- d target + (1 - d) online, in place."""
    return target.mul_(decay).add_(online.to(target), alpha=1 - decay)
