"""The VideoMAE-v2 encoder as CD-FVD reads it: ViT-g/14 on 16 frames of 224 x 224, or the same at any other size.

Names of the parameters are the official checkpoint's (cd-fvd 0.1.1, third_party/VideoMAEv2/videomaev2_finetune.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import UserError
from harness.networks import checkpoints

EPS = 1e-6  # of every LayerNorm
WRAPPERS = ("model", "module")  # keys that may hold the weights, in the order the official loader tries them


@dataclass(frozen=True)
class Shape:
    """Sizes of an encoder. `side`, `patch` in pixels; `frames`, `tubelet` in frames; `classes` of its unused head.

    `separable`: positions in time, height and width have channels of their own; officially one number counts tokens.
    """

    side: int
    patch: int
    frames: int
    tubelet: int
    width: int
    depth: int
    heads: int
    hidden: int
    classes: int
    separable: bool = False

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        return self.frames // self.tubelet, self.side // self.patch, self.side // self.patch


GIANT = Shape(  # vit_giant_patch14_224 as load_videomae_model makes it: 1,011,855,918 parameters, 526 keys
    side=224, patch=14, frames=16, tubelet=2, width=1408, depth=40, heads=16, hidden=6144, classes=174
)


def sinusoids(count: int, width: int) -> Tensor:
    """Fixed positions `[count, width]`: sine on even channels, cosine on odd ones (get_sinusoid_encoding_table)."""
    angles = np.arange(count)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return torch.from_numpy(angles).float()


def separable_sinusoids(grid: tuple[int, int, int], width: int) -> Tensor:
    """Fixed positions `[T * H * W, width]`: a quarter of the channels for time, half of the rest for each side.

    Waves of an axis of n places are from 2 n down to 2 places long. A small network finds neighbours by them at once.
    """
    sizes = width // 4, (width - width // 4) // 2, (width - width // 4) // 2
    parts = []
    for axis, (places, size) in enumerate(zip(grid, sizes, strict=True)):
        speed = np.pi * places ** (np.arange(size // 2) / (size // 2) - 1)
        angles = np.arange(places)[:, None] * speed
        shape = [places if other == axis else 1 for other in range(3)]
        waves = np.concatenate([np.sin(angles), np.cos(angles)], 1).reshape(*shape, size)
        parts.append(np.broadcast_to(waves, (*grid, size)))
    return torch.from_numpy(np.concatenate(parts, -1).reshape(-1, width)).float()


class Attention(nn.Module):
    """Self-attention whose queries and values have a bias, its keys none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        q, k, v = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=EPS), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=EPS), Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Tubelets of pixels to tokens, `[B, 3, T, H, W]` to `[B, N, D]`, time slowest."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        size = (shape.tubelet, shape.patch, shape.patch)
        self.proj = nn.Conv3d(3, shape.width, size, size)

    def forward(self, video: Tensor) -> Tensor:
        return self.proj(video).flatten(2).transpose(1, 2)


class VideoMAE(nn.Module):
    """`forward`: pixels `[B, 3, T, H, W]` in [0, 1] to the features `[B, D]` of forward_features."""

    def __init__(self, shape: Shape = GIANT) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads, shape.hidden) for _ in range(shape.depth))
        self.fc_norm = nn.LayerNorm(shape.width, eps=EPS)
        if shape.classes:
            self.head = nn.Linear(shape.width, shape.classes)

    def positions(self, frames: int) -> Tensor:
        """Of every token of a clip of so many frames, `[N, D]`; stretched in time unless the clip is of full length.

        The 0.1 that is added to the number of tubelets changes where is sampled, as interpolate_pos_encoding does.
        """
        times, rows, columns = self.shape.grid
        if self.shape.separable:
            table = separable_sinusoids(self.shape.grid, self.shape.width)
        else:
            table = sinusoids(times * rows * columns, self.shape.width)
        wanted = frames // self.shape.tubelet
        if wanted == times:
            return table
        volume = table.T.reshape(1, -1, times, rows, columns)
        volume = F.interpolate(volume, scale_factor=((wanted + 0.1) / times, 1, 1), mode="trilinear")
        return volume.flatten(2)[0].T

    def embed(self, video: Tensor) -> Tensor:
        """Tokens with their positions, `[B, N, D]`. Raises ValueError when the frames are of another size."""
        if video.shape[-2:] != (self.shape.side, self.shape.side):
            raise ValueError(f"frames are {tuple(video.shape[-2:])}, this encoder reads {self.shape.side} square")
        return self.patch_embed(video) + self.positions(video.shape[2]).to(video)

    def encode(self, tokens: Tensor) -> Tensor:
        """All blocks, over any subset of a clip's tokens `[B, n, D]`."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def forward(self, video: Tensor) -> Tensor:
        return self.fc_norm(self.encode(self.embed(video)).mean(1))


def load(path: Path, device: torch.device, shape: Shape = GIANT) -> VideoMAE:
    """The encoder from an official checkpoint: under `model`, under `module`, or by itself; every tensor must fit.

    Raises:
        UserError: the file is missing, damaged, holds code, or is of another network.
    """
    who = "cdfvd videomae"
    with torch.device("meta"):
        net = VideoMAE(shape)
    try:
        state = checkpoints.read(path, who, WRAPPERS[0])
    except UserError as error:
        if "no tensors by name" not in error.problem:
            raise
        state = checkpoints.read(path, who, WRAPPERS[1])
    checkpoints.fill(net, state, path, who)
    return net.eval().requires_grad_(False).to(device)
