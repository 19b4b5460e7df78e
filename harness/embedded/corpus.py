"""What the embedded backbone is trained on: latents and captions of the world's training split, made once and kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.world import long_caption, render, scene, short_caption

_CHUNK = 256


@dataclass(frozen=True)
class Corpus:
    """`latents` float16 `[N, C, F, H, W]` (normalised), and two captions of each clip."""

    latents: NDArray[np.float16]
    short: list[str]
    long: list[str]


def frames(seed: int, split: str, indices: range) -> Tensor:
    """Rendered clips `[N, 3, F, H, W]` in [-1, 1]."""
    clips = np.stack([render(scene(seed, i, split)) for i in indices])
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def prepare(folder: Path, codec: Any, seed: int, clips: int, workers: int) -> Corpus:
    """Render and encode clips 0..N of the stream `seed`; read back from `folder` if it was done before."""
    path = folder / f"latents-{seed}-{clips}.npy"
    if not path.exists():
        chunks = [range(i, min(i + _CHUNK, clips)) for i in range(0, clips, _CHUNK)]
        latents: Any = None
        partial_path = path.with_suffix(".partial.npy")
        for chunk, part in zip(chunks, _encode_all(codec, seed, chunks, workers), strict=True):
            if latents is None:
                latents = np.lib.format.open_memmap(partial_path, "w+", np.float16, (clips, *part.shape[1:]))
            latents[chunk.start : chunk.stop] = part
            print(f"rendered {chunk.stop} / {clips} clips", flush=True)
        assert latents is not None
        latents.flush()
        os.replace(partial_path, path)
    scenes = [scene(seed, i, "train").cast for i in range(clips)]
    return Corpus(np.load(path, mmap_mode="r"), [short_caption(c) for c in scenes], [long_caption(c) for c in scenes])


def _encode_all(codec: Any, seed: int, chunks: list[range], workers: int) -> Iterator[NDArray[np.float16]]:
    encode = partial(_encode, codec, seed)
    if workers < 2:
        yield from map(encode, chunks)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(encode, chunks)


def _encode(codec: Any, seed: int, indices: range) -> NDArray[np.float16]:
    torch.set_num_threads(1)
    mean = torch.tensor(codec.config.latents_mean).reshape(1, -1, 1, 1, 1)
    std = torch.tensor(codec.config.latents_std).reshape(1, -1, 1, 1, 1)
    with torch.no_grad():
        latents = codec.encode(frames(seed, "train", indices)).latent_dist.mode()
    return ((latents - mean) / std).half().numpy()
