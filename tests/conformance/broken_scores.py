"""More broken metrics: hidden randomness and state, batching, names, inputs, direction."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Features, FrameChunk, Options, register_feature
from tests.conformance.breaking import breaker
from tests.conformance.broken_metrics import Detail, Extracted, Grey, MeanFrames, grey

BROKEN, breaks = breaker()


# ---- determinism -----------------------------------------------------------------------------------------------


@breaks("determinism", "the same clips get other values the second time")
class GlobalNumpy(Grey):
    """Random pixels from numpy's global generator."""

    def score(self, clip: Clip, features: Features) -> Any:
        return grey(features.frames.reshape(-1)[np.random.randint(0, features.frames.size, 50)])


@breaks("determinism", "the same clips get other values the second time")
class GlobalPython(Grey):
    """Random frames from Python's global generator."""

    def score(self, clip: Clip, features: Features) -> Any:
        return grey(features.frames[random.sample(range(len(features.frames)), 1)])


@breaks("determinism", "the same clips get other values the second time")
class GlobalTorch(Grey):
    """Noise from torch's global generator."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 0.9 * grey(features.frames) + 0.1 * torch.rand(()).item()


@breaks("determinism", "the same clips get other values the second time")
class Unseeded(Grey):
    """A generator of its own that nobody seeded."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 0.9 * grey(features.frames) + 0.1 * float(np.random.default_rng().random())


@breaks("determinism", "scoring draws from (or seeds) the global generator of numpy.random")
class SeedsNumpy(Grey):
    """The same every time, by seeding everybody's generator."""

    def score(self, clip: Clip, features: Features) -> Any:
        np.random.seed(0)
        return grey(features.frames.reshape(-1)[np.random.randint(0, features.frames.size, 50)])


@breaks("determinism", "the same clips get other values the second time")
class ClassMemory(Grey):
    """Rescales by all it has ever seen, on the class."""

    seen: ClassVar[list[float]] = []

    def score(self, clip: Clip, features: Features) -> Any:
        self.seen.append(grey(features.frames))
        return float(np.mean(self.seen))


@breaks("determinism", "the same metric scores the same clips differently again")
class Running(Grey):
    """A running mean over clips."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.mean = 0.5

    def score(self, clip: Clip, features: Features) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * grey(features.frames)
        return self.mean


@breaks("clip order", "a clip gets another value alone than after other clips: something is kept from clip to clip")
class FirstClip(Grey):
    """Relative to the first clip it has seen; the same again in the same order."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.first: float | None = None

    def score(self, clip: Clip, features: Features) -> Any:
        if self.first is None:
            self.first = grey(features.frames)
        return 0.5 * (1 + grey(features.frames) - self.first)


# ---- batching --------------------------------------------------------------------------------------------------


class ChunkMeans(MeanFrames):
    """The mean of every chunk, whatever its size."""

    name = "broken/chunk-means"

    def push(self, chunk: FrameChunk) -> bool:
        self.means.append(float(chunk.frames.mean()))
        return False


class Forgetful(MeanFrames):
    """Does not forget the clip before."""

    name = "broken/forgetful"

    def __init__(self) -> None:
        self.means = []

    def start(self, info: ClipInfo) -> None:
        pass


@breaks("batching", "values change when extractors get 1 frames at a time")
class Chunked(Extracted):
    """A mean of means."""

    kind = ChunkMeans


@breaks("determinism", "the same metric scores the same clips differently again")
class ManyClips(Extracted):
    """An extractor that goes on where the last clip ended."""

    kind = Forgetful


class Batched(Options):
    """How many frames at once."""

    batch_size: int = 4


@breaks("batching", "values change with batch_size=1, an option that does not enter the fingerprint")
class BatchSize(Grey):
    """The best batch of frames."""

    Config = Batched

    def score(self, clip: Clip, features: Features) -> Any:
        size = self.config.batch_size
        return max(grey(features.frames[k : k + size]) for k in range(0, len(features.frames), size))


class Thresholded(Options):
    """A threshold."""

    threshold: float = 0.4


@breaks("batching", "values change with threshold=0.2, an option that does not enter the fingerprint")
class RuntimeOption(Grey):
    """Calls an option that decides the score one of run time."""

    Config = Thresholded
    runtime = frozenset({"threshold"})

    def score(self, clip: Clip, features: Features) -> Any:
        return float((features.frames > 255 * self.config.threshold).mean())


# ---- names and inputs ------------------------------------------------------------------------------------------


def _code(parts: Iterable[object]) -> float:
    return sum(map(ord, "".join(map(str, parts)))) % 97 / 97


@breaks("names", "the value depends on clip.id")
class ById(Grey):
    """Something of the clip's id."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 0.5 * grey(features.frames) + 0.5 * _code([clip.id])


@breaks("names", "the value depends on clip.path")
class ByFile(Grey):
    """The prompt read from the file's name, as VBench does."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 0.5 * grey(features.frames) + 0.5 * _code([clip.path.stem])


@breaks("names", "the value depends on clip.seed")
class BySeed(Grey):
    """Something of the seed."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 0.5 * grey(features.frames) + 0.5 * _code([clip.seed])


@breaks("answers", "it changes its input in place (ValueError: ")
class WritesFrames(Grey):
    """Subtracts the mean where the frames stand."""

    def score(self, clip: Clip, features: Features) -> Any:
        features.frames[:] //= 2
        return grey(features.frames)


@breaks("inputs untouched", "it changes its input frames in place")
class ForcesFrames(Grey):
    """The same, past the lock."""

    def score(self, clip: Clip, features: Features) -> Any:
        frames, value = features.frames, grey(features.frames)
        frames.flags.writeable = True
        frames[:] = 0
        frames.flags.writeable = False
        return value


class InPlace(MeanFrames):
    """Halves the tensor that other extractors get too."""

    name = "broken/in-place"

    def push(self, chunk: FrameChunk) -> bool:
        super().push(chunk)
        chunk.on(torch.device("cpu")).div_(2, rounding_mode="floor")
        return False


@breaks("inputs untouched", "it changes its input frames in place")
class SpoilsTensor(Extracted):
    """An extractor that works in place."""

    kind = InPlace


@breaks("inputs untouched", "it changes clip.meta in place")
class WritesTruth(Grey):
    """Notes something in the ground truth."""

    def score(self, clip: Clip, features: Features) -> Any:
        clip.meta["seen"] = True  # type: ignore[index]
        return grey(features.frames)


@register_feature("plain/rows", 1)
def rows(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of every row."""
    return frames.mean((2, 3))


@breaks("features", "it reads the feature plain/rows, which `features` does not name")
class UndeclaredFeature(Grey):
    """A feature whose version the fingerprint does not know."""

    def score(self, clip: Clip, features: Features) -> Any:
        return float(features.get("plain/rows").mean()) / 255


# ---- direction -------------------------------------------------------------------------------------------------


@breaks("direction", "moves says it goes up under blur; it changes by -")
class WrongWay(Detail):
    """Has it the wrong way round."""

    moves = {"blur": "up", "noise": "down"}
    higher_is_better = None


@breaks("direction", "moves says it stays under noise")
class NotTheSame(Detail):
    """Says noise does nothing."""

    moves = {"noise": "same"}


@breaks("direction", "it does not notice reverse, shuffle at all")
class Blind(Grey):
    """Says that order matters, and sees frames one by one."""

    moves = {"reverse": "down", "shuffle": "down"}


@breaks("direction", "every damage it declares (noise) moves it up")
class Upside(Detail):
    """Higher is better, and noise makes it better."""

    moves = {"noise": "up"}
    higher_is_better = True
