"""A random raft-things.pth whose flow nevertheless follows motion: near zero on still clips, clearly more on others.

Random networks match nothing. So the features are made smooth in space, and a thin path through the recurrent block is
laid by hand: where the nearest correlations lean to one side, and the place is not matched already, the flow goes.
All other weights are random, and move the flow by a fraction of a pixel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.vbench.networks.raft import RADIUS, network, official_names
from metrics.vbench.seeded import fill, save

if TYPE_CHECKING:
    from torch import Tensor

DEVIATIONS = {"encoder.convc1.weight": 0.004, "flow_head.conv2.weight": 6e-5, "fnet.conv2.weight": 0.125}
CLIP = 5.0  # correlation difference from which on a lean counts no more
MATCHED = 20.0  # correlation above which a place begins to count as matched
DEAD_ZONE = 0.1  # of the mean lean, in CLIP
STEP = 0.25  # flow per iteration and unit of lean, in cells of 8 pixels
BORDER = 50.0  # what keeps cells still of which the convolutions see the zeros around the picture
FORGET = 4.0  # bias of the update gates: the old state is left behind


def write(path: Path, seed: int) -> None:
    """Write a checkpoint with the names and shapes of the published one, each tensor a function of seed and name."""
    names = {official_names(name): like for name, like in network().state_dict().items()}
    state = fill({first: like for (first, *_), like in names.items()}, seed, DEVIATIONS)
    _smooth_features(state)
    _lay_path(state)
    save({f"module.{name}": state[aliases[0]] for aliases in names for name in aliases}, path)


def _smooth_features(state: dict[str, Tensor]) -> None:
    """Blurring kernels from half resolution on; products of features have mean zero at unrelated places."""
    import torch

    binomial = torch.tensor([0.25, 0.5, 0.25])
    for name, weight in state.items():
        if re.fullmatch(r"fnet\.layer[23]\.\d\.conv\d\.weight", name):
            weight.copy_(0.03 * weight + weight[:, :, 1:2, 1:2] * torch.outer(binomial, binomial))
    state["fnet.conv2.weight"] -= state["fnet.conv2.weight"].mean(1, keepdim=True)


def _lay_path(state: dict[str, Tensor]) -> None:
    """Four channels, x and y with both signs, from the correlations to the flow. `state` is changed in place."""
    import torch

    box = torch.full((3, 3), 1 / 9)
    # Correlations: eight leans, x and y with both signs, cut off below -CLIP and CLIP; a constant; the match itself.
    side = 2 * RADIUS + 1
    offsets = torch.arange(side) - RADIUS
    near = (offsets.abs() <= 1).float()
    x = (offsets * near)[:, None] * near  # the window's first axis moves x
    window, bias = _emptied(state, "encoder.convc1", 10)
    window[:8, : side * side, 0, 0] = torch.stack([x, x, -x, -x, x.T, x.T, -x.T, -x.T]).flatten(1) / CLIP
    window[9, side * side // 2] = 1 / CLIP
    bias[:] = torch.tensor([1, -1, 1, -1, 1, -1, 1, -1, 1, -MATCHED / CLIP])
    # Means over nine cells: leans clipped both ways, relu(a + c) - relu(a - c); where there is no border; matches.
    weight, bias = _emptied(state, "encoder.convc2", 6)
    clipped = torch.tensor([[1, -1, -1, 1], [-1, 1, 1, -1]]) / 2
    weight[:4, :8] = torch.block_diag(clipped, clipped)[:, :, None, None] * box
    weight[4, 8] = weight[5, 9] = box
    bias[:4] = 1
    # Once more; what remains beyond the dead zone, at unmatched places inside.
    weight, bias = _emptied(state, "encoder.conv", 4)
    opposed = torch.tensor([[1, -1], [-1, 1]]) / 2
    weight[:, :4] = torch.block_diag(opposed, opposed)[:, :, None, None] * box
    weight[:, 4], weight[:, 5] = BORDER * box, -box
    bias[:] = -DEAD_ZONE - BORDER
    # Through the recurrent block, where it comes after 128 channels of state and 128 of context, to the flow.
    for name, first in (("gru.convq1", 256), ("gru.convq2", 256), ("flow_head.conv1", 0)):
        weight, _ = _emptied(state, name, 4)
        weight[:, first : first + 4, weight.shape[2] // 2, weight.shape[3] // 2] = torch.eye(4)
    for name in ("gru.convz1", "gru.convz2"):
        _emptied(state, name, 4)[1][:] = FORGET
    state["update_block.flow_head.conv2.weight"][:, :4] = 0
    state["update_block.flow_head.conv2.weight"][:, :4, 1, 1] = STEP * torch.tensor([[1, -1, 0, 0], [0, 0, 1, -1]])
    state["update_block.flow_head.conv2.bias"][:] = 0


def _emptied(state: dict[str, Tensor], name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution's first output channels, set to zero."""
    weight, bias = (state[f"update_block.{name}.{kind}"][:channels] for kind in ("weight", "bias"))
    return weight.zero_(), bias.zero_()
