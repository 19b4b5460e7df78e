"""UMT ViT-L/16 (Unmasked Teacher, Li et al. 2023), fine-tuned on Kinetics-400, as VBench's human_action uses it.

A vision transformer over the patches of 16 frames at once, averaged over all of them at the end. Parameter names are
those of OpenGVLab/unmasked_teacher, single_modality/models/modeling_finetune.py. The published files are without
`pos_embed`: positions are sines and cosines, stretched from the 8 frames of pre-training to 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention

from harness.errors import UserError
from harness.networks.checkpoints import fill, read

FRAMES, SIDE, PATCH = 16, 224, 16
PLACES = (SIDE // PATCH) ** 2
TRAINED_FRAMES = 8  # of pre-training, for which the table of positions is made
HEAD = 64  # width of an attention head
EPSILON = 1e-6


@dataclass(frozen=True)
class Sizes:
    """The published checkpoint's sizes."""

    width: int = 1024
    layers: int = 24
    classes: int = 400

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Sizes:
        """The sizes of a checkpoint. KeyError when it is not one of UMT's."""
        classes, width = state["head.weight"].shape
        return cls(width, sum(name.endswith(".attn.q_bias") for name in state), classes)


class Attention(nn.Module):
    """Queries and values have a bias, keys have none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        q, k, v = linear(x, self.qkv.weight, bias).unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and a two-layer network, each on normalised input and added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, EPSILON), Attention(width)
        self.norm2, self.mlp = nn.LayerNorm(width, EPSILON), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        added: Tensor = x + self.mlp(self.norm2(x))
        return added


class PatchEmbed(nn.Module):
    """Frames `[B, 3, T, H, W]` to patch vectors `[B, T * h * w, D]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, (1, PATCH, PATCH), (1, PATCH, PATCH))

    def forward(self, video: Tensor) -> Tensor:
        patches: Tensor = self.proj(video).flatten(2).transpose(1, 2)
        return patches


class UMT(nn.Module):
    """Normalised frames `[B, 3, 16, 224, 224]` to the logits of the classes `[B, N]`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, FRAMES * PLACES, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(sizes.layers))
        self.fc_norm = nn.LayerNorm(width, EPSILON)
        self.head = nn.Linear(width, sizes.classes)

    def forward(self, video: Tensor) -> Tensor:
        x = self.patch_embed(video) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.fc_norm(x.mean(1)))
        return logits


def positions(width: int) -> Tensor:
    """Sines and cosines of the places of 8 frames, stretched linearly to 16 frames: `[1, 16 * 14 * 14, D]`.

    Source: modeling_finetune.py, get_sinusoid_encoding_table(3136, width, 16, 1568).
    """
    angles = np.arange(TRAINED_FRAMES * PLACES)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    table = torch.from_numpy(angles).float().view(TRAINED_FRAMES, PLACES, width)
    table = interpolate(table.permute(1, 2, 0), FRAMES, mode="linear")  # [places, width, frames]
    return table.permute(2, 0, 1).reshape(1, FRAMES * PLACES, width)


def load(path: Path, who: str) -> UMT:
    """The network with the weights of a file like l16_ptk710_ftk710_ftk400_f16_res224.pth; float32 on the CPU.

    VBench itself ignores what is missing from the file or left over, and then scores with random weights.

    Raises:
        UserError: the file is not that, whole.
    """
    state = read(path, who)
    try:
        sizes = Sizes.of(state)
    except (KeyError, ValueError) as error:
        raise UserError(f"{who}: {path} is no UMT checkpoint: {error}", "choose the one VBench names") from error
    with torch.device("meta"):
        net = UMT(sizes)
    fill(net, {"pos_embed": positions(sizes.width), **state}, path, who)
    return net.eval().requires_grad_(False)
