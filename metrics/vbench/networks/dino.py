"""DINO ViT-B/16 (Caron et al. 2021), as VBench's subject_consistency uses it: timm's blocks, DINO's own positions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention

from harness.networks.checkpoints import fill, read

ARCHITECTURE = "vit_base_patch16_224.dino"  # timm's name; its parameters are named as in facebookresearch/dino
PATCH, SIDE = 16, 224
WHO = "DINO ViT-B/16"  # in messages


class Dino(nn.Module):
    """Class token of every image: `[B, 3, H, W]`, normalised, sides of at least 16 px -> `[B, 768]`."""

    vit: Any  # timm's VisionTransformer

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        vit = self.vit
        tokens = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([vit.cls_token.expand(len(images), -1, -1), tokens], 1)
        tokens = tokens + positions(vit.pos_embed, *images.shape[-2:])
        features: Tensor = vit.norm(class_token(vit.blocks[-1], vit.blocks[:-1](tokens)))
        return features


def class_token(block: Any, tokens: Tensor) -> Tensor:
    """The first token that one of timm's blocks makes, without the others': `[B, N, D] -> [B, D]`."""
    attention = block.attn
    x = block.norm1(tokens)
    width = x.shape[-1]
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = linear(x[:, :1], weight[:width], bias[:width])
    key, value = linear(x, weight[width:], bias[width:]).chunk(2, -1)
    split = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in (query, key, value))
    y = tokens[:, :1] + attention.proj(scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
    token: Tensor = (y + block.mlp(block.norm2(y)))[:, 0]
    return token


def positions(embedding: Tensor, height: int, width: int) -> Tensor:
    """Positional embedding of an image of another size; `[1, 1 + N, D] -> [1, 1 + (height // 16) * (width // 16), D]`.

    Source: facebookresearch/dino, vision_transformer.py, interpolate_pos_encoding, which scales by a tenth of a patch
    more than it needs and thereby samples elsewhere than an interpolation to the new size does.
    """
    if height == width == SIDE:
        return embedding
    side = math.isqrt(embedding.shape[1] - 1)
    grid = embedding[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scale = (height // PATCH + 0.1) / side, (width // PATCH + 0.1) / side
    grid = interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def empty() -> nn.Module:
    """timm's network without values, on the meta device."""
    import timm

    with torch.device("meta"):
        return timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)


def load(path: Path) -> Dino:
    """From facebookresearch/dino's dino_vitbase16_pretrain.pth, float32 on the CPU. UserError if it is not that."""
    vit = empty()
    fill(vit, read(path, WHO), path, WHO)
    return Dino(vit).eval().requires_grad_(False)
