"""The five category scores of VBench-2.0's leaderboard and their mean, from the rows of the dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from harness.api import Metric, Score, ScoreRow, register_metric
from metrics.instance.master import NAME as PRESERVATION
from metrics.vbench2.dimensions import ELSEWHERE
from metrics.vbench2.suite import CATEGORIES, KINDS, category_score, dimension_score, dimensions_of, total
from metrics.workers.judge import Judge, JudgeOptions


def metric_of(dimension: str) -> str:
    """The metric that holds a dimension's rows."""
    return PRESERVATION if dimension == "instance_preservation" else f"vbench2/{dimension}"


class Category(Metric):
    """A number of VBench-2.0's leaderboard; without one of its dimensions, or with failed clips, there is none.

    Parts: the scores of the dimensions that are there.
    """

    level = "summary"
    Config = JudgeOptions
    runtime = Judge.runtime
    dimensions: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.inputs = tuple(metric_of(name) for name in cls.dimensions)

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Score:
        scores, problems = dict[str, float](), list[str]()
        for name in self.dimensions:
            mine = [row for row in rows.get(metric_of(name), ()) if ELSEWHERE not in row["note"]]
            failed = sum(bool(row["error"]) for row in mine)
            score = dimension_score(name, [row["value"] for row in mine]) if mine else None
            if failed or score is None:
                problems.append(f"{name}: {failed} clips failed" if failed else f"no score of {name}")
            else:
                scores[name] = score
        return Score(None, scores, "; ".join(problems)) if problems else Score(self.formula(scores), scores)

    def formula(self, scores: Mapping[str, float]) -> float:
        """The number, of all its dimensions' scores."""
        return category_score(self.name.removeprefix("vbench2/"), scores)


@register_metric
class Creativity(Category):
    """Mean of diversity and composition."""

    name, dimensions = "vbench2/creativity", dimensions_of(CATEGORIES[0])


@register_metric
class Commonsense(Category):
    """Mean of motion rationality and instance preservation."""

    name, dimensions = "vbench2/commonsense", dimensions_of(CATEGORIES[1])


@register_metric
class Controllability(Category):
    """Mean of seven dimensions of following the prompt."""

    name, dimensions = "vbench2/controllability", dimensions_of(CATEGORIES[2])


@register_metric
class HumanFidelity(Category):
    """Mean of human anatomy, identity and clothes."""

    name, dimensions = "vbench2/human_fidelity", dimensions_of(CATEGORIES[3])


@register_metric
class Physics(Category):
    """Mean of mechanics, thermotics, material and multi-view consistency."""

    name, dimensions = "vbench2/physics", dimensions_of(CATEGORIES[4])


@register_metric
class Total(Category):
    """VBench-2.0's total: the mean of its five categories."""

    name, dimensions = "vbench2/total", tuple(KINDS)

    def formula(self, scores: Mapping[str, float]) -> float:
        return total(scores)
