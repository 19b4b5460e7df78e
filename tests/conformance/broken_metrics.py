"""Metrics that keep their promises, and many that break one each: (class, the check that must fail, its words)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Metric, Score
from tests.conformance.breaking import breaker

BROKEN, breaks = breaker()


def grey(frames: NDArray[np.uint8]) -> float:
    """Mean of all pixels in [0, 1]."""
    return float(frames.mean()) / 255


class Grey(Metric):
    """Mean of all pixels; keeps every promise."""

    name: ClassVar[str] = "plain/grey"
    higher_is_better = None

    def score(self, clip: Clip, features: Features) -> Any:
        return grey(features.frames)


class Detail(Metric):
    """Mean step between neighbouring pixels, with what damage does to it; keeps every promise."""

    name = "plain/detail"
    moves = {"blur": "down", "noise": "up", "reverse": "same"}
    higher_is_better = None

    def score(self, clip: Clip, features: Features) -> Score:
        value = np.abs(np.diff(features.frames.astype(np.float64), axis=2)).mean() / 255
        return Score(float(value), {"frames": float(len(features.frames))})


class MeanFrames(Extractor):
    """The mean of every frame, in one pass."""

    name = "plain/mean-frames"

    def start(self, info: ClipInfo) -> None:
        self.means: list[float] = []

    def push(self, chunk: FrameChunk) -> bool:
        self.means += [float(frame.mean()) for frame in chunk.frames]
        return False

    def finish(self) -> NDArray[np.float64]:
        return np.array(self.means)


class Extracted(Metric):
    """The mean through an extractor; keeps every promise."""

    name = "plain/extracted"
    kind: ClassVar[type[Extractor]] = MeanFrames

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.extractor = self.kind()

    def extractors(self) -> Sequence[Extractor]:
        return (self.extractor,)

    def score(self, clip: Clip, features: Features) -> float:
        return float(features.of(self.extractor).mean()) / 255


class Captioned(Metric):
    """Whether the caption is long, None without one; keeps every promise."""

    name = "plain/captioned"
    range = (0.0, 1000.0)

    def score(self, clip: Clip, features: Features) -> Score:
        if clip.prompt is None:
            return Score(None, note="no prompt")
        return Score(float(len(clip.prompt)))


KEEPING: tuple[type[Metric], ...] = (Grey, Detail, Extracted, Captioned)


# ---- declarations and types ------------------------------------------------------------------------------------


@breaks("declaration", "range is (0.0, inf)")
class Endless(Grey):
    """No upper bound."""

    range = (0.0, float("inf"))


@breaks("declaration", 'moves names "blurr"')
class UnknownDamage(Grey):
    """A damage that does not exist."""

    moves = {"blurr": "down"}  # type: ignore[dict-item]


@breaks("declaration", "a set-level metric defines reset()")
class HalfASet(Grey):
    """A set-level metric without its functions."""

    level = "set"


@breaks("answers", "it answers with a bool (True)")
class Bool(Grey):
    """Yes or no as a bool."""

    def score(self, clip: Clip, features: Features) -> Any:
        return grey(features.frames) > 0


@breaks("answers", "it answers with a Tensor")
class ATensor(Grey):
    """A tensor."""

    def score(self, clip: Clip, features: Features) -> Any:
        return torch.tensor(grey(features.frames))


@breaks("answers", "it answers with a str")
class Text(Grey):
    """Text."""

    def score(self, clip: Clip, features: Features) -> Any:
        return f"{grey(features.frames):.3f}"


@breaks("answers", "it answers nan")
class NaN(Grey):
    """Not a number."""

    def score(self, clip: Clip, features: Features) -> Any:
        return float("nan")


@breaks("answers", 'its part "ratio" is nan')
class NaNPart(Grey):
    """A part that is none."""

    def score(self, clip: Clip, features: Features) -> Any:
        return Score(grey(features.frames), {"ratio": float("nan")})


@breaks("answers", "RuntimeError: boom")
class Crashes(Grey):
    """Raises."""

    def score(self, clip: Clip, features: Features) -> Any:
        raise RuntimeError("boom")


# ---- range and what cannot be judged ---------------------------------------------------------------------------


@breaks("range", "is outside the declared range [0, 1]")
class OutOfRange(Grey):
    """Up to 255, says 1."""

    def score(self, clip: Clip, features: Features) -> Any:
        return 255 * grey(features.frames)


@breaks("range", "for a black clip its value -0.2 is outside the declared range [0, 1]")
class OutOfRangeInTheDark(Grey):
    """Below the range for dark clips alone."""

    def score(self, clip: Clip, features: Features) -> Any:
        value = grey(features.frames)
        return value if value > 0.05 else value - 0.2


@breaks("range", "for a black clip it answers nan")
class Ratio(Grey):
    """0 / 0 where nothing moves."""

    def score(self, clip: Clip, features: Features) -> Any:
        steps = np.abs(np.diff(features.frames.astype(np.float64), axis=0))
        with np.errstate(all="ignore"):
            return float(steps.mean() / steps.max()) if len(steps) else None


@breaks("range", "a wide clip: ValueError")
class Square(Grey):
    """Takes square frames for granted."""

    def score(self, clip: Clip, features: Features) -> Any:
        frames = features.frames[..., 0]
        return grey(np.abs(frames - frames.transpose(0, 2, 1)))


@breaks("nothing to judge", "for a clip of one frame it answers exactly 0")
class StillIsZero(Grey):
    """No motion where there is nothing to compare."""

    def score(self, clip: Clip, features: Features) -> Any:
        if len(features.frames) < 2:
            return 0.0
        return grey(np.abs(np.diff(features.frames.astype(np.int16), axis=0)))


@breaks("nothing to judge", "for a clip of one frame it answers nan")
class StillIsNaN(Grey):
    """The mean of no steps."""

    def score(self, clip: Clip, features: Features) -> Any:
        if len(features.frames) < 2:
            return float("nan")
        return grey(features.frames)


@breaks("nothing to judge", "a clip of one frame: IndexError")
class NeedsTwo(Grey):
    """Takes a second frame for granted."""

    def score(self, clip: Clip, features: Features) -> Any:
        return grey(features.frames[1])


@breaks("nothing to judge", "for a clip without prompt and ground truth it answers exactly 0")
class NoPromptIsZero(Captioned):
    """A clip without a caption does not match it."""

    def score(self, clip: Clip, features: Features) -> Any:
        return float(len(clip.prompt or ""))


@breaks("nothing to judge", "a clip without prompt and ground truth: KeyError: 'objects'")
class NeedsTruth(Grey):
    """Takes ground truth for granted."""

    def score(self, clip: Clip, features: Features) -> Any:
        return float(len(clip.meta["objects"])) / 100
