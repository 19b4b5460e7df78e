"""How the small video encoder learns without labels: it rebuilds hidden parts of a clip from the parts it is shown.

VideoMAE (Tong et al. 2022, section 3): the same places are hidden in every frame ("tubes"), so that a hidden patch
cannot be copied from the frame before. Here every other step hides time as well: a part of the clip, at its beginning
or end, is not shown at all, and has to be extrapolated from the motion of the rest. What is shown is rebuilt too, at
half the weight: without that, features became the same for all clips within a hundred steps and stayed so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metrics.cdfvd.networks.videomae import EPS, Block, Shape, VideoMAE, separable_sinusoids

SHOWN_TUBES = 0.4  # of the places, when all of time is shown
SHOWN_PLACES = 0.75  # of the places, when a part of time is hidden
REBUILT = 0.4  # of the hidden tokens, drawn anew for every batch ("dual masking", Wang et al. 2023)
DECODER = Shape(side=64, patch=8, frames=16, tubelet=2, width=96, depth=1, heads=4, hidden=192, classes=0)
FLOOR = 0.1  # standard deviation of a clip, in the encoder's units, below which it is not stretched further
SHOWN_WEIGHT = 0.5


@dataclass(frozen=True)
class Mask:
    """Token indices of every clip: what the encoder sees `[B, n]` and what is to be rebuilt `[B, m]`."""

    shown: Tensor
    hidden: Tensor


def draw_mask(shape: Shape, clips: int, step: int, generator: torch.Generator) -> Mask:
    """Tubes on even steps; on odd ones tubes within a window of time that begins or ends with the clip."""
    times, rows, columns = shape.grid
    places = rows * columns
    first, last, share = 0, times, SHOWN_TUBES
    if step % 2:
        length = int(torch.randint(1, times - 1, (), generator=generator))
        at_start = bool(torch.randint(2, (), generator=generator))
        first, last, share = (0, length, SHOWN_PLACES) if at_start else (times - length, times, SHOWN_PLACES)
    order = torch.rand(clips, places, generator=generator).argsort(1)
    seen = torch.zeros(clips, times, places, dtype=torch.bool)
    seen[:, first:last] = torch.zeros(clips, places, dtype=torch.bool).scatter(
        1, order[:, : round(share * places)], True
    )[:, None]
    seen = seen.flatten(1)
    hidden = (~seen).nonzero()[:, 1].view(clips, -1)
    chosen = torch.rand(hidden.shape, generator=generator).argsort(1)[:, : round(REBUILT * hidden.shape[1])]
    return Mask(seen.nonzero()[:, 1].view(clips, -1), hidden.gather(1, chosen))


def patches(video: Tensor, shape: Shape) -> Tensor:
    """`[B, 3, T, H, W]` to the pixels of every token, `[B, N, tubelet * patch * patch * 3]`."""
    times, rows, columns = shape.grid
    blocks = video.unflatten(4, (columns, shape.patch)).unflatten(3, (rows, shape.patch))
    return blocks.unflatten(2, (times, shape.tubelet)).permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4).flatten(1, 3)


def targets(video: Tensor, shape: Shape) -> Tensor:
    """Each token's pixels, less the clip's mean colour and over its standard deviation, so that objects count most."""
    mean, deviation = video.mean((2, 3, 4), keepdim=True), video.std((1, 2, 3, 4), keepdim=True)
    return patches((video - mean) / deviation.clamp(min=FLOOR), shape)


class Pretraining(nn.Module):
    """The encoder with a narrow decoder on top, which is thrown away afterwards."""

    def __init__(self, encoder: VideoMAE, decoder: Shape = DECODER) -> None:
        super().__init__()
        self.encoder, shape = encoder, encoder.shape
        self.enter = nn.Linear(shape.width, decoder.width)
        self.missing = nn.Parameter(torch.zeros(decoder.width))
        self.blocks = nn.ModuleList(Block(decoder.width, decoder.heads, decoder.hidden) for _ in range(decoder.depth))
        self.norm = nn.LayerNorm(decoder.width, eps=EPS)
        self.leave = nn.Linear(decoder.width, 3 * shape.tubelet * shape.patch**2)
        self.register_buffer("places", separable_sinusoids(shape.grid, decoder.width), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(encoder.patch_embed.proj.weight.view(shape.width, -1))
        nn.init.normal_(self.missing, std=0.02)

    def forward(self, video: Tensor, mask: Mask) -> Tensor:
        """Predicted targets of the tokens that are shown, then of those that are hidden, `[B, n + m, P]`."""
        seen = take(self.encoder.embed(video), mask.shown)
        seen = self.enter(self.encoder.fc_norm(self.encoder.encode(seen)))
        shown, hidden = self.places[mask.shown], self.places[mask.hidden]  # type: ignore[index]
        tokens = torch.cat([seen + shown, self.missing + hidden], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.leave(self.norm(tokens))

    def loss(self, video: Tensor, mask: Mask) -> Tensor:
        """Mean squared error over the hidden tokens, and half of that over those that are shown."""
        wanted = take(targets(video, self.encoder.shape), torch.cat([mask.shown, mask.hidden], 1))
        errors, shown = (self(video, mask) - wanted).square().mean(2), mask.shown.shape[1]
        return errors[:, shown:].mean() + SHOWN_WEIGHT * errors[:, :shown].mean()


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens `[B, n, D]` at `index` `[B, n]`."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
