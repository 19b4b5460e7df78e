"""The noise tables of diffusers' discrete-time schedulers, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.errors import UserError

NATIVE = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # a scheduler's prediction_type, in our names


def alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """abar_i `[N]` of a scheduler configuration: prod(1 - beta), then CogVideoX's SNR shift, then zero terminal SNR.

    Betas of `scaled_linear` are squares of evenly spaced roots. Raises UserError for other beta schedules.
    """
    steps, ends = config["num_train_timesteps"], (config["beta_start"], config["beta_end"])
    if config["beta_schedule"] == "scaled_linear":
        betas = torch.linspace(ends[0] ** 0.5, ends[1] ** 0.5, steps, dtype=torch.float64) ** 2
    elif config["beta_schedule"] == "linear":
        betas = torch.linspace(*ends, steps, dtype=torch.float64)
    else:
        raise UserError(f'scheduler: beta_schedule "{config["beta_schedule"]}" is not known', "scaled_linear or linear")
    abar = shift_snr(torch.cumprod(1 - betas, 0), config.get("snr_shift_scale", 1.0))
    return zero_terminal_snr(abar) if config.get("rescale_betas_zero_snr", False) else abar


def shift_snr(abar: Tensor, scale: float) -> Tensor:
    """abar' = abar / (s + (1 - s) abar): the signal-to-noise ratio divided by s (CogVideoX; 1 leaves it alone)."""
    return abar / (scale + (1 - scale) * abar)


def zero_terminal_snr(abar: Tensor) -> Tensor:
    """sqrt(abar) shifted and scaled to keep its first value and end at exactly 0 (Lin et al. 2024, Algorithm 1)."""
    root = abar.sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2


def native(config: Mapping[str, Any]) -> str:
    """What the network predicts, in our names. Raises UserError for a prediction type we do not know."""
    kind = config.get("prediction_type", "epsilon")
    if kind not in NATIVE:
        raise UserError(f'scheduler: prediction_type "{kind}" is not known', f"one of {', '.join(NATIVE)}")
    return NATIVE[kind]
