"""What the metrics of this folder share: a set of features, a reference, a distance and how sure it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from harness.api import Clip, Extractor, Features, Metric, Options, Score, UserError
from metrics.cdfvd.statistics import FeatureSet

if TYPE_CHECKING:
    from metrics.cdfvd.extract import WindowExtractor
    from metrics.cdfvd.statistics import Reference

FEWEST = 4  # clips for an interval


class FrechetOptions(Options):
    """What a Frechet distance depends on besides the network."""

    reference: str = Field("", description="folder of real clips, or their statistics (.npz, .pkl)")
    start: Literal["first", "random"] = Field(
        "random", description="which window of a clip is used; random is a function of the clip's content and seed"
    )
    seed: int = Field(0, ge=0, description="of random windows and of the interval")
    draws: int = Field(200, ge=20, description="random halves behind the interval")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")


class FrechetMetric(Metric):
    """Frechet distance between the features of all clips and those of the reference. Lower is better.

    Parts: clips, reference_clips, and from four clips on se, low and high: standard error and 95 % interval over
    clips, the reference as given (`bootstrap`). Clips with fewer frames than a window are left out and counted. Not
    applicable to a single clip.
    """

    level = "set"
    higher_is_better = False
    range = (0.0, 1e12)
    runtime = frozenset({"reference", "weights", "unofficial_weights"})  # their bytes enter, not their places
    advised: ClassVar[int]  # clips below which a distance carries a warning

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.reset()

    @classmethod
    @abstractmethod
    def reference_path(cls, config: Any) -> Path:
        """Where the reference lies. Raises UserError when none is given or it is missing."""

    @abstractmethod
    def make_extractor(self) -> WindowExtractor:
        """What turns a clip into a feature."""

    @cached_property
    def extractor(self) -> WindowExtractor:
        return self.make_extractor()

    def extractors(self) -> Sequence[Extractor]:
        return (self.extractor,)

    def reset(self) -> None:
        self.taken = FeatureSet()

    def update(self, clip: Clip, features: Features) -> None:
        self.taken.add(clip.sha256, features.of(self.extractor))

    def merge(self, other: Metric) -> None:
        """Take another shard's clips in. Raises TypeError when it is another metric's, or of another network."""
        if not isinstance(other, FrechetMetric) or other.extractor.identity != self.extractor.identity:
            raise TypeError(f"{self.name} cannot take in the state of {other.name}")
        self.taken.merge(other.taken)

    def compute(self) -> Score:
        from metrics.cdfvd import bootstrap, reference
        from metrics.cdfvd.frechet import Gaussian, distance

        clips = len(self.taken)
        if not clips:
            raise UserError(f"no clip is long enough: {self.taken.short} have fewer frames", "make longer clips")
        if clips == 1:
            return Score(None, note="a single clip has no covariance")
        known = reference.load(self.reference_path(self.config), self.extractor)
        array = self.taken.array()
        value = distance(Gaussian.of_features(array), known.gaussian)
        parts = {"clips": float(clips), "reference_clips": float(known.gaussian.count)}
        if clips >= FEWEST:
            around = bootstrap.interval(array, known.gaussian, value, self.config.draws, self.config.seed)
            parts |= {"se": around.se, "low": around.low, "high": around.high}
        return Score(value, parts, "; ".join(self.remarks(known)))

    def remarks(self, known: Reference) -> list[str]:
        """What a reader of the number must know."""
        clips, told = len(self.taken), []
        fewest, size = min(clips, known.gaussian.count), known.gaussian.size
        if fewest < size:
            told.append(f"biased: {fewest} clips for {size} dimensions, compare at equal numbers of clips only")
        if clips < self.advised:
            told.append(f"{clips} clips, fewer than the {self.advised} that are advised")
        for count, of in ((self.taken.short, "clips"), (known.left_out, "reference clips")):
            if count:
                told.append(f"{count} {of} left out, too short")
        return told
