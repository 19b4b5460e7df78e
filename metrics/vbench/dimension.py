"""What the sixteen VBench dimensions share: options, weights, which clips they judge, and with which engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from harness.api import Clip, Extractor, Features, Metric, Options, Score
from harness.features import sha256_file
from metrics.vbench.aggregate import ELSEWHERE
from metrics.vbench.table import require

if TYPE_CHECKING:
    import torch

    from metrics.vbench.official import OfficialDimension


class VBenchOptions(Options):
    """How a dimension is evaluated. Only `protocol` and `precision` can change a score, and enter the fingerprint."""

    protocol: Literal["custom", "standard"] = Field(
        "custom", description="standard: only prompts of this dimension, as on VBench's leaderboard; custom: any clip"
    )
    precision: Literal["exact", "fast"] = Field("exact", description="fast: tf32, bf16; its own fingerprint")
    backend: Literal["auto", "native", "official"] = Field(
        "auto", description="native: in this process; official: the vbench package in its own environment"
    )
    weights: str | None = Field(None, description="folder of weights in VBench's layout [default: Mutoscope's cache]")
    unofficial_weights: bool = Field(False, description="accept files that are not the published ones")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")


class Dimension(Metric):
    """A VBench dimension under its official name (vbench 0.1.5)."""

    Config = VBenchOptions
    runtime = frozenset({"backend", "weights", "unofficial_weights"})
    dimension: ClassVar[str]  # the official name, e.g. "subject_consistency"
    native: ClassVar[bool] = True  # this package computes it; otherwise only the official one does
    custom: ClassVar[bool] = True  # VBench accepts it for clips of other prompts
    config: VBenchOptions

    def __init__(self, config: VBenchOptions) -> None:
        super().__init__(config)
        self._worker: OfficialDimension | None = None

    @classmethod
    def engine(cls, config: VBenchOptions) -> Literal["native", "official"]:
        """Which engine computes it under this configuration."""
        if config.backend == "auto":
            return "native" if cls.native else "official"
        return config.backend

    @property
    def alone(self) -> bool:
        return self.engine(self.config) == "official"

    @classmethod
    def weights(cls, config: VBenchOptions) -> tuple[Path, ...]:
        paths = require(cls.dimension, cls.engine(config), config.weights, config.unofficial_weights)
        if cls.engine(config) == "official":
            from metrics.vbench.official import require_environment

            require_environment()
        return paths

    @classmethod
    def excluded(cls, config: VBenchOptions) -> str:
        if config.protocol == "custom" and not cls.custom:
            return "VBench defines it for its own prompts only"
        if config.backend == "native" and not cls.native:
            return "it has no native engine"
        if config.precision == "fast" and cls.engine(config) == "official":
            return "the official package has no fast mode"
        return ""

    @classmethod
    def warning(cls, config: VBenchOptions) -> str:
        told = []
        if config.protocol == "custom":
            told.append("custom clips, not comparable with VBench's leaderboard")
        if config.unofficial_weights:
            told.append("weights may be others than the published ones")
        return "; ".join(told)

    def skip(self, clip: Clip) -> str:
        if self.config.protocol == "standard" and self.dimension not in clip.meta.get("dimensions", ()):
            return ELSEWHERE
        return ""

    def extractors(self) -> Sequence[Extractor]:
        return self.native_extractors() if self.engine(self.config) == "native" else ()

    def score(self, clip: Clip, features: Features) -> Score:
        if self.engine(self.config) == "native":
            return self.judge(clip, features)
        if self._worker is None:
            from metrics.vbench.official import OfficialDimension

            self._worker = OfficialDimension(self.dimension, self.config)
        return self._worker.score(clip)

    def native_extractors(self) -> Sequence[Extractor]:
        """What `judge` reads of every clip."""
        return ()

    @abstractmethod
    def judge(self, clip: Clip, features: Features) -> Score:
        """The native engine's score of one clip: arithmetic on what was extracted, and text encoders."""

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class NetworkExtractor(Extractor):
    """An extractor that runs one network, read from official checkpoint files when the first clip needs it."""

    def __init__(self, paths: tuple[Path, ...], device: str, precision: str) -> None:
        self.paths, self.precision = paths, precision
        self._device = device

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"weights": [sha256_file(path) for path in self.paths], "precision": self.precision}

    @property
    def device(self) -> torch.device:
        import torch

        if self._device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self._device)


E_ = TypeVar("E_", bound=NetworkExtractor)


@cache
def shared(kind: type[E_], paths: tuple[Path, ...], device: str, precision: str) -> E_:
    """The one extractor of this kind and configuration in this process: dimensions that agree on it share it."""
    return kind(paths, device, precision)
