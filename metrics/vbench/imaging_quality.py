"""VBench imaging_quality (vbench 0.1.5, imaging_quality.py): MUSIQ trained on SPAQ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Score, UserError, register_metric
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import resize
from metrics.vbench.per_frame import PerFrame

if TYPE_CHECKING:
    from torch import Tensor

TOP = 100  # of SPAQ's scale
LONGEST = 512  # pixels; the package's default preprocessing, "longer"


@register_metric
class ImagingQuality(Dimension):
    """How free the frames are of blur, noise and wrong exposure: mean over frames, as a fraction of MUSIQ's 0 to 100.

    Agrees with the official package within 1e-6 on a CPU. Its rows are on the scale of 100, its total is not; part
    `official` is its row.
    """

    name = "vbench/imaging_quality"
    dimension = "imaging_quality"
    range = (-10.0, 10.0)  # a linear head has no bounds; published scores lie in 0.3..0.8

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(MusiqFrames, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return imaging_quality(features.of(self.native_extractors()[0]))


def imaging_quality(scores: NDArray[Any]) -> Score:
    """A clip's score from MUSIQ's scores `[F]` of its frames."""
    mean = float(scores.mean(dtype=np.float64))
    return Score(mean / TOP, {"official": mean})


def largest_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at a longer side of at most 512; cut off, not rounded, so that it may be 511."""
    scale = LONGEST / max(height, width)
    return (int(scale * height), int(scale * width)) if scale < 1 else (height, width)


class MusiqFrames(PerFrame):
    """MUSIQ's score of every frame, `[F]`, about 0 to 100."""

    name = "vbench/musiq"
    batch = 1  # more is slower on a CPU

    def start(self, info: ClipInfo) -> None:
        super().start(info)
        self.size = largest_size(info.height, info.width)
        if min(self.size) / max(self.size) * self.smallest <= 0.5:
            raise UserError(
                f"imaging_quality: frames of {info.width}x{info.height} px are less than a pixel high when MUSIQ has "
                "resized them",
                "leave such clips out",
            )

    def load(self) -> None:
        from metrics.vbench.networks.musiq import SCALES, load

        self.net, self.smallest = load(self.paths[0]).to(self.device), min(SCALES)

    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        images = resize(chunk.on(self.device)[part].float(), *self.size, "bilinear")
        scores: Tensor = self.net(images.div(255))
        return scores
