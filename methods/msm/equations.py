"""Motion score matching (MSM): what it computes, as functions of the scores that DMD compares.

Latents `[B, C, F, H, W]`; g = (fake - real) / n is DMD's gradient, D the forward difference over frames. MSM adds
lambda D^T D g to it: temporal frequency k is multiplied by 1 + lambda (2 - 2 cos(pi k / F)), and because
I + lambda D^T D is positive definite, the zeros of the gradient stay where they are.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.api import UserError
from methods.dmd.equations import normaliser, pseudo_loss, widen

Adjoint = Literal["difference", "next", "prev"]
Norm = Literal["shared", "motion", "none"]
Reduction = Literal["mean", "numel"]


def difference(x: Tensor) -> Tensor:
    """(D x)_i = x^{i+1} - x^i, i = 1..F-1 (Eq. 10): `[B, C, F, H, W]` to `[B, C, F-1, H, W]`; UserError when F = 1."""
    if x.shape[2] < 2:
        raise UserError(
            "motion score matching needs at least two latent frames, this clip has one",
            "raise clip.frames, or leave the motion term out",
        )
    return x[:, :, 1:] - x[:, :, :-1]


def difference_adjoint(y: Tensor) -> Tensor:
    """(D^T y)_f = y_{f-1} - y_f with y_0 = y_F = 0: `[B, C, F-1, H, W]` to `[B, C, F, H, W]`; sums to 0 over frames."""
    return pad(y, (0, 0, 0, 0, 1, 0)) - pad(y, (0, 0, 0, 0, 0, 1))


def motion_gradient(x: Tensor, real: Tensor, fake: Tensor, norm: Norm = "shared", eps: float = 1e-6) -> Tensor:
    """g_m = D(fake - real) / n (Eq. 11), `[B, C, F-1, H, W]`.

    n is DMD's normaliser ("shared"), mean|D(x - real)| + eps of the clip ("motion"), or 1 ("none").
    """
    gap = difference(widen(fake) - widen(real))
    if norm == "none":
        return gap
    n = normaliser(x, real, eps) if norm == "shared" else normaliser(difference(x), difference(real), eps)
    return torch.nan_to_num(gap / n)


def frame_gradient(motion: Tensor, adjoint: Adjoint = "difference", reduction: Reduction = "mean") -> Tensor:
    """G_msm = dL_msm/dx times numel(x): what MSM adds, times lambda, to DMD's g; `[B, C, F, H, W]`.

    difference: D^T g_m, times F / (F - 1) when the loss is a mean over the F - 1 differences; next: g_m on frames 2..F;
    prev: g_m on frames 1..F-1.
    """
    if adjoint == "next":
        return pad(motion, (0, 0, 0, 0, 1, 0))
    if adjoint == "prev":
        return pad(motion, (0, 0, 0, 0, 0, 1))
    frames = motion.shape[2] + 1
    return difference_adjoint(motion) * (frames / (frames - 1) if reduction == "mean" else 1.0)


def motion_loss(x: Tensor, motion: Tensor, adjoint: Adjoint = "difference", reduction: Reduction = "mean") -> Tensor:
    """L_msm = 0.5 mean((D x - sg(D x - g_m))^2) over the F - 1 differences: dL/dx = G_msm / numel(x), in float64.

    reduction "numel" divides the sum by numel(x) instead. The adjoints next and prev put g_m on the F frames of x
    itself, so their mean is over numel(x) either way.
    """
    if adjoint != "difference":
        return pseudo_loss(x, frame_gradient(motion, adjoint))
    frames = x.shape[2]
    loss = pseudo_loss(difference(x.double()), motion)
    return loss if reduction == "mean" else loss * ((frames - 1) / frames)


def difference_eigenvalues(frames: int) -> Tensor:
    """mu_k = 2 - 2 cos(pi k / F), k = 0..F-1: eigenvalues of D^T D, in [0, 4); `[F]` float64."""
    return 2 - 2 * torch.cos(math.pi * torch.arange(frames, dtype=torch.float64) / frames)


def frequency_gain(frames: int, lambda_: float = 1.0) -> Tensor:
    """1 + lambda (2 - 2 cos(pi k / F)): factor on temporal frequency k of DMD's gradient, `[F]` (reduction "numel")."""
    return 1 + lambda_ * difference_eigenvalues(frames)
