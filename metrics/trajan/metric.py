"""TRAJAN's numbers as metrics, `trajan/...` with the official network and `trajan-shapes` with the shipped one."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from harness.api import Clip, Extractor, Features, Metric, Options, Score, register_metric
from harness.tracking import find_tracker
from metrics.trajan.noise import Stream
from metrics.trajan.protocol import SIDE
from metrics.trajan.reconstruction import Reconstruction, read, shared
from metrics.trajan.scoring import MOTION, NUMBERS, Resolution, Rule
from metrics.trajan.sizes import OFFICIAL, SMALL, Sizes
from metrics.trajan.table import require, require_shapes

OFFICIAL_TRACKER = "bootstapir"
SHAPES_SIDE = 64  # pixels of the world's clips: enlarged to 256, LK finds no texture (15 % visible, not 91 %)
SHAPES_TRACKER = {"name": "lk", "patch": 0}  # what is lost stays lost, so that shuffling tells: weights/README.md
OFFICIAL_POINTS = 2048
Direction = Literal["higher", "lower", "none"]
HIGHER: dict[Direction, bool | None] = {"higher": True, "lower": False, "none": None}


class ReconstructionOptions(Options):
    """How tracks are made and scored; all but the device can change a score."""

    tracker: dict[str, Any] = Field({"name": "lk"}, description="a point tracker and its options")
    rule: Rule = Field("colab", description="when a point counts as predicted occluded, see scoring.is_occluded")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; of the network")

    @field_validator("tracker")
    @classmethod
    def _known(cls, tracker: dict[str, Any]) -> dict[str, Any]:
        kind, config = find_tracker(tracker)
        return {"name": kind.name, **config.model_dump(mode="json")}


class TrajanOptions(ReconstructionOptions):
    """The official protocol by default, but for the tracker, which has to be named."""

    resolution: Resolution = Field("native", description="pixels of the thresholds: the clip's own (colab), or 256x256")
    support: int = Field(OFFICIAL_POINTS, ge=1, description="tracks that the network is shown")
    targets: int = Field(OFFICIAL_POINTS, ge=1, description="tracks that it is asked for")
    noise: Stream = Field("jax>=0.5", description="whose random numbers are added to the latents")
    direction: Direction = Field("higher", description="better is: higher (TRAJAN's authors), lower (MSM), none")
    weights: str | None = Field(None, description="folder of the checkpoint [default: Mutoscope's cache]")
    unofficial_weights: bool = Field(False, description="accept a file that is not the published one")


class ShapesOptions(ReconstructionOptions):
    """Fewer tracks, in pixels of 256x256 at any size, for the small network."""

    tracker: dict[str, Any] = Field(dict(SHAPES_TRACKER), description="a point tracker and its options")
    resolution: Resolution = Field("256", description="pixels of the thresholds: the clip's own, or 256x256")
    support: int = Field(256, ge=1, description="tracks that the network is shown")
    targets: int = Field(256, ge=1, description="tracks that it is asked for")


class Reconstructed(Metric):
    """A number of what `Reconstruction` found. Clips of one frame have none, nor have those without a visible point."""

    level = "clip"
    number: ClassVar[str]  # of NUMBERS or MOTION
    undefined: ClassVar[str] = "no target is visible after the first frame"
    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._extractor: Reconstruction | None = None

    @property
    def extractor(self) -> Reconstruction:
        """The one that all metrics of this configuration share."""
        if self._extractor is None:
            self._extractor = self.find_extractor()
        return self._extractor

    @abstractmethod
    def find_extractor(self) -> Reconstruction:
        """The shared extractor of this configuration. Raises UserError when its weights are missing."""

    def extractors(self) -> Sequence[Extractor]:
        return (self.extractor,)

    def close(self) -> None:
        if self._extractor is not None:
            self._extractor.close()

    def score(self, clip: Clip, features: Features) -> Score:
        found = read(features.of(self.extractor), self.config.rule, self.config.resolution)
        if not found:
            return Score(None, note="a single frame has no tracks")
        value = found[self.number]
        rest = {name: found[name] for name in (*NUMBERS, *MOTION) if name != self.number}
        parts = {name: part for name, part in rest.items() if not math.isnan(part)}
        if math.isnan(value):
            return Score(None, parts, f"{self.number} is undefined: {self.undefined}")
        return Score(value, parts)


class Trajan(Reconstructed):
    """A number of TRAJAN (Allen et al. 2025) with the official network. The tracker is the user's choice."""

    Config = TrajanOptions
    runtime = frozenset({"weights", "unofficial_weights"})
    higher_is_better: ClassVar[bool | None] = True
    config: TrajanOptions

    @classmethod
    def weights(cls, config: TrajanOptions) -> tuple[Path, ...]:
        kind, options = find_tracker(config.tracker)
        return (require(config.weights, config.unofficial_weights), *kind.weights(options))

    @classmethod
    def direction(cls, config: TrajanOptions) -> bool | None:
        """Whether higher is better: the literature disagrees, so it is a setting."""
        return HIGHER[config.direction]

    @classmethod
    def warning(cls, config: TrajanOptions) -> str:
        told = []
        if config.tracker["name"] != OFFICIAL_TRACKER:
            told.append(f"NOT comparable with TRAJAN's: tracks are of {config.tracker['name']}, not {OFFICIAL_TRACKER}")
        if (config.support, config.targets) != (OFFICIAL_POINTS, OFFICIAL_POINTS):
            told.append(
                f"{config.support} support and {config.targets} target tracks, officially {OFFICIAL_POINTS} each"
            )
        if config.rule != "colab":
            told.append(f"occlusion by {config.rule}, not as the released code has it")
        if config.resolution != "native":
            told.append("thresholds in pixels of 256x256, in the released code in those of the clip")
        if config.unofficial_weights:
            told.append("weights may be others than the published ones")
        told.append("near-static clips score high: read it beside the share of still tracks")
        return "; ".join(told)

    def find_extractor(self) -> Reconstruction:
        path = self.weights(self.config)[0]
        return _shared(path, OFFICIAL, self.config, self.config.noise, SIDE)


