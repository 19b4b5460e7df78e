"""I3D (Carreira and Zisserman 2017) on Kinetics-400, the features of the classic Frechet video distance.

12,697,264 parameters, 344 names: those of `i3d_pretrained_400.pt`, a state dict saved by torch (cd-fvd 0.1.1,
third_party/i3d/{pytorch_i3d,utils}.py: `load_state_dict(torch.load(path))`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.networks import checkpoints

CLASSES = 400
LEAST_FRAMES = 9  # with fewer nothing is left for the last pooling over two time steps
STEM = {  # name: (in, out, kernel, stride)
    "Conv3d_1a_7x7": (3, 64, 7, 2),
    "Conv3d_2b_1x1": (64, 64, 1, 1),
    "Conv3d_2c_3x3": (64, 192, 3, 1),
}
MIXED = {  # name: in; out of branch 0, of 1 (narrow, wide), of 2 (narrow, wide), of 3
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
POOLS = {  # before which unit: kernel, stride
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
Size = tuple[int, int, int]


def same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Zeros around `[B, C, T, H, W]` so that every stride-th place has an output; an odd one goes to the end."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (size % s or s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def pool(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Maximum with the zeros of `same`: everything pooled is at least 0."""
    return F.max_pool3d(same(x, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """Convolution, and unless it is the last, batch norm and ReLU."""

    def __init__(self, enter: int, leave: int, kernel: int = 1, stride: int = 1, last: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(enter, leave, kernel, stride, bias=last)
        if not last:
            self.bn = nn.BatchNorm3d(leave, eps=1e-5)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(same(x, self.conv3d.kernel_size, self.conv3d.stride))  # type: ignore[arg-type]
        return x if self.last else F.relu(self.bn(x))


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, enter: int, out: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit(enter, out[0])
        self.b1a, self.b1b = Unit(enter, out[1]), Unit(out[1], out[2], 3)
        self.b2a, self.b2b = Unit(enter, out[3]), Unit(out[3], out[4], 3)
        self.b3b = Unit(enter, out[5])

    def forward(self, x: Tensor) -> Tensor:
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3D(nn.Module):
    """`forward`: pixels `[B, 3, T, 224, 224]` in [-1, 1], T >= 9, to the 400 logits, averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        units = {name: Unit(*sizes) for name, sizes in STEM.items()} | {
            name: Mixed(*sizes) for name, sizes in MIXED.items()
        }
        self.order = tuple(units)
        for name, unit in units.items():
            self.add_module(name, unit)
        self.logits = Unit(1024, CLASSES, last=True)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            if name in POOLS:
                x = pool(x, *POOLS[name])
            x = self.get_submodule(name)(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1)).flatten(2).mean(2)


def load(path: Path, device: torch.device) -> I3D:
    """From the official checkpoint. Raises UserError when it is missing, damaged, or of another network."""
    who = "cdfvd i3d"
    with torch.device("meta"):
        net = I3D()
    checkpoints.fill(net, checkpoints.read(path, who), path, who)
    return net.eval().requires_grad_(False).to(device)
