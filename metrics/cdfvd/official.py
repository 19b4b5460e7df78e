"""`cdfvd`: the distance of the official package (cd-fvd 0.1.1), with its networks and its published references."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.api import UserError, register_metric
from metrics.cdfvd.extract import I3DFeatures, Sampling, VideoMAEFeatures, WindowExtractor
from metrics.cdfvd.metric import FrechetMetric, FrechetOptions
from metrics.cdfvd.reference import check as check_reference
from metrics.cdfvd.reference import reference_files
from metrics.cdfvd.table import PUBLISHED, network_file, statistics_file


class OfficialOptions(FrechetOptions):
    """The package's options under its names and with its defaults."""

    reference: str = Field(
        "",
        description="folder of real clips, their statistics (.npz, .pkl), or published: ffs, kinetics, sky, ucf101",
    )
    n_real: Literal["full", 2048] = Field("full", description="of a published reference")
    model: Literal["videomae", "i3d"] = "videomae"
    resolution: int = Field(256, ge=16, description="pixels a side that clips are brought to before the network's 224")
    sequence_length: int = Field(16, ge=2, description="frames of a window; videomae: even, i3d: at least 9")
    weights: str | None = Field(None, description="folder of the checkpoints [default: Mutoscope's cache]")
    unofficial_weights: bool = Field(False, description="accept files that are not the published ones")


def extractor_of(config: OfficialOptions) -> WindowExtractor:
    """The feature extractor of a configuration. Raises UserError when its checkpoint is missing."""
    kind = VideoMAEFeatures if config.model == "videomae" else I3DFeatures
    weights = network_file(config.model, config.weights, config.unofficial_weights)
    return kind(weights, Sampling(config.resolution, config.sequence_length, config.start, config.seed), config.device)


@register_metric
class CDFVD(FrechetMetric):
    """Content-debiased FVD: Frechet distance between VideoMAE-v2 features (`model: i3d`: the classic FVD's logits).

    Features and distance agree with the package; a clip is used once, where the package by default repeats clips until
    there are 2048, and its random window depends on the clip alone, where the package's depends on the order of files.
    """

    name = "cdfvd"
    Config = OfficialOptions
    advised = 2048  # the package's n_fake
    config: OfficialOptions

    @classmethod
    def weights(cls, config: OfficialOptions) -> tuple[Path, ...]:
        check(config)
        network = network_file(config.model, config.weights, config.unofficial_weights)
        path = cls.reference_path(config)
        files = reference_files(path)
        check_reference(path, extractor_of(config))
        return (network, *files)

    @classmethod
    def warning(cls, config: OfficialOptions) -> str:
        return "weights may be others than the published ones" if config.unofficial_weights else ""

    @classmethod
    def reference_path(cls, config: OfficialOptions) -> Path:
        if not config.reference:
            raise UserError(
                f"{cls.name}: no reference is given",
                f"set its option reference to a folder of real clips, statistics, or one of {', '.join(PUBLISHED)}",
            )
        if config.reference in PUBLISHED:
            return statistics_file(statistics_name(config), config.weights, config.unofficial_weights)
        return Path(config.reference).expanduser()

    def make_extractor(self) -> WindowExtractor:
        return extractor_of(self.config)


def statistics_name(config: OfficialOptions) -> str:
    """The published file for a configuration, as load_videos names it."""
    model, source, count = config.model, config.reference, config.n_real
    return f"{model}_{source}_{count}_res{config.resolution}_len{config.sequence_length}_skip1_seed0.pkl"


def check(config: OfficialOptions) -> None:
    """Raises UserError when the network cannot read windows of this length."""
    from metrics.cdfvd.table import LEAST_FRAMES

    if config.model == "videomae" and config.sequence_length % 2:
        raise UserError("sequence_length must be even for videomae", "its tokens are two frames long")
    if config.sequence_length < LEAST_FRAMES[config.model]:
        raise UserError(
            f"{config.model} needs at least {LEAST_FRAMES[config.model]} frames, not {config.sequence_length}",
            "raise sequence_length",
        )
