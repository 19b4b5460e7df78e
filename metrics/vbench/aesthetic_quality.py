"""VBench aesthetic_quality (vbench 0.1.5, aesthetic_quality.py): LAION's linear head on CLIP ViT-L/14."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Extractor, Features, FrameChunk, Score, register_metric
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import clip_square
from metrics.vbench.networks import openai_clip
from metrics.vbench.per_frame import PerFrame

if TYPE_CHECKING:
    from torch import Tensor

TOP = 10  # of LAION's scale


@register_metric
class AestheticQuality(Dimension):
    """How well people would like the frames as pictures: mean over frames, as a fraction of the scale of 1 to 10.

    Agrees with the official package within 1e-6 on a CPU. On a GPU that one computes in half precision, this does not.
    """

    name = "vbench/aesthetic_quality"
    dimension = "aesthetic_quality"
    range = (-10.0, 10.0)  # a linear head has no bounds; published scores lie in 0.3..0.8

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(AestheticFrames, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return aesthetic_quality(features.of(self.native_extractors()[0]))


def aesthetic_quality(scores: NDArray[Any]) -> Score:
    """A clip's score from LAION's scores `[F]` of its frames."""
    return Score(float(scores.mean(dtype=np.float64)) / TOP)


class AestheticFrames(PerFrame):
    """LAION's score of every frame, `[F]`, about 1 to 10: CLIP ViT-L/14 on bicubic frames, centre crop."""

    name = "vbench/aesthetic"
    batch = 4

    def load(self) -> None:
        self.net = openai_clip.load(self.paths[0], self.device)
        self.head = openai_clip.load_laion(self.paths[1]).to(self.device)

    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        embeddings = openai_clip.embed(self.net, clip_square(chunk.on(self.device)[part]))
        return openai_clip.laion(self.head, embeddings)
