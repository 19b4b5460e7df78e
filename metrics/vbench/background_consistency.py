"""VBench background_consistency (vbench 0.1.5, background_consistency.py): CLIP ViT-B/32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Clip, Extractor, Features, FrameChunk, Score, register_metric
from metrics.vbench.consistency import consistency
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import clip_square
from metrics.vbench.networks import openai_clip
from metrics.vbench.per_frame import PerFrame

if TYPE_CHECKING:
    from torch import Tensor


@register_metric
class BackgroundConsistency(Dimension):
    """Does the scene stay itself? Cosine of CLIP features of every frame with the first and the previous one; 0..1.

    Agrees with the official package within 1e-6 on a CPU. On a GPU that one computes in half precision, this does not.
    """

    name = "vbench/background_consistency"
    dimension = "background_consistency"

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(ClipFrames, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return consistency(features.of(self.native_extractors()[0]))


class ClipFrames(PerFrame):
    """CLIP ViT-B/32's embedding of every frame, `[F, 512]`: bicubic without antialiasing, centre crop."""

    name = "vbench/clip_frames"
    batch = 16

    def load(self) -> None:
        self.net = openai_clip.load(self.paths[0], self.device)

    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        return openai_clip.embed(self.net, clip_square(chunk.on(self.device)[part]))
