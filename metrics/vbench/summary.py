"""Quality, Semantic and Total of VBench, from the rows of its dimensions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from harness.api import Metric, Score, ScoreRow, register_metric
from metrics.vbench import aggregate
from metrics.vbench.aggregate import DIMENSIONS, QUALITY, SEMANTIC, Scale, Total, dimension_score, normalised
from metrics.vbench.dimension import Dimension, VBenchOptions
from metrics.vbench.prompts import FLICKERING, MINI_STRIDE, SAMPLES, prompts_of

FAMILY = "vbench/"


class Summary(Metric):
    """A number of VBench's leaderboard. Dimensions without a score, or clips missing from one, leave it without.

    Parts are the official scores of the dimensions and, as `<dimension>_normalised`, what they enter with.
    """

    Config = VBenchOptions
    runtime = Dimension.runtime
    level = "summary"
    group: ClassVar[Mapping[str, Scale]]
    config: VBenchOptions

    @classmethod
    def excluded(cls, config: VBenchOptions) -> str:
        return "" if config.protocol == "standard" else "VBench defines it for its own prompts only"

    @classmethod
    def warning(cls, config: VBenchOptions) -> str:
        return "weights may be others than the published ones" if config.unofficial_weights else ""

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Score:
        """Scores of the group's dimensions, with the reason for each one that has none."""
        totals = {name: dimension_score(name, rows.get(FAMILY + name, ())) for name in self.group}
        scores = {name: total.score for name, total in totals.items() if total.score is not None}
        parts = {**scores, **{f"{name}_normalised": normalised(name, score) for name, score in scores.items()}}
        absent = [name for name, total in totals.items() if total.clips == 0]
        problems = [f"no score of {', '.join(absent)}"] if absent else []
        problems += [f"{name}: {total.note}" for name, total in totals.items() if total.clips and total.note]
        problems += uneven({name: total for name, total in totals.items() if total.clips})
        if problems:
            return Score(None, parts, "; ".join(problems))
        return Score(self.formula(scores), {**parts, **self.further(scores)}, caveat(totals))

    @staticmethod
    @abstractmethod
    def formula(scores: Mapping[str, float]) -> float:
        """The number, of the scores of the group's dimensions."""

    def further(self, scores: Mapping[str, float]) -> Mapping[str, float]:
        """Parts besides those of the dimensions."""
        return {}


@register_metric
class Quality(Summary):
    """VBench's Quality score: seven dimensions of the pictures and their motion, dynamic degree at half weight."""

    name = "vbench/quality"
    group, formula = QUALITY, staticmethod(aggregate.quality)
    inputs = tuple(FAMILY + name for name in QUALITY)
    range = aggregate.bounds(QUALITY)


@register_metric
class Semantic(Summary):
    """VBench's Semantic score: nine dimensions of how the clip follows its prompt."""

    name = "vbench/semantic"
    group, formula = SEMANTIC, staticmethod(aggregate.semantic)
    inputs = tuple(FAMILY + name for name in SEMANTIC)
    range = aggregate.bounds(SEMANTIC)


@register_metric
class TotalScore(Summary):
    """VBench's Total score: (4 Quality + Semantic) / 5."""

    name = "vbench/total"
    group, formula = DIMENSIONS, staticmethod(aggregate.total)
    inputs = tuple(FAMILY + name for name in DIMENSIONS)
    range = (
        aggregate.combine(aggregate.bounds(QUALITY)[0], aggregate.bounds(SEMANTIC)[0]),
        aggregate.combine(aggregate.bounds(QUALITY)[1], aggregate.bounds(SEMANTIC)[1]),
    )

    def further(self, scores: Mapping[str, float]) -> Mapping[str, float]:
        return {"quality": aggregate.quality(scores), "semantic": aggregate.semantic(scores)}


def caveat(totals: Mapping[str, Total]) -> str:
    """Why the number must not be compared to the leaderboard's; "" if it may."""
    short = [name for name, total in totals.items() if total.clips < expected_clips(name)]
    if not short:
        return ""
    first = f"{totals[short[0]].clips} of {expected_clips(short[0])} clips of {short[0]}"
    return f"not comparable with VBench's leaderboard: a subset of its prompts or samples ({first}, ...)"


def expected_clips(dimension: str) -> int:
    """Clips of the official protocol; those of temporal_flickering may have passed the static filter already."""
    return SAMPLES * len(prompts_of(dimension))


def uneven(totals: Mapping[str, Total]) -> list[str]:
    """Dimensions that lack clips; [] where all prompts, of the official lists or of mini's, have as many samples."""
    clips = {name: min(total.clips, expected_clips(name)) for name, total in totals.items()}
    for stride in (1, MINI_STRIDE):
        samples = {name: count / len(prompts_of(name)[::stride]) for name, count in clips.items()}
        usual = {count for name, count in samples.items() if name != FLICKERING}
        if len(usual) <= 1 and all(count.is_integer() for count in samples.values()):
            return []
    short = {name: count for name, count in clips.items() if count < expected_clips(name)}
    return [f"{name}: {count} of {expected_clips(name)} clips are there" for name, count in short.items()]
