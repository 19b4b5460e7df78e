"""A random ViClip-InternVid-10M-FLT.pth: the names and sizes of ViCLIP-L/14."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metrics.vbench.seeded import fill

if TYPE_CHECKING:
    from harness.networks.viclip import Sizes

DEVIATIONS = {"temporal_positional_embedding": 0.3, "positional_embedding": 0.3, "conv1.weight": 0.1}


def write(path: Path, seed: int) -> None:
    """428 million parameters, 1.7 GB."""
    from harness.networks.viclip import Sizes

    _write(path, seed, Sizes())


def write_small(path: Path, seed: int) -> None:
    """Two narrow layers in each tower, which the official package cannot read; 4 MB."""
    from harness.networks.viclip import Sizes

    _write(path, seed, Sizes(patch=28, width=64, layers=2, text_width=16, text_layers=2, embed=32))


def _write(path: Path, seed: int, sizes: Sizes) -> None:
    import torch

    from harness.networks.viclip import ViCLIP

    with torch.device("meta"):
        net = ViCLIP(sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": fill(net.state_dict(), seed, DEVIATIONS)}, path)
