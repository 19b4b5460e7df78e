"""Set-level, samples-level and summary metrics: sound ones, and those that break one promise each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness import video
from harness.api import Clip, Features, Metric, Open, Options
from harness.judging import ScoreRow
from tests.conformance.breaking import breaker
from tests.conformance.broken_metrics import Detail, grey

BROKEN, breaks = breaker()


class Spread(Metric):
    """Standard deviation of the clips' means; keeps every promise."""

    name: ClassVar[str] = "plain/spread"
    level = "set"

    def reset(self) -> None:
        self.values: list[float] = []

    def update(self, clip: Clip, features: Features) -> None:
        self.values.append(grey(features.frames))

    def merge(self, other: Any) -> None:
        self.values = self.values + other.values

    def compute(self) -> Any:
        return float(np.std(self.values))


class DistanceOptions(Options):
    """`reference`: a folder of clips."""

    reference: str = ""


class Distance(Spread):
    """How far the mean grey step of a set is from that of a folder; keeps every promise."""

    name = "plain/distance"
    Config = DistanceOptions
    higher_is_better = False
    moves = {"noise": "up"}
    at: ClassVar[float] = 0.02  # of the embedded world

    def update(self, clip: Clip, features: Features) -> None:
        self.values.append(float(Detail(None).score(clip, features).value or 0))

    def compute(self) -> Any:
        return abs(float(np.mean(sorted(self.values))) - self.real())

    def real(self) -> float:
        files = sorted(Path(self.config.reference).glob("*.mp4")) if self.config.reference else []
        films = [video.read(path).frames.astype(np.float64) for path in files]
        return (
            float(np.mean(sorted(np.abs(np.diff(film, axis=2)).mean() / 255 for film in films))) if films else self.at
        )


class Best(Metric):
    """Whether a sample is the brightest of its prompt's; keeps every promise."""

    name = "plain/best"
    level = "samples"

    def score_samples(self, clips: Sequence[Clip], open_clip: Open) -> Any:
        values = {}
        for clip in clips:
            with open_clip(clip) as features:
                values[clip.id] = grey(features.frames)
        best = max(values.values())
        return {key: float(value == best) for key, value in values.items()}


class Mean(Metric):
    """Mean of another metric's rows; keeps every promise."""

    name = "plain/mean"
    level = "summary"
    inputs = ("plain/grey",)

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Any:
        values = self.values(rows)
        return float(np.mean(values)) if values else None

    def values(self, rows: Mapping[str, Sequence[ScoreRow]]) -> list[float]:
        return [row["value"] for row in rows.get("plain/grey", ()) if row["value"] is not None]


KEEPING: tuple[type[Metric], ...] = (Spread, Distance, Best, Mean)


@breaks("clip order", "the set's value changes with the order of its clips")
class Fading(Spread):
    """Later clips count more."""

    def compute(self) -> Any:
        weights = np.arange(1, len(self.values) + 1)
        return float(np.average(self.values, weights=weights))


@breaks("shards", "it is another value than from all at once")
class MeanOfShards(Spread):
    """The mean of the shards' means, whatever their sizes."""

    def reset(self) -> None:
        self.values, self.means = [], list[float]()

    def merge(self, other: Any) -> None:
        self.means = [self.mean(), *self.means[1:], other.mean()]

    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else 0.0

    def compute(self) -> Any:
        return float(np.mean(self.means)) if self.means else self.mean()


@breaks("shards", "it is another value than from all at once")
class OneSided(Spread):
    """Merging keeps whichever came last: the order of shards matters."""

    def merge(self, other: Any) -> None:
        self.values = other.values


@breaks("reset", "after reset() it still knows the clips before")
class NeverForgets(Spread):
    """Forgets only when it is made."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.values = []

    def reset(self) -> None:
        pass


@breaks("reset", "compute() a second time gives another value")
class UsesUp(Spread):
    """Computing takes the state away."""

    def compute(self) -> Any:
        taken, self.values = self.values, [0.5]
        return float(np.std(taken))


@breaks("names", "the value depends on clip.id")
class FirstById(Spread):
    """The first clip by name stands for the set."""

    def update(self, clip: Clip, features: Features) -> None:
        self.values.append((clip.id[::-1], grey(features.frames)))  # type: ignore[arg-type]

    def compute(self) -> Any:
        return sorted(self.values)[0][1]  # type: ignore[index]


@breaks("answers", "it answers nan")
class NoDegrees(Spread):
    """A deviation with nothing to divide by."""

    def compute(self) -> Any:
        return float("nan")


@breaks("identity", "a set against itself is")
class NotAtZero(Distance):
    """A distance that is not 0 at home."""

    def compute(self) -> Any:
        return super().compute() + 0.1


@breaks("direction", "moves says it goes down under noise")
class WrongDistance(Distance):
    """Says noise brings a set nearer."""

    moves = {"noise": "down", "blur": "up"}


@breaks("answers", "score_samples gives no answer for clip")
class FirstOnly(Best):
    """Answers for the first sample alone."""

    def score_samples(self, clips: Sequence[Clip], open_clip: Open) -> Any:
        return dict(list(super().score_samples(clips, open_clip).items())[:1])


@breaks("summary", "the value changes with the order of rows")
class LastRow(Mean):
    """The last row stands for all."""

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Any:
        return (self.values(rows) or [None])[-1]


@breaks("summary", "TypeError")
class CountsNone(Mean):
    """Adds up rows without a value."""

    def values(self, rows: Mapping[str, Sequence[ScoreRow]]) -> list[float]:
        return [row["value"] + 0 for row in rows.get("plain/grey", ())]


@breaks("summary", "KeyError: 'plain/grey'")
class NeedsInput(Mean):
    """Takes its input for granted."""

    def values(self, rows: Mapping[str, Sequence[ScoreRow]]) -> list[float]:
        return [row["value"] for row in rows["plain/grey"] if row["value"] is not None]
