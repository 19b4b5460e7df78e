"""The video encoder behind the embedded metric: VideoMAE's architecture at 0.7 M parameters, 16 frames of 64 x 64."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.networks import checkpoints
from metrics.cdfvd.networks.videomae import Shape, VideoMAE

SMALL = Shape(
    side=64, patch=8, frames=16, tubelet=2, width=128, depth=4, heads=4, hidden=384, classes=0, separable=True
)
MEAN, SPREAD = 0.45, 0.2  # of the embedded world's pixels in [0, 1], about
WEIGHTS = Path(__file__).parents[1] / "weights" / "encoder.safetensors"
TRAIN_COMMAND = "python -m metrics.cdfvd.train_shapes"


class SmallEncoder(nn.Module):
    """What a clip shows and how it changes, `[B, 3, 16, 64, 64]` to `[B, 256]`, each number of mean 0 and deviation 1
    over clean clips.

    128 numbers are the mean over all tokens. They hardly feel motion: shuffled clips look like others to them. The
    other 128 are the mean size of a token's second difference through time: little where things move evenly, much
    where they jump or shake, none where they stand.
    """

    def __init__(self, encoder: VideoMAE) -> None:
        super().__init__()
        self.encoder = encoder
        size = 2 * encoder.shape.width
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def raw(self, video: Tensor) -> Tensor:
        """The numbers as they come."""
        tokens = self.encoder.fc_norm(self.encoder.encode(self.encoder.embed(video)))
        grid = tokens.unflatten(1, (-1, self.encoder.shape.grid[1] * self.encoder.shape.grid[2]))
        return torch.cat([grid.mean((1, 2)), grid.diff(n=2, dim=1).abs().mean((1, 2))], 1)

    def forward(self, video: Tensor) -> Tensor:
        return (self.raw(video) - self.shift) / self.scale

    def stills(self, frames: Tensor) -> Tensor:
        """What single frames show, `[n, 3, 64, 64]` to `[n, 128]`: each as a clip of two equal frames."""
        width = self.encoder.shape.width
        pairs = frames[:, :, None].expand(-1, -1, self.encoder.shape.tubelet, -1, -1)
        tokens = self.encoder.fc_norm(self.encoder.encode(self.encoder.embed(pairs)))
        return (tokens.mean(1) - self.shift[:width]) / self.scale[:width]

    def calibrate(self, clips: Tensor) -> None:
        """Set mean and deviation by clean clips `[N, 3, 16, 64, 64]`, a dozen at a time."""
        with torch.inference_mode():
            found = torch.cat([self.raw(part) for part in clips.split(12)])
        self.shift, self.scale = found.mean(0).clone(), found.std(0).clone()


def pixels(frames: Tensor) -> Tensor:
    """What the encoder is given of uint8 frames of any layout."""
    return (frames.float() / 255 - MEAN) / SPREAD


def load(path: Path = WEIGHTS, device: torch.device | None = None) -> SmallEncoder:
    """The trained encoder in float32 (its file holds float16). Raises UserError when the file is missing or differs."""
    if not path.is_file():
        raise UserError(f"the weights of the shapes video encoder are missing: {path}", f"make them: {TRAIN_COMMAND}")
    who = "shapes video encoder"
    with torch.device("meta"):
        net = SmallEncoder(VideoMAE(SMALL))
    checkpoints.fill(net, checkpoints.read(path, who), path, who)
    return net.eval().requires_grad_(False).to(device or torch.device("cpu"))
