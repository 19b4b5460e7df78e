"""`cdfvd-shapes`: the same distance with an encoder that learnt the embedded world, and ships."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.api import register_metric
from metrics.cdfvd.extract import Sampling, SmallFeatures
from metrics.cdfvd.metric import FrechetMetric, FrechetOptions
from metrics.cdfvd.reference import check, reference_files

WEIGHTS = Path(__file__).parent / "weights" / "encoder.safetensors"
REFERENCE = Path(__file__).parent / "weights" / "reference.npz"
SIDE, FRAMES = 64, 16  # what the encoder reads


class ShapesOptions(FrechetOptions):
    """The package's defaults but for the window, which is the clip's first: clips of the world are 17 frames long."""

    reference: str = Field(
        "", description="folder of real clips, or features (.npz) [default: held-out clips of the embedded world]"
    )
    start: Literal["first", "random"] = "first"


@register_metric
class CDFVDShapes(FrechetMetric):
    """CD-FVD for clips of the embedded world: features of a small video encoder, self-supervised on that world.

    Compared by default with features, shipped, of clean held-out clips (`weights/README.md`). A clip's first 16 frames
    are read at 64 x 64. Its numbers have nothing to do with those of official weights.
    """

    name = "cdfvd-shapes"
    Config = ShapesOptions
    advised = 256
    moves = dict.fromkeys(("noise", "freeze", "shuffle", "speed_up", "teleport", "jitter"), "up")
    config: ShapesOptions

    @classmethod
    def weights(cls, config: ShapesOptions) -> tuple[Path, ...]:
        path = cls.reference_path(config)
        files = reference_files(path)
        if config.reference:
            check(path, extractor_of(config))
        return (WEIGHTS, *files)

    @classmethod
    def reference_path(cls, config: ShapesOptions) -> Path:
        return Path(config.reference).expanduser() if config.reference else REFERENCE

    def make_extractor(self) -> SmallFeatures:
        return extractor_of(self.config)


def extractor_of(config: ShapesOptions) -> SmallFeatures:
    """The feature extractor of a configuration."""
    return SmallFeatures(WEIGHTS, Sampling(SIDE, FRAMES, config.start, config.seed), config.device)
