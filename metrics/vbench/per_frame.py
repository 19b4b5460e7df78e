"""Extractors that send every frame of a clip through a network by itself, in batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipInfo, FrameChunk
from metrics.vbench.dimension import NetworkExtractor

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PerFrame(NetworkExtractor):
    """One row per frame: all that is kept of it."""

    batch: ClassVar[int]  # frames at a time on a CPU; a GPU takes a chunk whole

    def __init__(self, paths: tuple[Path, ...], device: str, precision: str) -> None:
        super().__init__(paths, device, precision)
        self._rows: list[Tensor] = []
        self._ready = False

    def start(self, info: ClipInfo) -> None:
        self._rows = []
        self.ready()

    def ready(self) -> None:
        """Load the networks unless they are there."""
        if not self._ready:
            self.load()
            self._ready = True

    @abstractmethod
    def load(self) -> None:
        """Get the networks onto `device`."""

    def push(self, chunk: FrameChunk) -> bool:
        size = self.batch if self.device.type == "cpu" else len(chunk)
        with arithmetic(self.device, self.precision):
            for first in range(0, len(chunk), size):
                self._rows.append(self.rows(chunk, slice(first, first + size)).float())
        return False

    @abstractmethod
    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        """`[n, ...]` of some of the chunk's frames."""

    def finish(self) -> NDArray[Any]:
        import torch

        rows, self._rows = self._rows, []
        return torch.cat(rows).cpu().numpy() if rows else np.zeros(0, np.float32)


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Without gradients; exact: float32 in earnest, which a GPU's convolutions do not do by default; fast: bfloat16
    where autocast finds it safe, tf32 in the rest."""
    import torch

    fast = precision == "fast"
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = fast
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16) if fast else nullcontext():
            yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before