@register_metric
class AverageJaccard(Trajan):
    """Mean over 1, 2, 4, 8 and 16 px of: correctly reconstructed visible points, over those there are or were claimed.

    Official arithmetic (TAP-Vid "strided" with all queries at frame 0, as the colab calls it).
    """

    name = "trajan/average_jaccard"
    number = "average_jaccard"


@register_metric
class OcclusionAccuracy(Trajan):
    """Share of points and frames whose occlusion is reconstructed; always "visible" has 0.7 to 0.9 on usual clips."""

    name = "trajan/occlusion_accuracy"
    number = "occlusion_accuracy"


@register_metric
class PointsWithin(Trajan):
    """Mean over 1, 2, 4, 8 and 16 px of the share of visible points that are reconstructed so near."""

    name = "trajan/points_within"
    number = "average_pts_within_thresh"


@register_metric
class Stillness(Trajan):
    """Share of tracks that stay within 4 px of 256: what a high score of the others may be due to (MSM)."""

    name = "trajan/stillness"
    number = "still"
    higher_is_better = None

    @classmethod
    def direction(cls, config: TrajanOptions) -> bool | None:
        return None


@register_metric
class TrajanShapes(Reconstructed):
    """TRAJAN's protocol with a small network of the same design that knows the motions of the embedded world only.

    The value is the Average Jaccard of the targets that move, in pixels of 256x256: over all targets it would mostly
    say how much of a clip stands still. A clip in which nothing moves has none. The other numbers, that of all targets
    among them, and the share of still tracks are parts. Frames are tracked at 64x64. Clips longer than the network's 32
    frames are judged by their beginning. Not TRAJAN's numbers.
    """

    name = "trajan-shapes"
    version = 2  # 1: of all targets
    Config = ShapesOptions
    number = "moving_jaccard"
    undefined = "nothing moves"
    moves = {"shuffle": "down", "teleport": "down", "jitter": "down"}
    config: ShapesOptions

    @classmethod
    def weights(cls, config: ShapesOptions) -> tuple[Path, ...]:
        kind, options = find_tracker(config.tracker)
        return (require_shapes(), *kind.weights(options))

    @classmethod
    def warning(cls, config: ShapesOptions) -> str:
        return "a judge of the embedded world only"

    def find_extractor(self) -> Reconstruction:
        return _shared(require_shapes(), SMALL, self.config, "jax>=0.5", SHAPES_SIDE)


def _shared(path: Path, sizes: Sizes, config: Any, stream: Stream, side: int) -> Reconstruction:
    points = (config.support, config.targets)
    return shared(path, sizes, stream, json.dumps(config.tracker, sort_keys=True), side, points, config.device)
