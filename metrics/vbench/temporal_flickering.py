"""VBench temporal_flickering (vbench 0.1.5, temporal_flickering.py), with its static filter: RAFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Open, Score, register_metric
from metrics.vbench.dimension import Dimension, VBenchOptions, shared
from metrics.vbench.dynamic_degree import LEAST_SIDE, too_small
from metrics.vbench.static_filter import KEPT, StaticClip, keep_static, official_order
from metrics.vbench.table import require


@register_metric
class TemporalFlickering(Dimension):
    """One minus the mean absolute difference of neighbouring frames; 1 is a frozen clip.

    Custom clips are all scored, and motion lowers the score. Under the standard protocol only the first five static
    samples of a prompt are, as VBench's static filter picks them; the others have no value and a note. The filter is
    this package's under either engine: the official one runs on a GPU only.

    Equal to the official code within 1e-7. Its pinned OpenCV 4 ignores bt709 tags, which we respect: up to 2e-4 there.
    """

    name = "vbench/temporal_flickering"
    dimension = "temporal_flickering"
    level = "samples"

    @classmethod
    def weights(cls, config: VBenchOptions) -> tuple[Path, ...]:
        if config.protocol == "custom":
            return ()
        return require("static_filter", "native", config.weights, config.unofficial_weights)

    def native_extractors(self) -> Sequence[Extractor]:
        return (FLICKER,)

    def judge(self, clip: Clip, features: Features) -> Score:
        differences = features.of(FLICKER)
        if not len(differences):
            return Score(None, note="a single frame cannot flicker")
        return Score((255.0 - float(np.mean(differences))) / 255.0)

    def score_samples(self, clips: Sequence[Clip], open_clip: Open) -> Mapping[str, Score]:
        if self.config.protocol == "custom":
            answers = {}
            for clip in clips:
                with open_clip(clip) as features:
                    answers[clip.id] = self.score(clip, features)
            return answers
        return self._score_static(clips, open_clip)

    def _score_static(self, clips: Sequence[Clip], open_clip: Open) -> Mapping[str, Score]:
        """The first five static samples, scored; the others with what became of them."""
        answers = {clip.id: Score(None, note=f"{KEPT} static samples of the prompt came before it") for clip in clips}
        static = shared(StaticClip, self.weights(self.config), self.config.device, self.config.precision)

        def is_static(clip: Clip) -> bool:
            with open_clip(clip) as features:
                verdict = features.of(static)
                kept = bool(len(verdict)) and bool(verdict[0])
                score = self.score(clip, features) if kept else Score(None)
            answers[clip.id] = with_verdict(score, verdict)
            return kept

        numbered = ((clip.meta.get("sample", place), clip) for place, clip in enumerate(clips))
        keep_static(official_order(numbered), is_static)
        return answers


def with_verdict(score: Score, verdict: NDArray[Any]) -> Score:
    """A clip's score with what the static filter found (`StaticClip`) in its parts and note."""
    if not len(verdict):
        return Score(None, note=f"the static filter needs frames of at least {LEAST_SIDE} px")
    static, moving, allowed, _, computed, meaningful = verdict.tolist()
    parts = {
        **score.parts,
        "static": static,
        "moving_pairs": moving,
        "allowed_pairs": allowed,
        "pairs_computed": computed,
    }
    notes = [score.note or ("" if static else "not static"), "" if meaningful else too_small("moving")]
    return Score(score.value, parts, "; ".join(filter(None, notes)))


class FrameDifferences(Extractor):
    """`MAE_i`: mean absolute grey-level difference of frames i and i + 1 over pixels and channels, exact; `[F - 1]`."""

    name = "vbench/frame_differences"

    def start(self, info: ClipInfo) -> None:
        self._previous: NDArray[np.uint8] | None = None
        self._differences: list[float] = []

    def push(self, chunk: FrameChunk) -> bool:
        for frame in chunk.frames:
            if self._previous is not None:
                self._differences.append(difference(self._previous, frame))
            self._previous = frame
        return False

    def finish(self) -> NDArray[np.float64]:
        self._previous = None
        return np.array(self._differences, np.float64)


FLICKER = FrameDifferences()


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels; the sum is a whole number and exact."""
    import cv2

    return cv2.norm(first, second, cv2.NORM_L1) / first.size
