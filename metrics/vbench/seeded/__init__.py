"""Random weights under the names and in the formats of VBench's published files, for both engines to read.

They make no sense, but every layer of every network takes part in the scores: enough to compare two implementations
number by number without a download.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Writer = Callable[[Path, int], None]

# file in VBENCH_CACHE_DIR -> module of this package and its function `(path, seed) -> None`
WRITERS: dict[str, str] = {
    "dino_model/dino_vitbase16_pretrain.pth": "dino:write",
    "clip_model/ViT-B-32.pt": "clip:write_b32",
    "clip_model/ViT-L-14.pt": "clip:write_l14",
    "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth": "laion:write",
    "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth": "musiq:write",
    "raft_model/models/raft-things.pth": "raft:write",
    "amt_model/amt-s.pth": "amt:write",
    "ViCLIP/ViClip-InternVid-10M-FLT.pth": "viclip:write",
    "umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth": "umt:write",
}
# what takes its place where small files are asked for: the same format and formulas, fewer and narrower layers
SMALL: dict[str, str] = {
    "clip_model/ViT-B-32.pt": "clip:write_small_b32",
    "clip_model/ViT-L-14.pt": "clip:write_small_l14",
}


def write_all(folder: Path, dimensions: Collection[str], seed: int, small: bool = False) -> list[Path]:
    """Write the files that these dimensions need, those that are there already excepted.

    Args:
        dimensions: official names, or `static_filter`; files that no writer is there for are passed over.
        small: smaller networks where the format lets a reader find the sizes out.

    Returns:
        All files of the dimensions, written or found.
    """
    from metrics.vbench.table import table

    names = [entry.file for entry in table().select(dimensions) if entry.file in WRITERS]
    for name in names:
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:  # under its name: archives hold it
                writer(name, small)(Path(scratch) / path.name, seed)
                (Path(scratch) / path.name).rename(path)
    return [folder / name for name in names]


def writer(name: str, small: bool = False) -> Writer:
    """What writes the file of this name (relative to the weights folder)."""
    module, function = (SMALL.get(name, WRITERS[name]) if small else WRITERS[name]).split(":")
    found: Writer = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return found


def fill(state: Mapping[str, Tensor], seed: int, deviations: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """Random tensors of the names, shapes and types of `state`, which may be on the meta device.

    Each is a function of the seed, its name and shape. Matrices and kernels have deviation 1 / sqrt(inputs), vectors
    named weight and running_var are near 1, all else has deviation 0.1, so that signals neither vanish nor explode.

    Args:
        deviations: standard deviation by ending of the name, where that rule does not suit; the first ending counts.
    """
    import torch

    filled = {}
    for name, like in state.items():
        key = hashlib.sha256(f"{seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7]))
        noise = torch.randn(like.shape, generator=generator)
        known = [size for ending, size in (deviations or {}).items() if name.endswith(ending)]
        if not like.is_floating_point():
            noise.zero_()  # counters of batches seen
        elif known:
            noise *= known[0]
        elif noise.ndim > 1:
            noise *= noise[0].numel() ** -0.5
        elif name.endswith(("weight", "running_var")):
            noise = 1 + 0.1 * noise
        else:
            noise *= 0.1
        filled[name] = noise.to(like.dtype)
    return filled


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """As torch.save does it, making the folder."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), path)
