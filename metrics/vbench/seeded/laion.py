"""A random sa_0_4_vit_l_14_linear.pth: LAION's aesthetic head on CLIP ViT-L/14, one linear layer."""

from __future__ import annotations

from pathlib import Path

from metrics.vbench.seeded import save

WIDTH = 768  # of a ViT-L/14 embedding


def write(path: Path, seed: int) -> None:
    """Scores of about 5 out of 10 that differ by tenths between features of length 1."""
    import torch

    noise = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
    save({"weight": 2 * noise[None], "bias": torch.full((1,), 5.0)}, path)
