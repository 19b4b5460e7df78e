"""S3: few-step sampling at half the frame rate while noise is high, at the full one afterwards (AVD, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.api import Backbone, Sampler, UserError
from methods.avd.interpolation import Upsampler, every_second
from methods.fewstep import Renoise, StudentStep, predict_x0


def frame_evaluations(frames: int, steps: int, low_steps: int) -> int:
    """N = low_steps (F + 1) / 2 + (K - low_steps) F: latent frames that K network calls see, F odd.

    21 frames in 4 steps, 2 of them low: 2 * 11 + 2 * 21 = 64, instead of 84.
    """
    return low_steps * ((frames + 1) // 2) + (steps - low_steps) * frames


class FramePlan(Renoise):
    """S2 whose first `low_steps` calls see every second frame; then the x0 prediction is interpolated to all frames.

    Interpolation acts on clean predictions alone. The noise put back after it is fresh and of full size.

    Args:
        times: t_1 > t_2 > ... in (0, 1], as in `Renoise`.
        upsample: clean latents of F frames to 2F - 1.
        low_steps: 0 is plain S2; as many as there are times interpolates the result.
        student: f, by default the backbone's x0.
    """

    def __init__(
        self, times: Sequence[float], upsample: Upsampler, low_steps: int = 2, student: StudentStep = predict_x0
    ) -> None:
        super().__init__(times, student)
        if not 0 <= low_steps <= self.nfe:
            raise UserError(
                f"low_steps {low_steps}, but the sampler makes {self.nfe} calls",
                f"choose 0 (all at the full frame rate) to {self.nfe}",
            )
        self.upsample, self.low_steps = upsample, low_steps

    def start(self, noise: Tensor) -> Tensor:
        """Every second frame of the clip's noise; UserError when their number F is even."""
        return every_second(noise) if self.low_steps else noise

    def arrange(self, k: int, x0: Tensor) -> Tensor:
        return self.upsample(x0) if k + 1 == self.low_steps else x0


class HalfRate:
    """Any sampler at half the frame rate from the first call to the last, interpolated once at the end."""

    def __init__(self, sampler: Sampler, upsample: Upsampler) -> None:
        self.inner, self.upsample, self.nfe = sampler, upsample, sampler.nfe

    @torch.no_grad()
    def __call__(
        self, model: Backbone, noise: Tensor, cond: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """noise `[B, C, F, H, W]`, F odd, cond `[B, L, D]` to x0 of as many frames."""
        return self.upsample(self.inner(model, every_second(noise), cond, generators))
