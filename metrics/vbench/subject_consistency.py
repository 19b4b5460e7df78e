"""VBench subject_consistency (vbench 0.1.5, subject_consistency.py): DINO ViT-B/16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Clip, Extractor, Features, FrameChunk, Score, register_metric
from metrics.vbench.consistency import consistency
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import IMAGENET_MOMENTS, normalise, resize_short_side
from metrics.vbench.per_frame import PerFrame

if TYPE_CHECKING:
    from torch import Tensor


@register_metric
class SubjectConsistency(Dimension):
    """Does the subject stay itself? Cosine of DINO features of every frame with the first and the previous one; 0..1.

    Agrees with the official package within 1e-6 on a CPU.
    """

    name = "vbench/subject_consistency"
    dimension = "subject_consistency"

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(DinoFrames, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return consistency(features.of(self.native_extractors()[0]))


class DinoFrames(PerFrame):
    """DINO's class token of every frame, `[F, 768]`: shorter side 224, no crop."""

    name = "vbench/dino"
    batch = 8

    def load(self) -> None:
        from metrics.vbench.networks.dino import SIDE, load

        self.net, self.side = load(self.paths[0]).to(self.device), SIDE

    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        images = chunk.on(self.device)[part].float()
        features: Tensor = self.net(normalise(resize_short_side(images, self.side, "bilinear"), IMAGENET_MOMENTS))
        return features
