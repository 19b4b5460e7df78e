"""A random dino_vitbase16_pretrain.pth: facebookresearch/dino's names, backbone only."""

from __future__ import annotations

from pathlib import Path

from metrics.vbench.seeded import fill, save

DEVIATIONS = {"pos_embed": 0.5, "cls_token": 0.2}  # enough for a wrong interpolation of positions to show


def write(path: Path, seed: int) -> None:
    """ViT-B/16, 86 million parameters, 343 MB."""
    from metrics.vbench.networks.dino import empty

    save(fill(empty().state_dict(), seed, DEVIATIONS), path)
