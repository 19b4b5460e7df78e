"""VBench-2.0's eighteen dimensions, their five categories, and how clips become the leaderboard's numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

LLAVA, QWEN, CAMERA, FLOW, FACE, ANATOMY, STYLE = "llava", "qwen", "camera", "flow", "face", "anatomy", "style"
MOSTLY = 0.9  # of a dimension's clips


@dataclass(frozen=True)
class Kind:
    """How a dimension is judged. `custom`: the official code takes clips of other prompts too."""

    official: str  # its name upstream
    category: str
    needs: tuple[str, ...]  # purposes of weight files
    custom: bool = False
    truth: bool = True  # its prompts say what to look for, in `meta.auxiliary_info`

    @property
    def module(self) -> str:
        """Of the official package."""
        return self.official.lower().replace("-", "_")


def _kinds() -> tuple[Kind, ...]:
    spoken, written = (LLAVA,), (LLAVA, QWEN)
    return (
        Kind("Diversity", "creativity", (STYLE,), custom=True, truth=False),
        Kind("Composition", "creativity", spoken),
        Kind("Motion_Rationality", "commonsense", spoken),
        Kind("Instance_Preservation", "commonsense", ()),  # metrics/instance
        Kind("Dynamic_Spatial_Relationship", "controllability", spoken),
        Kind("Dynamic_Attribute", "controllability", spoken),
        Kind("Motion_Order_Understanding", "controllability", written),
        Kind("Human_Interaction", "controllability", written, truth=False),
        Kind("Complex_Landscape", "controllability", written),
        Kind("Complex_Plot", "controllability", written),
        Kind("Camera_Motion", "controllability", (CAMERA,)),
        Kind("Human_Anatomy", "human_fidelity", (ANATOMY,), custom=True, truth=False),
        Kind("Human_Identity", "human_fidelity", (FACE,), custom=True, truth=False),
        Kind("Human_Clothes", "human_fidelity", spoken, custom=True, truth=False),
        Kind("Mechanics", "physics", spoken),
        Kind("Thermotics", "physics", spoken),
        Kind("Material", "physics", spoken),
        Kind("Multi-View_Consistency", "physics", (CAMERA, FLOW), custom=True, truth=False),
    )


KINDS: Mapping[str, Kind] = {kind.module: kind for kind in _kinds()}
CATEGORIES = ("creativity", "commonsense", "controllability", "human_fidelity", "physics")


def dimension_score(name: str, values: Sequence[float | None]) -> float | None:
    """A dimension's number: the mean over the clips that have a value, None standing for the official -1.

    Where more than nine tenths of motion_order_understanding's clips have none, it is 0 (motion_order_understanding.py,
    `compute_motion_order_understanding`). None if no clip has a value.
    """
    found = [value for value in values if value is not None]
    if name == "motion_order_understanding" and len(values) - len(found) > MOSTLY * len(values):
        return 0.0
    return fmean(found) if found else None


def category_score(name: str, scores: Mapping[str, float]) -> float:
    """Plain mean of a category's dimensions (scripts/cal_final_score.py); KeyError if one is missing."""
    return fmean(scores[dimension] for dimension in dimensions_of(name))


def total(scores: Mapping[str, float]) -> float:
    """Plain mean of the five categories."""
    return fmean(category_score(name, scores) for name in CATEGORIES)


def dimensions_of(category: str) -> tuple[str, ...]:
    return tuple(name for name, kind in KINDS.items() if kind.category == category)
