"""A random amt-s.pth."""

from __future__ import annotations

from pathlib import Path

from metrics.vbench.seeded import fill

# what ends in flows, masks and residuals: small, so that the frame between is a blend of the two and shows their motion
SMALL = {
    "convblock.2.weight": 0.003,
    "convblock.2.bias": 0.01,
    "comb_block.2.weight": 0.004,
    "comb_block.2.bias": 0.004,
    "flow_head.2.weight": 0.004,
    "flow_head.2.bias": 0.01,
}


def write(path: Path, seed: int) -> None:
    """Write a checkpoint with the names and shapes of the published one, under `state_dict` as there."""
    import torch

    from metrics.vbench.networks.amt import AMT

    with torch.device("meta"):
        state = AMT().state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    filled = fill(state, seed, SMALL)
    slopes = {name: 0.25 * value for name, value in filled.items() if name.endswith("weight") and value.ndim == 1}
    torch.save({"state_dict": filled | slopes}, path)
