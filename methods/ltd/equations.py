"""LTD, latent temporal discrepancy: a weight per voxel from how fast the clean latent changes. No gradient."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["voxel", "frame", "frame_rms"]


def latent_difference(z: Tensor, norm: Norm = "voxel") -> Tensor:
    """d_i = ||z(i+1) - z(i)|| between adjacent latent frames (inside Eq. 2); z `[B, C, F, H, W]`.

    voxel: norm over channels, `[B, F-1, H, W]`. frame: over the whole frame, `[B, F-1, 1, 1]`; frame_rms: its root mean
    square. In float32, or float64 when z is.
    """
    z = z if z.dtype == torch.float64 else z.float()
    _, channels, _, height, width = z.shape
    squared = z.diff(dim=2).square()  # a sum of squares: vector_norm over channels is 50 times slower on CPU
    if norm == "voxel":
        return squared.sum(1).sqrt()
    d = squared.sum((1, 3, 4)).sqrt()[:, :, None, None]
    return d / math.sqrt(channels * height * width) if norm == "frame_rms" else d


def windowed_mean(d: Tensor, tau: int) -> Tensor:
    """D_f = sum_{i=L_f}^{R_f-1} d_i / (R_f - L_f), L_f = max(1, f-h), R_f = min(F, f+h), h = floor(tau/2) (Eq. 2).

    d `[B, F-1, H, W]` to D `[B, F, H, W]`: at both ends the mean of fewer differences, 0 where there is none.
    """
    batch, gaps, height, width = d.shape
    total, count = d.new_zeros(batch, gaps + 1, height, width), d.new_zeros(gaps + 1, 1, 1)
    for offset in range(-(tau // 2), tau // 2):  # frame f (from 0) takes gap f + offset, where it exists
        first, last = max(0, -offset), min(gaps + 1, gaps - offset)
        if first < last:
            total[:, first:last] += d[:, first + offset : last + offset]
            count[first:last] += 1
    return total / count.clamp(min=1)


def motion_weight(D: Tensor) -> Tensor:
    """w = 1 + ln(e + D) >= 2 (Eq. 3: L = L_diff + ln(e + D) L_diff), written 2 + log1p(D/e): exactly 2 at rest."""
    return 2 + torch.log1p(D / math.e)


def unit_mean(w: Tensor) -> Tensor:
    """w / mean(w) over all elements of the batch it is given: the shape of the weight without its scale."""
    return w / w.mean()
