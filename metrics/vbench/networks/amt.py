"""AMT-S (Li et al. 2023): the frame half way between two, as VBench's motion_smoothness asks for it.

Written from vbench 0.1.5 third_party/amt (networks/AMT-S.py and its blocks, cfgs/AMT-S.yaml), with the module names of
its checkpoint amt-s.pth. Every operation is in the official order, so that its values are the official ones: they are
cut off to whole grey levels afterwards.

The two frames are encoded after the mean of both is taken off, so nothing of a frame can be kept for the next pair.

Memory of a pair of h x w frames beside the weights (12 MB): about 0.5 kB a pixel and 10.7 (h w / 64)^2 bytes of
correlations; measured on a CPU 0.63 GB at 480x832.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.networks import checkpoints
from metrics.vbench.networks.raft import correlations, halved, look_up, pad

WHO = "AMT-S"
CHANNELS, MAPS, SIDE_CHANNELS, FLOWS = (20, 32, 44, 56), 84, 20, 3
HIDDEN, FLOW_CHANNELS, MOTION, SEEN = 76, 20, 68, 64  # of an update block
LEVELS, RADIUS = 4, 3
MULTIPLE = 16  # frames are padded to that


@cache
def load(path: Path, device: torch.device) -> AMT:
    """The network with the tensors of amt-s.pth, none missing or left over. Raises UserError."""
    with torch.device("meta"):
        net = AMT()
    checkpoints.fill(net, checkpoints.read(path, WHO, inside="state_dict"), path, WHO)
    return net.to(device).eval().requires_grad_(False)


class AMT(nn.Module):
    """Two frames to the one between them."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = CHANNELS
        self.feat_encoder = MapEncoder()
        self.encoder = Pyramid()
        self.decoder4 = Decoder(2 * fourth + 1, 2 * fourth, third + 4)
        self.decoder3 = Decoder(3 * third + 4, 3 * third, second + 4)
        self.decoder2 = Decoder(3 * second + 4, 3 * second, first + 4)
        self.decoder1 = Decoder(3 * first + 4, 3 * first, 8 * FLOWS)
        self.update4 = Update(third, 1)
        self.update3 = Update(second, 2)
        self.update2 = Update(first, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * FLOWS, 6 * FLOWS, 3, padding=1), nn.PReLU(6 * FLOWS), nn.Conv2d(6 * FLOWS, 3, 3, padding=1)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The frame at t = 0.5, in [0, 1], of two `[1, 3, h, w]` in [0, 1]; sides are multiples of 16."""
        mean = torch.cat([first, second], 2).mean(1, keepdim=True).mean(2, keepdim=True).mean(3, keepdim=True)
        images = first - mean, second - mean
        look = _looker(*self.feat_encoder(torch.cat(images)).float().split(1))
        *near, far = zip(self.encoder(images[0]), self.encoder(images[1]), strict=True)
        half = far[0].new_full((1, 1, *far[0].shape[2:]), 0.5)  # the time
        flows, state = self.decoder4(torch.cat([*far, half], 1)).split([4, CHANNELS[2]], 1)
        for decoder, update, features in [
            (self.decoder3, self.update4, near[2]),
            (self.decoder2, self.update3, near[1]),
            (self.decoder1, self.update2, near[0]),
        ]:
            flows, state = update(flows, state, look)
            out = decoder(torch.cat([state, *_warped(features, flows), flows], 1))
            if decoder is not self.decoder1:
                steps, state = out.split([4, out.shape[1] - 4], 1)
                flows = steps + 2.0 * resize(flows, 2.0)
        return self._combine(images, mean, flows, out)

    def guess(self, before: Tensor, after: Tensor) -> Tensor:
        """The frame between two, all uint8 `[3, H, W]`. Grey levels are cut off, not rounded; NaN is black."""
        _, height, width = before.shape
        images = (pad(image[None] / 255.0, MULTIPLE) for image in (before, after))
        top, left = -height % MULTIPLE // 2, -width % MULTIPLE // 2
        middle: Tensor = self(*images)[0, :, top : top + height, left : left + width]
        return (middle.float() * 255.0).nan_to_num(nan=0.0).clamp(0, 255).to(torch.uint8)

    def _combine(self, images: tuple[Tensor, Tensor], mean: Tensor, flows: Tensor, out: Tensor) -> Tensor:
        """Mean of three blends, each with its own flows, mask and residual, and a correction (multi_flow.py)."""
        _, _, height, width = images[0].shape
        steps, mask, residual = out.split([4 * FLOWS, FLOWS, 3 * FLOWS], 1)
        coarse = 2.0 * resize(flows, 2.0)
        moved = []
        for image, step, flow in zip(images, steps.chunk(2, 1), coarse.chunk(2, 1), strict=True):
            fine = (step + flow.repeat(1, FLOWS, 1, 1)).reshape(FLOWS, 2, height, width)
            moved.append(warp(image.expand(FLOWS, -1, -1, -1), fine))
        share = torch.sigmoid(mask).reshape(FLOWS, 1, height, width)
        blends = share * moved[0] + (1 - share) * moved[1] + mean + residual.reshape(FLOWS, 3, height, width)
        return torch.clamp(blends.mean(0, keepdim=True) + self.comb_block(blends.reshape(1, -1, height, width)), 0, 1)


# ---- parts -----------------------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions; its instance norms have no parameters (feat_enc.py)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs // 4, 1)
        self.conv2 = nn.Conv2d(outputs // 4, outputs // 4, 3, stride, 1)
        self.conv3 = nn.Conv2d(outputs // 4, outputs, 1)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in (self.conv1, self.conv2, self.conv3):
            y = F.relu(F.instance_norm(conv(y)))
        return F.relu((F.instance_norm(self.downsample(x)) if self.downsample is not None else x) + y)


class MapEncoder(nn.Module):
    """Maps to correlate, `[N, 84, h / 8, w / 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, 1), Bottleneck(32, 32, 1))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, 2), Bottleneck(64, 64, 1))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, 2), Bottleneck(96, 96, 1))
        self.conv2 = nn.Conv2d(96, MAPS, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.instance_norm(self.conv1(images)))
        return torch.as_tensor(self.conv2(self.layer3(self.layer2(self.layer1(x)))))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class Pyramid(nn.Module):
    """Features at 1/2, 1/4, 1/8 and 1/16 of the size (ifrnet.py, Encoder)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for level, outputs in enumerate(CHANNELS, 1):
            self.add_module(f"pyramid{level}", nn.Sequential(_conv(inputs, outputs, 2), _conv(outputs, outputs)))
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x := level(x) for level in self.children()]


class SideBlock(nn.Module):
    """Residual block whose last channels pass further convolutions of their own (ifrnet.py, ResBlock)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv3, self.conv4 = _conv(channels, channels), _conv(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv5, self.prelu = nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)
        self.split = [channels - SIDE_CHANNELS, SIDE_CHANNELS]

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for whole, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            kept, passed = whole(y).split(self.split, 1)
            y = torch.cat([kept, side(passed)], 1)
        return torch.as_tensor(self.prelu(x + self.conv5(y)))


class Decoder(nn.Module):
    """From one level to the next finer one."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _conv(inputs, inner), SideBlock(inner), nn.ConvTranspose2d(inner, outputs, 4, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.convblock(x))


class Update(nn.Module):
    """What correlations say of flows and features `scale` times as fine as they (raft.py, SmallUpdateBlock)."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.convc1 = nn.Conv2d(2 * LEVELS * (2 * RADIUS + 1) ** 2, SEEN, 1)
        self.convf1 = nn.Conv2d(4, 2 * FLOW_CHANNELS, 7, padding=3)
        self.convf2 = nn.Conv2d(2 * FLOW_CHANNELS, FLOW_CHANNELS, 3, padding=1)
        self.conv = nn.Conv2d(SEEN + FLOW_CHANNELS, MOTION, 3, padding=1)
        self.gru, self.feat_head, self.flow_head = (
            nn.Sequential(
                nn.Conv2d(inputs, HIDDEN, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(HIDDEN, outputs, 3, padding=1)
            )
            for inputs, outputs in [(MOTION + 4 + channels, HIDDEN), (HIDDEN, channels), (HIDDEN, 4)]
        )

    def forward(self, flows: Tensor, state: Tensor, look: Looker) -> tuple[Tensor, Tensor]:
        """Both improved. Flows to the first and the second frame, `[1, 4, h, w]`; features `[1, C, h, w]`."""
        scale, act = self.scale, partial(F.leaky_relu, negative_slope=0.1)
        small, coarse = state, flows
        if scale > 1:
            small, coarse = resize(state, 1 / scale), 1 / scale * resize(flows, 1 / scale)
        seen = act(self.convc1(look(coarse)))
        moved = act(self.convf2(act(self.convf1(coarse))))
        motion = act(self.conv(torch.cat([seen, moved], 1)))
        out = self.gru(torch.cat([motion, coarse, small], 1))
        more, steps = self.feat_head(out), self.flow_head(out)
        if scale > 1:
            more, steps = resize(more, scale), scale * resize(steps, scale)
        return flows + steps, state + more


# ---- functions -------------------------------------------------------------------------------------------------

Looker = Callable[[Tensor], Tensor]


def _looker(first: Tensor, second: Tensor) -> Looker:
    """Correlations `[1, 392, h, w]` where flows `[1, 4, h, w]` from the middle lead, in both frames (AMT-S.py)."""
    _, _, height, width = first.shape
    products = correlations(first, second)
    there, back = (halved(way, height, width, LEVELS) for way in (products, products.T))
    ys, xs = torch.meshgrid(*(torch.arange(n, device=first.device) for n in (height, width)), indexing="ij")
    here = torch.stack([xs, ys]).float()[None]

    def look(flows: Tensor) -> Tensor:
        to_first, to_second = flows.float().chunk(2, 1)  # from half way: doubled from end to end
        seen = look_up(there, here + to_second * 2.0, RADIUS), look_up(back, here + to_first * 2.0, RADIUS)
        return torch.cat(seen, 1)

    return look


def _warped(features: tuple[Tensor, Tensor], flows: Tensor) -> tuple[Tensor, Tensor]:
    to_first, to_second = flows.chunk(2, 1)
    return warp(features[0], to_first), warp(features[1], to_second)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """`[N, C, h, w]` as seen along a flow `[N, 2, h, w]` in pixels, edges repeated (utils/flow_utils.py)."""
    _, _, height, width = flow.shape
    xs, ys = (torch.linspace(-1.0, 1.0, n, device=flow.device) for n in (width, height))
    at_x = xs + flow[:, 0] / ((width - 1.0) / 2.0)
    at_y = ys[:, None] + flow[:, 1] / ((height - 1.0) / 2.0)
    grid = torch.stack([at_x, at_y], dim=-1)
    return F.grid_sample(image.to(grid.dtype), grid, padding_mode="border", align_corners=True)


def resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
