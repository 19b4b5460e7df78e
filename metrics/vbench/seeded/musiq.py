"""A random musiq_spaq_ckpt-358bb6af.pth: pyiqa's names (0.1.10, archs/musiq_arch.py), tensors by name."""

from __future__ import annotations

from pathlib import Path

from metrics.vbench.seeded import fill, save

DEVIATIONS = {"position_emb": 0.5, "scale_emb": 0.5, "cls": 0.2}  # enough for a wrong position or scale to show


def write(path: Path, seed: int) -> None:
    """27 million parameters, 108 MB. Scores of about 50 out of 100 that differ by several between clips."""
    import torch

    from metrics.vbench.networks.musiq import Musiq

    with torch.device("meta"):
        state = Musiq().state_dict()
    state = fill(state, seed, DEVIATIONS)
    state["head.weight"] *= 10
    state["head.bias"] += 50
    save(state, path)
