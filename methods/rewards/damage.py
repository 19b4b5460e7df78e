"""What generators and codecs do to clips, for training rewards on more than clean ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

CLEAN_SHARE = 0.2  # of the clips, left as rendered
CODEC_SHARE = 0.6  # of the others, seen through the backbone's codec
RESIDUE = 0.35  # largest deviation of the noise left in latents of unit deviation

Codec = Callable[[Tensor, Tensor], Tensor]  # clips in [0, 1] and the deviation of latent noise [B], to clips


def damage(video: Tensor, frames: Tensor, draw: torch.Generator, codec: Codec) -> Tensor:
    """Frames `[B, K]` of damaged clips `[B, 3, F, H, W]` in [0, 1]; each kind of damage is drawn for each clip."""
    dirty = torch.rand(len(video), generator=draw) >= CLEAN_SHARE
    level = RESIDUE * torch.rand(len(video), generator=draw) ** 2
    whole = video.clone()
    coded, faded = _hit(dirty, CODEC_SHARE, draw), _hit(dirty, 0.3, draw)
    if coded.any():
        whole[coded] = codec(whole[coded], level[coded])
    whole[faded] = _fade(whole[faded], draw)
    shown = torch.stack([clip[:, index] for clip, index in zip(whole, frames, strict=True)])
    for kind, share in ((_grade, 0.5), (_soften, 0.4), (_blotch, 0.3), (_noise, 0.4)):
        rows = _hit(dirty, share, draw)
        shown[rows] = kind(shown[rows], draw)
    return shown.clamp(0, 1)


def _hit(dirty: Tensor, share: float, draw: torch.Generator) -> Tensor:
    return dirty & (torch.rand(len(dirty), generator=draw) < share)


def _between(video: Tensor, low: float, high: float, draw: torch.Generator, channels: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(len(video), channels, 1, 1, 1, generator=draw)


def _fade(video: Tensor, draw: torch.Generator) -> Tensor:
    """Each frame takes on a share of its neighbours, as a low pass over time does."""
    around = (torch.cat([video[:, :, :1], video[:, :, :-1]], 2) + torch.cat([video[:, :, 1:], video[:, :, -1:]], 2)) / 2
    return video.lerp(around, _between(video, 0.1, 0.5, draw))


def _grade(video: Tensor, draw: torch.Generator) -> Tensor:
    """Saturation, a slight cast, gain and offset of the whole clip."""
    grey = video.mean(1, keepdim=True)
    tinted = (grey + (video - grey) * _between(video, 0.6, 1.2, draw)) * _between(video, 0.95, 1.05, draw, 3)
    return tinted * _between(video, 0.8, 1.15, draw) + _between(video, -0.05, 0.05, draw)


def _soften(video: Tensor, draw: torch.Generator) -> Tensor:
    wide = avg_pool2d(video.flatten(0, 1), 5, 1, 2, count_include_pad=False).unflatten(0, video.shape[:2])
    return video.lerp(wide, _between(video, 0.1, 0.8, draw))


def _blotch(video: Tensor, draw: torch.Generator) -> Tensor:
    """Smooth coloured clouds that drift a little, like a generator's residue."""
    b, c, f, h, w = video.shape
    clouds = torch.randn(b, c, 3, 8, 8, generator=draw)
    return video + _between(video, 0.01, 0.07, draw) * interpolate(clouds, (f, h, w), mode="trilinear")


def _noise(video: Tensor, draw: torch.Generator) -> Tensor:
    return video + _between(video, 0.005, 0.06, draw) * torch.randn(video.shape, generator=draw)
