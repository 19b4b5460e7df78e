"""MUSIQ (Ke et al. 2021), the variant that VBench's imaging_quality uses, with pyiqa's parameter names.

Source of sizes and names: pyiqa 0.1.10, archs/musiq_arch.py and data/multiscale_trans_util.py. Two shortcuts leave the
scores alone: patches that only pad a scale to its largest number are left out, where pyiqa computes them and masks
them from attention; kernels are standardised when they are loaded, not for every image.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad, relu, scaled_dot_product_attention

from harness.networks.checkpoints import fill, read

PATCH, GRID = 32, 10  # pixels; positions are hashed to GRID x GRID
SCALES = (224, 384)  # longer sides, besides the image as it is
STEM, WIDTH, HIDDEN, HEADS, LAYERS = 64, 384, 1152, 6, 14
WHO = "MUSIQ"  # in messages


class Musiq(nn.Module):
    """Quality of every image: `[B, 3, H, W]` of 0..1 -> `[B]`, about 0..100."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_root = nn.Conv2d(3, STEM, 7, 2, bias=False)
        self.gn_root = nn.GroupNorm(32, STEM, eps=1e-6)
        self.block1 = Bottleneck()
        self.embedding = nn.Linear(4 * STEM * (PATCH // 4) ** 2, WIDTH)
        self.transformer_encoder = Encoder()
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, images: Tensor) -> Tensor:
        patches, places, scales = pyramid((images - 0.5) * 2)
        x = relu(self.gn_root(self.conv_root(same(patches.flatten(0, 1), 7, 2))))
        x = same(x.contiguous(memory_format=torch.channels_last), 3, 2)  # the layout in which a CPU pools fast
        x = self.block1(max_pool2d(x, 3, 2).contiguous())
        x = self.embedding(x.permute(0, 2, 3, 1).flatten(1)).unflatten(0, patches.shape[:2])
        token = self.transformer_encoder(x, places, scales)
        with torch.autocast(token.device.type, enabled=False):  # bfloat16 knows steps of 0.25 near 50
            return self.head(token.float()).squeeze(-1)


class Bottleneck(nn.Module):
    """ResNet's, on features of one patch each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(STEM, STEM, 1, bias=False)
        self.gn1 = nn.GroupNorm(32, STEM, eps=1e-4)
        self.conv2 = nn.Conv2d(STEM, STEM, 3, padding=1, bias=False)
        self.gn2 = nn.GroupNorm(32, STEM, eps=1e-4)
        self.conv3 = nn.Conv2d(STEM, 4 * STEM, 1, bias=False)
        self.gn3 = nn.GroupNorm(32, 4 * STEM, eps=1e-4)
        self.conv_proj = nn.Conv2d(STEM, 4 * STEM, 1, bias=False)
        self.gn_proj = nn.GroupNorm(32, 4 * STEM, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.gn1(self.conv1(x)))
        y = relu(self.gn2(self.conv2(y)))
        return relu(self.gn3(self.conv3(y)) + self.gn_proj(self.conv_proj(x)))


class Encoder(nn.Module):
    """Class token of a sequence of patches `[B, N, 384]`, whose places and scales are `[N]` -> `[B, 384]`."""

    def __init__(self) -> None:
        super().__init__()
        self.posembed_input = nn.ParameterDict({"position_emb": torch.empty(1, GRID * GRID, WIDTH)})
        self.scaleembed_input = nn.ParameterDict({"scale_emb": torch.empty(len(SCALES) + 1, WIDTH)})
        self.cls = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.encoder_norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.transformer = nn.ModuleDict({f"encoderblock_{index}": Block() for index in range(LAYERS)})

    def forward(self, x: Tensor, places: Tensor, scales: Tensor) -> Tensor:
        x = x + self.posembed_input["position_emb"][0, places] + self.scaleembed_input["scale_emb"][scales]
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        *early, last = self.transformer.values()
        for block in early:
            x = block(x)
        return self.encoder_norm(last(x, first=1)[:, 0])


class Block(nn.Module):
    """A pre-norm transformer block; of its tokens the `first` ones, all unless said."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, HIDDEN), "fc2": nn.Linear(HIDDEN, WIDTH)})

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        x = x[:, :first] + self.attention(self.norm1(x), first)
        return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, first: int | None) -> Tensor:
        projected = self.query(x[:, :first]), self.key(x), self.value(x)
        heads = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in projected)
        attended: Tensor = self.out(scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return attended


def pyramid(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches of the images at every scale, `[B, N, 3, 32, 32]`, with their hashed places and scales, `[N]` each."""
    patches, places, scales = [], [], []
    for scale, longer in enumerate((*SCALES, None)):
        scaled = images if longer is None else shrink(images, longer)
        cut, rows, columns = tiles(scaled)
        patches.append(cut)
        places.append(hashed(rows, columns))
        scales.append(torch.full((rows * columns,), scale))
    return torch.cat(patches, 1), torch.cat(places).to(images.device), torch.cat(scales).to(images.device)


def shrink(images: Tensor, longer: int) -> Tensor:
    """To this longer side, larger or smaller, keeping the proportions to within rounding."""
    height, width = images.shape[-2:]
    ratio = longer / max(height, width)
    return interpolate(images, (round(height * ratio), round(width * ratio)), mode="bicubic", align_corners=False)


def tiles(images: Tensor) -> tuple[Tensor, int, int]:
    """Cut into patches, row by row, after padding with zeros on all sides: `[B, rows * columns, 3, 32, 32]`."""
    x = same(images, PATCH, PATCH)
    rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
    x = x.unflatten(-1, (columns, PATCH)).unflatten(-3, (rows, PATCH))  # B, 3, rows, 32, columns, 32
    return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2), rows, columns


def hashed(rows: int, columns: int) -> Tensor:
    """Index of the position embedding of every patch, row by row: the nearest cell of a GRID x GRID grid."""
    cells = torch.arange(GRID, dtype=torch.float32)[None, None]
    y, x = (interpolate(cells, count, mode="nearest")[0, 0].long() for count in (rows, columns))
    return (y[:, None] * GRID + x).flatten()


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding with zeros: `ceil(size / stride)` windows, the odd pixel at the end."""
    extra = [(math.ceil(size / stride) - 1) * stride + kernel - size for size in x.shape[-2:]]
    top, left = (value // 2 for value in extra)
    return pad(x, (left, extra[1] - left, top, extra[0] - top))


def load(path: Path) -> Musiq:
    """From pyiqa's musiq_spaq_ckpt-358bb6af.pth, float32 on the CPU. UserError if it is not that."""
    with torch.device("meta"):
        net = Musiq()
    fill(net, read(path, WHO), path, WHO)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            standardise(module.weight.data)
    return net.eval().requires_grad_(False)


def standardise(weight: Tensor) -> None:
    """In place, every kernel to mean 0 and deviation 1 (Qiao et al. 2019, weight standardisation)."""
    weight -= weight.mean((1, 2, 3), keepdim=True)
    weight /= weight.std((1, 2, 3), keepdim=True) + 1e-5
