"""VBench motion_smoothness (vbench 0.1.5, motion_smoothness.py): AMT-S."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Score, register_metric
from metrics.vbench.dimension import Dimension, NetworkExtractor, shared
from metrics.vbench.per_frame import arithmetic

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SIDE, MEANINGFUL_SIDE = 49, 113  # pixels; padded to multiples of 16, AMT's levels hold something, and divide


@register_metric
class MotionSmoothness(Dimension):
    """Can every other frame be guessed from its neighbours? One minus the mean error of AMT's guesses; 1 is perfect.

    Frames 1, 3, 5, ... are compared with what AMT-S puts between frames 0 and 2, 2 and 4, ...; the last of an even
    number of frames takes no part. At full size always: the official package shrinks large frames to the GPU's memory,
    if its device was named by a string.

    The same numbers as the official package on a CPU. Its pinned OpenCV 4 ignores bt709 tags, which we respect: up to
    4e-4 there (six clips).
    """

    name = "vbench/motion_smoothness"
    dimension = "motion_smoothness"

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(GuessedFrames, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return motion_smoothness(features.of(self.native_extractors()[0]))


def motion_smoothness(errors: NDArray[Any]) -> Score:
    """A clip's score from what `GuessedFrames` found."""
    if not errors.size:
        return Score(None, note=f"it takes three frames of at least {LEAST_SIDE} px")
    differences, meaningful = errors
    note = (
        "" if meaningful.all() else f"frames below {MEANINGFUL_SIDE} px: VBench's AMT divides by zero in part of them"
    )
    return Score((255.0 - float(np.mean(differences))) / 255.0, {"guesses": len(differences)}, note)


class GuessedFrames(NetworkExtractor):
    """`[2, (F - 1) // 2]`: mean absolute difference in grey levels of the guesses, and whether AMT works at this size.

    Two frames are held at a time.
    """

    name = "vbench/amt_errors"

    def start(self, info: ClipInfo) -> None:
        from metrics.vbench.networks.amt import load

        self.side = min(info.height, info.width)
        self.network = load(self.paths[0], self.device)
        self._errors: list[float] = []
        self._before: Tensor | None = None  # the last even frame
        self._between: Tensor | None = None  # the odd one after it

    def push(self, chunk: FrameChunk) -> bool:
        if self.side < LEAST_SIDE:
            return True
        with arithmetic(self.device, self.precision):
            for index, image in enumerate(chunk.on(self.device), chunk.first):
                if index % 2:
                    self._between = image
                else:
                    if self._before is not None and self._between is not None:
                        self._errors.append(self._error(self._before, self._between, image))
                    self._before = image
        return False

    def _error(self, before: Tensor, truth: Tensor, after: Tensor) -> float:
        guess = self.network.guess(before, after)
        return int((guess.int() - truth.int()).abs().sum()) / truth.numel()

    def finish(self) -> NDArray[Any]:
        self._before = self._between = None
        works = self.side >= MEANINGFUL_SIDE
        return np.array([self._errors, [works] * len(self._errors)], np.float64)
