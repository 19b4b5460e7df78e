"""Frame interpolation in latent space: two neighbouring latent frames in, the one between them out (AVD, section 8).

A clip of F latent frames becomes one of 2F - 1: the given frames stay at even positions, new ones come in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from harness.api import UserError

Upsampler = Callable[[Tensor], Tensor]  # clean latents [B, C, F, H, W] to [B, C, 2F - 1, H, W]
Norm = Literal["group", "batch"]
MULTIPLE = 4  # two poolings halve H and W twice


def every_second(z: Tensor) -> Tensor:
    """z_half = z[:, :, 0::2]: `[B, C, F, H, W]` to `[B, C, (F + 1) / 2, H, W]`, first and last frame included.

    Raises UserError for even F, whose last frame would be lost: 20 frames give 10, and 10 give back 19.
    """
    frames = z.shape[2]
    if frames % 2 == 0:
        raise UserError(
            f"frame interpolation of {frames} latent frames: half of an even number does not interpolate back to it",
            "choose clip.frames so that the latent frames are odd in number: with Wan 17 (5 latent frames) or 81 (21)",
        )
    return z[:, :, ::2]


def neighbours(z: Tensor) -> Tensor:
    """[z^f, z^{f+1}] on one channel axis: `[B, C, F, H, W]` to `[B (F - 1), 2C, H, W]`, a clip's pairs in order."""
    pairs = torch.cat([z[:, :, :-1], z[:, :, 1:]], 1)
    return pairs.transpose(1, 2).flatten(0, 1)


def interleave(z: Tensor, middle: Tensor) -> Tensor:
    """z `[B, C, F, H, W]` copied to even positions, middle `[B, C, F - 1, H, W]` to odd: `[B, C, 2F - 1, H, W]`."""
    out = z.new_empty(*z.shape[:2], 2 * z.shape[2] - 1, *z.shape[3:])
    out[:, :, 0::2], out[:, :, 1::2] = z, middle.to(z)
    return out


def interpolate(z: Tensor, net: Callable[[Tensor], Tensor]) -> Tensor:
    """z^{f+1/2} = U(z^f, z^{f+1}) between all neighbours, in one call of `net`: F frames to 2F - 1.

    The given frames come back bit for bit. A single frame has no neighbour and comes back alone.

    Args:
        z: clean latents `[B, C, F, H, W]`, never noisy ones.
        net: pairs `[N, 2C, H, W]` to middle frames `[N, C, H, W]`.
    """
    if z.shape[2] < 2:
        return z
    middle = net(neighbours(z)).unflatten(0, (len(z), -1)).transpose(1, 2)
    return interleave(z, middle)


def linear_middle(pairs: Tensor) -> Tensor:
    """(z^f + z^{f+1}) / 2 of pairs `[N, 2C, H, W]`: what a trained network has to beat."""
    first, second = pairs.chunk(2, dim=1)
    return (first + second) / 2


def interpolation_loss(z: Tensor, upsample: Upsampler) -> Tensor:
    """L = mean over B, C, F, H, W of (upsample(z[:, :, 0::2]) - z)^2, F odd; given frames contribute 0 (section 8).

    So it is (F - 1) / 2F times the error of the inserted frames: 10/21 of it for 21 frames. In float32, or float64 when
    z is.
    """
    z = z if z.dtype == torch.float64 else z.float()
    return (upsample(every_second(z)) - z).square().mean()


def _block(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    """3x3 convolution, normalisation, ReLU."""
    layer = nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(math.gcd(8, outputs), outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), layer, nn.ReLU())


class InterpolationUNet(nn.Module):
    """U: pairs of latent frames `[N, 2C, H, W]` to the frames between them `[N, C, H, W]`.

    Three convolution blocks with max-pooling between them, two transposed convolutions with skip connections back, a
    1x1 convolution. It computes in the precision of its weights, whatever autocast says; H and W may be any size.

    Args:
        latent_channels: C.
        channels: of the three levels; (32, 64, 128) has 0.24 M weights, (512, 1024, 2048) 57.8 M.
        norm: "group": a pair's answer does not depend on the others of its batch; "batch": the official layout.
        residual: predict the difference to the neighbours' mean, 0 at first; False predicts the frame, as AVD does.
    """

    def __init__(
        self,
        latent_channels: int,
        channels: Sequence[int] = (32, 64, 128),
        norm: Norm = "group",
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        high, middle, low = channels
        self.pool = nn.MaxPool2d(2)
        self.encode_high = _block(2 * latent_channels, high, norm)
        self.encode_middle = _block(high, middle, norm)
        self.encode_low = _block(middle, low, norm)
        self.raise_middle = nn.ConvTranspose2d(low, middle, 2, stride=2)
        self.decode_middle = _block(2 * middle, middle, norm)
        self.raise_high = nn.ConvTranspose2d(middle, high, 2, stride=2)
        self.decode_high = _block(2 * high, high, norm)
        self.out = nn.Conv2d(high, latent_channels, 1)
        if residual:
            for parameter in self.out.parameters():
                nn.init.zeros_(parameter)

    def forward(self, pairs: Tensor) -> Tensor:
        height, width = pairs.shape[-2:]
        with torch.autocast(pairs.device.type, enabled=False):
            pairs = pairs.to(self.out.weight.dtype)
            x = nn.functional.pad(pairs, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
            high = self.encode_high(x)
            middle = self.encode_middle(self.pool(high))
            low = self.encode_low(self.pool(middle))
            middle = self.decode_middle(torch.cat([self.raise_middle(low), middle], 1))
            high = self.decode_high(torch.cat([self.raise_high(middle), high], 1))
            frame = self.out(high)[..., :height, :width]
            return linear_middle(pairs) + frame if self.residual else frame
