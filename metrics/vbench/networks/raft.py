"""RAFT (Teed and Deng 2020, large) as VBench runs it: torchvision's network, the official weights, 20 iterations.

The flow of vbench 0.1.5 third_party/RAFT, within 1e-5 px on a CPU, at two thirds of its arithmetic: a frame is encoded
once although it belongs to two pairs, mask and upsampling are computed for the last iteration only, and what the
recurrent units make of the context once. torchvision's own forward does none of this, and refuses frames below 128 px,
which VBench scores.

Memory of a pair of h x w frames beside the weights (42 MB): the correlation pyramid dominates, 5.3 (h w / 64)^2 bytes,
0.21 GB at 480x832 and 5.6 GB at 1080x1920; at its peak, measured on a CPU, a pair at 480x832 takes 0.37 GB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import UserError
from harness.networks import checkpoints

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torchvision.models.optical_flow import RAFT
    from torchvision.models.optical_flow.raft import ConvGRU

WHO = "RAFT"
ITERATIONS, LEVELS, RADIUS = 20, 4, 4  # dynamic_degree.py; core/raft.py

_RENAMED = [  # torchvision's name -> that of raft-things.pth; the first that fits a part
    (r"^feature_encoder", "fnet"),
    (r"^context_encoder", "cnet"),
    (r"net\.convnormrelu\.0", "net.conv1"),
    (r"net\.convnormrelu\.1", "net.norm1"),
    (r"net\.conv\.", "net.conv2."),
    (r"convnormrelu(\d)\.0", r"conv\1"),
    (r"convnormrelu(\d)\.1", r"norm\1"),
    (r"motion_encoder\.convcorr(\d)\.0", r"encoder.convc\1"),
    (r"motion_encoder\.convflow(\d)\.0", r"encoder.convf\1"),
    (r"motion_encoder\.conv\.0", "encoder.conv"),
    (r"recurrent_block\.convgru(\d)\.(conv[zrq])", r"gru.\2\1"),
    (r"^mask_predictor\.convrelu\.0", "update_block.mask.0"),
    (r"^mask_predictor\.conv\.", "update_block.mask.2."),
]


def official_names(name: str) -> tuple[str, ...]:
    """What raft-things.pth calls a tensor of torchvision's network, without `module.`.

    The norm of a shortcut is there twice, as `downsample.1` and as `norm3`; official code loads the former last.
    """
    for theirs, ours in _RENAMED:
        name = re.sub(theirs, ours, name)
    return (name, name.replace("downsample.1", "norm3")) if "downsample.1" in name else (name,)


def network() -> RAFT:
    """torchvision's raft_large, not initialised."""
    import torch
    from torchvision.models.optical_flow import raft_large

    with torch.device("meta"):
        return raft_large(weights=None, progress=False)


@dataclass
class Frame:
    """What a frame contributes to the flow from it and to it; the former is computed when first asked for."""

    image: Tensor  # [1, 3, h, w] in [-1, 1], padded
    features: Tensor  # [1, 256, h / 8, w / 8]
    context: tuple[Tensor, Tensor] | None = None  # hidden state at the start, and context; [1, 128, h / 8, w / 8]


