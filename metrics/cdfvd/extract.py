"""Features of a clip's window, computed once a clip from the shared decoding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipInfo, Extractor, FrameChunk
from harness.features import sha256_file
from metrics.cdfvd.sampling import Start, fit, for_i3d, for_videomae, window

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip are used, and at what size."""

    resolution: int
    length: int
    start: Start
    seed: int


class WindowExtractor(Extractor):
    """One feature `[D]` float32 of a window of frames; empty where the clip has fewer."""

    size: ClassVar[int]  # D

    def __init__(self, weights: Path, sampling: Sampling, device: str) -> None:
        self.weights, self.sampling, self._device = weights, sampling, device
        self._network: torch.nn.Module | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        sampling = asdict(self.sampling)
        if self.sampling.start == "first":
            del sampling["seed"]
        return {"weights": sha256_file(self.weights), **sampling}

    @property
    def device(self) -> torch.device:
        import torch

        if self._device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self._device)

    @abstractmethod
    def load(self) -> torch.nn.Module:
        """The network, on the device."""

    @abstractmethod
    def feature(self, network: torch.nn.Module, frames: Tensor) -> Tensor:
        """`[1, D]` of the window, uint8 `[T, 3, r, r]`."""

    def start(self, info: ClipInfo) -> None:
        self._network = self._network or self.load()
        self._frames, self._first = info.frames, 0
        self._kept: list[Tensor] = []

    def push(self, chunk: FrameChunk) -> bool:
        length = self.sampling.length
        if self._frames < length:
            return True
        if chunk.first == 0:
            self._first = window(self._frames, length, self.sampling.start, self.sampling.seed, chunk.frames[0])
        inside = slice(max(0, self._first - chunk.first), max(0, self._first + length - chunk.first))
        if len(chunk.frames[inside]):
            self._kept.append(fit(chunk.on(self.device)[inside], self.sampling.resolution))
        return chunk.first + len(chunk) >= self._first + length

    def finish(self) -> NDArray[Any]:
        import torch

        kept, self._kept = self._kept, []
        if not kept:
            return np.zeros(0, np.float32)
        assert self._network is not None
        with torch.inference_mode():
            return self.feature(self._network, torch.cat(kept))[0].float().cpu().numpy()


class VideoMAEFeatures(WindowExtractor):
    """VideoMAE-v2 ViT-g, fine-tuned on Something-Something v2: 1408 dimensions."""

    name, size = "cdfvd-videomae", 1408

    def load(self) -> torch.nn.Module:
        from metrics.cdfvd.networks import videomae

        return videomae.load(self.weights, self.device)

    def feature(self, network: torch.nn.Module, frames: Tensor) -> Tensor:
        return network(for_videomae(frames))


class I3DFeatures(WindowExtractor):
    """I3D's logits on Kinetics-400: 400 dimensions."""

    name, size = "cdfvd-i3d", 400

    def load(self) -> torch.nn.Module:
        from metrics.cdfvd.networks import i3d

        return i3d.load(self.weights, self.device)

    def feature(self, network: torch.nn.Module, frames: Tensor) -> Tensor:
        return network(for_i3d(frames))


class SmallFeatures(WindowExtractor):
    """The encoder trained on the embedded world: 256 dimensions."""

    name, size = "cdfvd-small", 256

    def load(self) -> torch.nn.Module:
        from metrics.cdfvd.networks import small

        return small.load(self.weights, self.device)

    def feature(self, network: torch.nn.Module, frames: Tensor) -> Tensor:
        from metrics.cdfvd.networks.small import pixels

        return network(pixels(frames).transpose(0, 1)[None])
