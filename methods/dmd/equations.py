"""Distribution matching distillation (DMD2 without GAN): what it computes. Tensors `[B, C, F, H, W]` unless stated.

x is the student's clean prediction, `real` and `fake` are the teacher's and the fake score's clean predictions at one
noisy x_t. Subtracting them is subtracting scores: s_real - s_fake = (alpha / sigma^2) (real - fake). Numbers follow
`causvid/dmd.py` of CausVid and AVD; the eps of the normaliser is FastGen's.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from harness.api import UserError, shift


def widen(x: Tensor) -> Tensor:
    """x in float32, or in float64 when it is: the arithmetic of a loss."""
    return x if x.dtype == torch.float64 else x.float()


def one_time_per_clip(t: Tensor, x: Tensor) -> Tensor:
    """t itself if it is `[B]`, one time for all frames of a clip; UserError otherwise (diffusion forcing)."""
    if t.shape != x.shape[:1]:
        raise UserError(
            f"times of shape {list(t.shape)} for {len(x)} clips: distribution matching needs one time per clip",
            "scores of frames at different times are not comparable; give times [B]",
        )
    return t


def score_times(u: Tensor, s: float = 5.0, low: float = 0.02, high: float = 0.98) -> Tensor:
    """t = clamp(shift(u; s), 0.02, 0.98): where scores are compared and the fake score is trained; u, t `[B]`."""
    return shift(u, s).clamp(low, high)


def normaliser(x: Tensor, real: Tensor, eps: float = 1e-6) -> Tensor:
    """n_b = mean_{C,F,H,W} |x - real| + eps, of each clip: `[B, 1, ...]` to broadcast against x."""
    distance = (widen(x) - widen(real)).abs().flatten(1).mean(1)
    return distance.reshape(-1, *[1] * (x.ndim - 1)) + eps


def score_gradient(x: Tensor, real: Tensor, fake: Tensor, eps: float = 1e-6) -> Tensor:
    """g = (fake - real) / n, with non-finite elements replaced as in CausVid (`nan_to_num`)."""
    return torch.nan_to_num((widen(fake) - widen(real)) / normaliser(x, real, eps))


def pseudo_loss(x: Tensor, gradient: Tensor) -> Tensor:
    """0.5 mean((x - sg(x - gradient))^2), in float64: a loss whose derivative in x is gradient / numel."""
    target = (x.detach().double() - gradient.detach().double()).detach()
    return 0.5 * (x.double() - target).square().mean()


def matching_loss(x: Tensor, real: Tensor, fake: Tensor, eps: float = 1e-6) -> Tensor:
    """L_dmd = 0.5 mean((x - sg(x - g))^2): dL/dx = g / numel; nothing flows to real and fake."""
    with torch.no_grad():
        g = score_gradient(x, real, fake, eps)
    return pseudo_loss(x, g)


def denoising_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """L_fake = mean((native_hat(x_t) - native)^2); for flows the native target is eps - sg(x)."""
    return (widen(prediction) - widen(target)).square().mean()


@lru_cache(maxsize=32)
def temporal_basis(frames: int) -> Tensor:
    """U_{k,f} = c_k cos(pi k (f - 1/2) / F), f = 1..F: orthonormal DCT-II over frames, `[F, F]` float64, row k."""
    k = torch.arange(frames, dtype=torch.float64)[:, None]
    f = torch.arange(frames, dtype=torch.float64)[None, :]
    basis = torch.cos(math.pi * k * (f + 0.5) / frames) * math.sqrt(2 / frames)
    basis[0] /= math.sqrt(2)
    return basis


def temporal_spectrum(gradient: Tensor) -> Tensor:
    """S_k = mean_b ||(U gradient_b)_k||_2: the size of each temporal frequency, `[F]`; k = 0 is their mean."""
    frames = gradient.movedim(2, 1).flatten(2)
    return torch.linalg.vector_norm(temporal_basis(gradient.shape[2]).to(frames) @ frames, dim=2).mean(0)
