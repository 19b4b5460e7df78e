"""A random l16_ptk710_ftk710_ftk400_f16_res224.pth: the names and sizes of UMT ViT-L/16 in float16, without positions.

The published file has 607 024 201 bytes: 2 for each of these 303 484 304 numbers, and some for their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metrics.vbench.seeded import fill, save

if TYPE_CHECKING:
    from metrics.vbench.networks.umt import Sizes

SPREAD = 0.75  # deviation of the logits: of 400 actions a few then have the probability 0.85 that counts


def write(path: Path, seed: int) -> None:
    """303 million parameters, 607 MB."""
    from metrics.vbench.networks.umt import Sizes

    _write(path, seed, Sizes())


def write_small(path: Path, seed: int) -> None:
    """Two narrow layers, which the official package does not read; 0.3 MB."""
    from metrics.vbench.networks.umt import Sizes

    _write(path, seed, Sizes(width=64, layers=2))


def _write(path: Path, seed: int, sizes: Sizes) -> None:
    import torch

    from metrics.vbench.networks.umt import UMT

    with torch.device("meta"):
        names = UMT(sizes).state_dict()
    del names["pos_embed"]
    state = fill(names, seed, {"head.weight": SPREAD * sizes.width**-0.5})
    save({name: value.half() for name, value in state.items()}, path)
