"""Random checkpoints of the official formats, for trying things without a download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metrics.cdfvd.table import NETWORKS


def write_all(folder: Path, purposes: Sequence[str], seed: int) -> None:
    """The networks among `purposes`, at their real sizes: i3d 51 MB, videomae 4 GB. Statistics are not made up."""
    import torch

    from metrics.cdfvd.networks.i3d import I3D
    from metrics.cdfvd.networks.videomae import VideoMAE

    folder.mkdir(parents=True, exist_ok=True)
    for model, kind in (("i3d", I3D), ("videomae", VideoMAE)):
        if model in purposes:
            torch.manual_seed(seed)
            torch.save(kind().state_dict(), folder / NETWORKS[model])
