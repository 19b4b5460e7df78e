"""T2V-Turbo-v2's motion guidance: what it computes, as functions of tensors, float64-safe.

Temporal attention A `[B, P, F, F]`, P = heads x positions, rows sum to 1. alpha and sigma broadcast against samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from harness.api import UserError

Gamma = Literal["sigma", "released"]
Form = Literal["code", "eps_full"]
Attention = Mapping[str, Tensor]

LOSS_SCALE, ENTRY_SCALE = 100.0, 100.0  # the released --temp_loss_scale, and the factor inside compute_temp_loss


# ---- energy ------------------------------------------------------------------------------------------------------


def attention_mask(reference: Tensor) -> Tensor:
    """M = one-hot(argmax_j A_ref[p, i, j]) (Eq. 7), bool `[B, P, F, F]`; of equal maxima the first alone."""
    best = reference.argmax(-1, keepdim=True)
    return torch.zeros_like(reference, dtype=torch.bool).scatter(-1, best, True)


def masked_difference(attention: Tensor, reference: Tensor) -> Tensor:
    """A_ref[p, i, j*] - A[p, i, j*], `[B, P, F]`: the entries that M picks; the reference is a constant."""
    best = reference.detach().argmax(-1, keepdim=True)
    return (reference.detach().gather(-1, best) - attention.gather(-1, best))[..., 0]


def energy_sum(attention: Tensor, reference: Tensor) -> Tensor:
    """G = ||M (A_ref - A)||^2 of one layer, `[B]`: the sum of Eq. 6 as printed."""
    return masked_difference(attention, reference).square().sum((1, 2))


def energy_mean(attention: Tensor, reference: Tensor) -> Tensor:
    """mean_{(p, i)} (A_ref[p, i, j*] - A[p, i, j*])^2 of one layer, `[B]`: over masked entries only."""
    return masked_difference(attention, reference).square().mean((1, 2))


def motion_energy(attention: Attention, reference: Attention) -> Tensor:
    """E = 100 mean_layers mean_{(p, i)} 100 (A_ref - A)^2 over masked entries, `[B]`: the released code's (D-T2V2)."""
    layers = [energy_mean(attention[name], reference[name]) for name in reference]
    return LOSS_SCALE * ENTRY_SCALE * torch.stack(layers).mean(0)


def motion_gradient(energy: Tensor, z: Tensor) -> Tensor:
    """g = dE/dz, like z `[B, C, F, H, W]`: clip by clip, since energies are summed over the batch, not averaged."""
    return torch.autograd.grad(energy.sum(), z)[0]


def finite_or_zero(g: Tensor) -> tuple[Tensor, Tensor]:
    """(g with clips that are not finite set to 0, which clips are `[B]` bool)."""
    finite = torch.isfinite(g.flatten(1)).all(1)
    return torch.where(finite.reshape(-1, *[1] * (g.ndim - 1)), g, torch.zeros_like(g)), finite


def clip_quantile(g: Tensor, q: float) -> Tensor:
    """g limited, clip by clip, to the q-quantile of its own magnitudes; q = 1 leaves it alone (ours, for tiny nets)."""
    if q == 1:
        return g
    bound = g.flatten(1).abs().quantile(q, dim=1).reshape(-1, *[1] * (g.ndim - 1))
    return g.clamp(-bound, bound)


# ---- step --------------------------------------------------------------------------------------------------------


def gamma(alpha: Tensor, sigma: Tensor, kind: Gamma = "sigma") -> Tensor:
    """gamma(t) = sigma_t (MotionClone), or the released sqrt(1 - sqrt(abar_t)) = sqrt(1 - alpha_t) (D-T2V3)."""
    return sigma if kind == "sigma" else (1 - alpha).sqrt()


def guided_step(
    x0: Tensor,
    eps: Tensor,
    push: Tensor,
    previous: tuple[Tensor, Tensor],
    current: tuple[Tensor, Tensor] | None = None,
    mg_form: Form = "code",
) -> Tensor:
    """z_prev = alpha_prev x0_hat + sigma_prev (eps_hat - m gamma g): the energy descends (D-T2V1, not Eq. 8).

    Args:
        push: m gamma(t) g. previous: (alpha, sigma) at the end of the step. current: at its start, for eps_full.
        mg_form: code changes the direction term alone; eps_full (Eq. 2) also x0_hat = (z - sigma eps) / alpha.

    Raises UserError for eps_full where alpha = 0.
    """
    alpha_prev, sigma_prev = previous
    if mg_form == "eps_full":
        if current is None or bool((current[0] == 0).any()):
            raise UserError("mg_form eps_full has no x0 where alpha(t) = 0", "use mg_form: code")
        alpha, sigma = current
        x0 = x0 + sigma / alpha * push
    return alpha_prev * x0 + sigma_prev * (eps - push)


def first_active(steps: int, tau: float) -> int:
    """The least solver index with index >= (1 - tau) N (D-T2V5): motion is guided from there to the noise."""
    return math.ceil((1 - tau) * steps - 1e-9)  # 0.7 of 10 steps are 3, not 4


def is_active(index: Tensor, steps: int, tau: float) -> Tensor:
    """index >= (1 - tau) N, `[B]` bool, of solver indices 0 .. N - 1."""
    return index >= first_active(steps, tau)


# ---- reference ---------------------------------------------------------------------------------------------------


def inversion_step(x: Tensor, eps: Tensor, previous: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """x_i = (x - sigma_prev e) alpha_i / alpha_prev + sigma_i e: one step of DDIM inversion (`ddim_reverse_step`)."""
    return (x - previous[1] * eps) * (target[0] / previous[0]) + target[1] * eps
