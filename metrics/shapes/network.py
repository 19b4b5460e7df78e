"""The learned part of the reader: one small network shared by all colours, and one for the camera."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from metrics.shapes.colours import CAMERAS, DIRECTIONS, MOTIONS, SHAPES
from metrics.shapes.frontend import CAMERA, MOMENTS, WINDOW

WIDTH = 96
CROP_PLANES = 3


class Logits(NamedTuple):
    """Of S colour slots: present `[S]`, shape `[S, 5]`, motion `[S, 10]`, direction `[S, 4]`."""

    present: Tensor
    shape: Tensor
    motion: Tensor
    direction: Tensor


class TimeBlock(nn.Module):
    """Residual pair of temporal convolutions on `[N, C, 17]`."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.gelu(self.first(nn.functional.gelu(self.norm(x))))
        return x + self.second(h)


class CameraNet(nn.Module):
    """Background motion `[B, 17, 8]` to camera logits `[B, 5]`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Conv1d(CAMERA, width, 3, padding=1)
        self.time = nn.Sequential(TimeBlock(width, 1), TimeBlock(width, 2))
        self.leave = nn.Linear(width, len(CAMERAS))

    def forward(self, camera: Tensor) -> Tensor:
        h = self.time(self.enter(camera.transpose(1, 2)))
        return self.leave(nn.functional.gelu(h.mean(-1)))


class SlotNet(nn.Module):
    """What one colour does: crops `[S, 17, 3, 40, 40]`, moments `[S, 17, 14]`, camera `[S, 17, 8]` to `Logits`."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in ((CROP_PLANES, 16), (16, 32), (32, 48)):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        side = WINDOW // 8
        self.look = nn.Sequential(*stages, nn.Flatten(), nn.Linear(48 * side * side, WIDTH))
        self.measure = nn.Linear(MOMENTS + CAMERA, WIDTH)
        self.time = nn.Sequential(*(TimeBlock(WIDTH, dilation) for dilation in (1, 2, 4)))
        self.mix = nn.Linear(4 * WIDTH, WIDTH)
        self.present = nn.Linear(WIDTH, 1)
        self.shape = nn.Linear(WIDTH, len(SHAPES))
        self.motion = nn.Linear(WIDTH, len(MOTIONS))
        self.direction = nn.Linear(WIDTH, len(DIRECTIONS))

    def forward(self, crops: Tensor, moments: Tensor, camera: Tensor) -> Logits:
        slots, frames = crops.shape[:2]
        seen = self.look(crops.flatten(0, 1)).view(slots, frames, WIDTH)
        h = self.time((seen + self.measure(torch.cat([moments, camera], -1))).transpose(1, 2))
        third = frames // 3
        summary = torch.cat([h.mean(-1), h.amax(-1), h[..., :third].mean(-1), h[..., -third:].mean(-1)], -1)
        h = nn.functional.gelu(self.mix(nn.functional.gelu(summary)))
        return Logits(self.present(h)[:, 0], self.shape(h), self.motion(h), self.direction(h))


class ReaderNet(nn.Module):
    """Both networks, so that one state dict holds the reader."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.camera = SlotNet(), CameraNet()
