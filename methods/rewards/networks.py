"""The two small networks behind the embedded world's rewards. Smooth throughout, for their gradients.

Both look at frames through queries: a query is a map of attention over the frame, and what it sees is the mean
feature under it. The world shows a colour at most once, so a query per colour finds every object there can be.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, pad

from methods.rewards.language import COLOURS, LONGEST, SHAPES, WORDS

SIDE = 64  # pixels; frames of another size are resized
PAINTS = (  # of COLOURS, as the world mixes them, before light and background
    *((208, 58, 54), (58, 166, 80), (64, 108, 216), (226, 192, 62), (158, 76, 190)),
    (224, 224, 224),
)
CLASSES = len(SHAPES) + 1  # the last one: not there
SPARE = 2  # queries of the video tower that are no colour's, for the background


def to_side(frames: Tensor) -> Tensor:
    """Frames `[N, 3, H, W]` at 64 x 64, around zero."""
    if frames.shape[-2:] != (SIDE, SIDE):
        frames = interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return 4 * frames - 2


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation)
    return nn.Sequential(conv, nn.GroupNorm(8, outputs), nn.SiLU())


def look(scores: Tensor) -> Tensor:
    """Where maps of attention `[N, Q, h, w]` look, `[N, Q, 5]`: x, y, spread in x and y, strength.

    Places are in half frames from the middle; the strength is the log of the sum over the map, before it is normalised.
    """
    h, w = scores.shape[-2:]
    share = scores.flatten(2).softmax(-1)
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, h, dtype=scores.dtype, device=scores.device),
        torch.linspace(-1, 1, w, dtype=scores.dtype, device=scores.device),
        indexing="ij",
    )
    place = torch.stack([x.flatten(), y.flatten()], -1)
    centre = share @ place
    spread = share @ place.square() - centre.square()
    return torch.cat([centre, spread, scores.flatten(2).logsumexp(-1, keepdim=True) / 8], -1)


class Queries(nn.Module):
    """Features `[N, D, h, w]` to what each query sees, `[N, Q, D]`, and where it looks, `[N, Q, 5]`."""

    sharpness = 5.0  # as the reader's

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, count, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.sharpness * self.score(features)
        return scores.flatten(2).softmax(-1) @ features.flatten(2).transpose(1, 2), look(scores)


@torch.no_grad()
def _start_from_paints(into: nn.Conv2d, out: nn.Conv2d) -> None:
    """Let every colour's first map begin with its hue (white's with brightness): from noise, some never find it."""
    hues = torch.tensor(PAINTS, dtype=torch.float32)
    hues[:-1] -= hues[:-1].mean(1, keepdim=True)
    into.weight[: len(hues)] = (hues / hues.norm(dim=1, keepdim=True))[:, :, None, None] / 16
    out.weight[::3] = torch.eye(len(hues), out.in_channels)[:, :, None, None]
    for bias, rows, start in ((into.bias, slice(len(hues)), -0.5), (out.bias, slice(None, None, 3), 0.0)):
        if bias is not None:
            bias[rows] = start


class Reader(nn.Module):
    """Frames `[N, 3, H, W]` in [0, 1] to logits `[N, 6 colours, 5 shapes + absent]`.

    Pixels are mixed into three maps per colour, the first of which says where to look; one network, the same for all
    colours, reads a window around there. Everything is soft, so gradients move objects as well as shape them.
    """

    window, cells = 0.625, 24  # half width of the window in half frames (40 of 64 pixels), and samples across it
    sharpness = 10.0  # of the first map; flat maps would look at the middle of everything

    around: Tensor

    def __init__(self) -> None:
        super().__init__()
        into, out = nn.Conv2d(3, 24, 4, 2, 1), nn.Conv2d(24, 3 * len(COLOURS), 1)
        self.paint = nn.Sequential(into, nn.SiLU(), out)
        self.trunk = nn.Sequential(_layer(3, 24, 3), _layer(24, 32, 3, stride=2), _layer(32, 32, 3, stride=2))
        self.head = nn.Sequential(nn.Linear(32 * (self.cells // 4) ** 2 + 5, 64), nn.SiLU(), nn.Linear(64, CLASSES))
        across = self.window * torch.linspace(-1, 1, self.cells)
        y, x = torch.meshgrid(across, across, indexing="ij")
        self.register_buffer("around", torch.stack([x, y], -1), persistent=False)
        _start_from_paints(into, out)

    def forward(self, frames: Tensor) -> Tensor:
        maps = self.paint(to_side(frames)).unflatten(1, (len(COLOURS), 3)).flatten(0, 1)  # [N 6, 3, 32, 32]
        where = look(self.sharpness * maps[:, :1])[:, 0]
        grid = where[:, None, None, :2] + self.around
        seen = self.trunk(grid_sample(maps, grid, padding_mode="border", align_corners=True)).flatten(1)
        logits: Tensor = self.head(torch.cat([seen, where], -1))
        return logits.unflatten(0, (len(frames), -1))


class VideoTower(nn.Module):
    """Clips `[B, 3, T, H, W]` in [0, 1] to embeddings `[B, D]`. Frames come with the change to the next one."""

    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        queries, width = len(COLOURS) + SPARE, 48
        self.trunk = nn.Sequential(_layer(6, 32, 7, stride=4), _layer(32, 40, 3), _layer(40, width, 3, dilation=2))
        self.queries = Queries(width, queries)
        self.time = nn.Sequential(
            nn.Conv1d(width + 5, 64, 3, padding=1), nn.SiLU(), nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.SiLU()
        )
        self.which = nn.Parameter(torch.randn(queries, 64) / 4)
        self.story = nn.Sequential(nn.Linear(64 * ((frames + 1) // 2), 128), nn.SiLU())
        self.tell = nn.Sequential(nn.Linear(128 + 64, 192), nn.SiLU(), nn.Linear(192, size))

    def forward(self, video: Tensor) -> Tensor:
        b, _, t = video.shape[:3]
        frames = to_side(video.transpose(1, 2).flatten(0, 1))
        still = frames.unflatten(0, (b, t))
        change = pad(still[:, 1:] - still[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        seen, where = self.queries(self.trunk(torch.cat([frames, change], 1)))
        paths = torch.cat([seen, where], -1).unflatten(0, (b, t)).permute(0, 2, 3, 1)  # [B, Q, D, T]
        told = self.story(self.time(paths.flatten(0, 1)).flatten(1)).unflatten(0, (b, -1))
        parts: Tensor = self.tell(torch.cat([told, self.which.expand(b, -1, -1)], -1))
        return parts.sum(1)


class TextTower(nn.Module):
    """Word numbers `[B, P, L]`, 0 where there is no word, to embeddings `[B, D]`: a sum over phrases, in any order."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 1, 24, padding_idx=0)
        self.phrase = nn.Sequential(nn.Linear(24 * LONGEST, 192), nn.SiLU(), nn.Linear(192, size))

    def forward(self, words: Tensor) -> Tensor:
        said: Tensor = self.phrase(self.words(words).flatten(2))
        return (said * (words > 0).any(-1, keepdim=True)).sum(1)


class VideoText(nn.Module):
    """The two towers, and the contrastive temperature they were trained with."""

    def __init__(self, frames: int = 8, size: int = 96) -> None:
        super().__init__()
        self.video, self.text = VideoTower(frames, size), TextTower(size)
        self.scale = nn.Parameter(torch.tensor(2.5))  # log of what cosines are multiplied by
