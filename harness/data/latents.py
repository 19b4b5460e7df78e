"""Latents and encoded captions of a dataset, computed once per (dataset, backbone, clip spec) and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import Backbone, ClipSpec, Dataset
from harness.config import digest
from harness.store import atomic, lock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SHARD = 64  # rows a file; a killed encoding loses at most this many


def cache_folder(root: Path, data_digest: str, backbone_digest: str, spec: ClipSpec) -> Path:
    """Where these latents live under the runs folder."""
    key = digest({"data": data_digest, "backbone": backbone_digest, "clip": spec.model_dump()})
    return root / ".cache" / "latents" / key[:16]


def pixels(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 `[F, H, W, 3]` to float32 `[3, F, H, W]` in [-1, 1]."""
    import torch

    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


class Latents:
    """Rows read from the cache files on demand."""

    def __init__(self, folder: Path, rows: int, null_cond: Tensor) -> None:
        from safetensors import safe_open

        self.null_cond = null_cond.cpu()  # [1, L, D]: the padded length
        count = -(-rows // SHARD)
        self._shards = [safe_open(folder / f"{shard:05d}.safetensors", framework="pt") for shard in range(count)]

    def batch(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Latents `[B, C, F, H, W]` and conditions `[B, L, D]` of the rows."""
        import torch

        latents, conds = [], torch.zeros(len(index), *self.null_cond.shape[1:])
        for place, row in enumerate(index):
            shard, offset = self._shards[row // SHARD], row % SHARD
            latents.append(shard.get_slice("latent")[offset])
            cond = shard.get_tensor(f"cond.{offset}")
            conds[place, : len(cond)] = cond
        return torch.stack(latents), conds


def encode(
    dataset: Dataset, backbone: Backbone, folder: Path, seed: int, report: Callable[[int, int], None]
) -> Latents:
    """Encode what is not in `folder` yet (one process at a time) and open it."""
    import torch
    from safetensors.torch import save_file

    rows = dataset.rows()
    device = next(backbone.net.parameters()).device
    with lock(folder / ".lock", timeout=24 * 3600), torch.no_grad():
        for first in range(0, len(rows), SHARD):
            path = folder / f"{first // SHARD:05d}.safetensors"
            if path.exists():
                continue
            tensors: dict[str, Tensor] = {}
            latents = []
            for offset, row in enumerate(rows[first : first + SHARD]):
                torch.manual_seed(seed)  # a codec that samples its posterior draws the same for every order of work
                video = pixels(dataset.video(first + offset))[None].to(device)
                latents.append(backbone.encode(video)[0].float().cpu())
                cond = backbone.encode_text([row.prompt])[0].float().cpu()
                length = int(cond.abs().sum(-1).nonzero().max()) + 1 if cond.any() else 0
                tensors[f"cond.{offset}"] = cond[:length].contiguous()
                report(first + offset + 1, len(rows))
            with atomic(path) as temporary:
                save_file({"latent": torch.stack(latents), **tensors}, temporary)
        null_cond = backbone.null_cond(1)
    return Latents(folder, len(rows), null_cond)