class Flow:
    """RAFT on one device. `encode` frames, then ask for the `flow` between any two.

    Raises:
        UserError: the file is not raft-things.pth; names what does not fit.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        net = network()
        state = checkpoints.read(path, WHO)
        known = {name: official_names(name) for name in net.state_dict()}
        _check_names(state, {name for names in known.values() for name in names}, path)
        checkpoints.fill(net, {name: state[names[0]] for name, names in known.items()}, path, WHO)
        self.net = net.to(device).eval().requires_grad_(False)
        block = self.net.update_block.recurrent_block
        self.recurrences = [Recurrence(block.convgru1), Recurrence(block.convgru2)]

    def encode(self, image: Tensor) -> Frame:
        """One frame, uint8 `[3, H, W]` on the device."""
        scaled = 2 * (pad(image[None].float(), 8) / 255.0) - 1.0
        return Frame(scaled, self.net.feature_encoder(scaled).float())

    def flow(self, first: Frame, second: Frame) -> Tensor:
        """Displacement of every pixel of the padded first frame, in pixels: float32 `[2, h, w]`, x then y."""
        import torch
        from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

        update = self.net.update_block
        hidden, context = self._context(first)
        steady = [recurrence.steady(context) for recurrence in self.recurrences]
        _, _, height, width = first.features.shape
        levels = halved(correlations(first.features, second.features), height, width, LEVELS)
        start = make_coords_grid(1, height, width).to(first.features.device)
        coords = start
        for _ in range(ITERATIONS):
            motion = update.motion_encoder(coords - start, look_up(levels, coords, RADIUS))
            for recurrence, part in zip(self.recurrences, steady, strict=True):
                hidden = recurrence(hidden, motion, part)
            coords = coords + update.flow_head(hidden).float()
        return torch.as_tensor(upsample_flow(coords - start, self.net.mask_predictor(hidden).float()))[0]

    def _context(self, frame: Frame) -> tuple[Tensor, Tensor]:
        if frame.context is None:
            hidden, context = self.net.context_encoder(frame.image).split(128, dim=1)
            frame.context = hidden.tanh(), context.relu()
        return frame.context


class Recurrence:
    """One gated recurrent unit (core/update.py, SepConvGRU) that adds the context's part, the same in all iterations,
    to convolutions of state and motion: the sums are the official ones in another order."""

    def __init__(self, unit: ConvGRU) -> None:
        import torch

        gates = [unit.convz, unit.convr, unit.convq]
        self.padding = unit.convz.padding
        weights = torch.stack([gate.weight for gate in gates])  # [3, 128, 384, ...]: of state, context and motion
        self.of_context = weights[:, :, 128:256].flatten(0, 1).contiguous()
        self.bias = torch.cat([gate.bias for gate in gates])
        others = torch.cat([weights[:, :, :128], weights[:, :, 256:]], dim=2)
        self.of_gates, self.of_candidate = others[:2].flatten(0, 1).contiguous(), others[2].contiguous()

    def steady(self, context: Tensor) -> Tensor:
        """`[1, 384, h, w]` of the context `[1, 128, h, w]`."""
        return self._conv(context, self.of_context, self.bias)

    def __call__(self, state: Tensor, motion: Tensor, steady: Tensor) -> Tensor:
        """The next state; all `[1, 128, h, w]`."""
        import torch

        update_reset = self._conv(torch.cat([state, motion], 1), self.of_gates) + steady[:, :256]
        update, reset = update_reset.sigmoid().chunk(2, 1)
        candidate = self._conv(torch.cat([reset * state, motion], 1), self.of_candidate) + steady[:, 256:]
        return (1 - update) * state + update * candidate.tanh()

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        import torch.nn.functional as F

        return F.conv2d(x, weight, bias, padding=self.padding)


@cache
def load(path: Path, device: torch.device) -> Flow:
    """One RAFT for all dimensions of this process that ask for it on this device. Raises UserError."""
    return Flow(path, device)


def pad(images: Tensor, multiple: int) -> Tensor:
    """`[..., H, W]` with edge pixels repeated on all sides to the next multiple, as both official InputPadders do."""
    import torch.nn.functional as F

    rows, columns = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return F.pad(images, sides, mode="replicate")


def correlations(first: Tensor, second: Tensor) -> Tensor:
    """Products of the features `[1, C, h, w]` of every two places, scaled: `[h w, h w]` (core/corr.py)."""
    import torch

    _, channels, _, _ = first.shape
    with torch.autocast(first.device.type, enabled=False):  # float32 in the official mixed precision too
        products: Tensor = first[0].flatten(1).T @ second[0].flatten(1) / channels**0.5
    return products


def halved(products: Tensor, height: int, width: int, levels: int) -> list[Tensor]:
    """Rows of products as pictures of the second frame, `[h w, 1, h / 2^i, w / 2^i]` for every level i."""
    import torch.nn.functional as F

    pictures = [products.reshape(-1, 1, height, width)]
    while len(pictures) < levels:
        pictures.append(F.avg_pool2d(pictures[-1], 2, stride=2))
    return pictures


def look_up(levels: list[Tensor], coords: Tensor, radius: int) -> Tensor:
    """Correlations within `radius` of coords `[1, 2, h, w]` on every level, `[1, levels (2 radius + 1)^2, h, w]`.

    A level one pixel wide divides by zero, as the official code does: frames below 128 px.
    """
    import torch
    import torch.nn.functional as F

    _, _, height, width = coords.shape
    offsets = torch.linspace(-radius, radius, 2 * radius + 1, device=coords.device)
    window = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1)  # x and y swapped: trained so
    centres = coords.permute(0, 2, 3, 1).reshape(height * width, 1, 1, 2)
    found = []
    for index, level in enumerate(levels):
        extent = torch.tensor([level.shape[-1] - 1, level.shape[-2] - 1], device=coords.device)
        grid = 2 * (centres / 2**index + window) / extent - 1
        found.append(F.grid_sample(level, grid, align_corners=True).view(1, height, width, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2).contiguous()


def _check_names(state: Mapping[str, Tensor], expected: set[str], path: Path) -> None:
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unknown:
        words = [f"{what} {', '.join(names[:3])}" for what, names in (("lacks", missing), ("has", unknown)) if names]
        raise UserError(
            f"{WHO}: {path} is not raft-things.pth: it {' and '.join(words)}", "is it another model's checkpoint?"
        )
