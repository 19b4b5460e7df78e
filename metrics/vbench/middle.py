"""Networks that look at a few frames of a clip: the middle ones of equal intervals."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipInfo, FrameChunk
from metrics.vbench.dimension import NetworkExtractor
from metrics.vbench.frames import middle_indices
from metrics.vbench.per_frame import arithmetic

if TYPE_CHECKING:
    from torch import Tensor


class MiddleFrames(NetworkExtractor):
    """One vector of a clip from `count` of its frames; asks for no frame after the last of them.

    Held in memory: those frames as the network takes them, whatever the clip's length.
    """

    count: ClassVar[int]
    _wanted: list[int]
    _seen: dict[int, Tensor]

    def start(self, info: ClipInfo) -> None:
        self._wanted, self._seen = middle_indices(self.count, info.frames), {}
        self.load()

    def push(self, chunk: FrameChunk) -> bool:
        end = chunk.first + len(chunk)
        for index in {index for index in self._wanted if chunk.first <= index < end}:
            self._seen[index] = self.prepare(chunk, index - chunk.first)
        return end > self._wanted[-1]

    def finish(self) -> NDArray[Any]:
        import torch

        frames = [self._seen[index] for index in self._wanted if index in self._seen]
        self._seen = {}
        if len(frames) < self.count:  # no frames, or fewer than the header promised
            return np.zeros(0, np.float32)
        with arithmetic(self.device, self.precision):
            return self.look(torch.stack(frames).to(self.device)).cpu().numpy()

    @abstractmethod
    def load(self) -> None:
        """Get the network onto `device`, unless it is there."""

    @abstractmethod
    def prepare(self, chunk: FrameChunk, place: int) -> Tensor:
        """One frame as the network takes it, uint8 `[3, S, S]`, on any device."""

    @abstractmethod
    def look(self, frames: Tensor) -> Tensor:
        """uint8 `[count, 3, S, S]` on the network's device -> float32 `[D]`."""
