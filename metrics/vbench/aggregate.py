"""From per-video scores to VBench's sixteen numbers, and from those to Quality, Semantic and Total. Pure arithmetic.

All scores are fractions (VBench's leaderboard shows per cent). Sums are exact (`math.fsum`), so that neither the order
of the rows nor the number of shards they were computed in changes a digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from harness.api import UserError

ELSEWHERE = "not a prompt of this dimension"  # the note of a row that does not belong to the dimension


@dataclass(frozen=True)
class Scale:
    """How a dimension enters its group (VBench scripts/constant.py, NORMALIZE_DIC and DIM_WEIGHT)."""

    low: float
    high: float
    weight: float = 1.0
    frames: str = ""  # the part by which videos are weighted; "": every video counts the same
    signed: bool = False  # a cosine: may be negative


QUALITY: Mapping[str, Scale] = {
    "subject_consistency": Scale(0.1462, 1.0, frames="pairs"),
    "background_consistency": Scale(0.2615, 1.0, frames="pairs"),
    "temporal_flickering": Scale(0.6293, 1.0),
    "motion_smoothness": Scale(0.706, 0.9975),
    "aesthetic_quality": Scale(0.0, 1.0),
    "imaging_quality": Scale(0.0, 1.0),
    "dynamic_degree": Scale(0.0, 1.0, weight=0.5),
}
SEMANTIC: Mapping[str, Scale] = {
    "object_class": Scale(0.0, 1.0, frames="frames"),
    "multiple_objects": Scale(0.0, 1.0, frames="frames"),
    "human_action": Scale(0.0, 1.0),
    "color": Scale(0.0, 1.0),
    "spatial_relationship": Scale(0.0, 1.0, frames="frames"),
    "scene": Scale(0.0, 0.8222, frames="frames"),
    "appearance_style": Scale(0.0009, 0.2855, frames="frames", signed=True),
    "temporal_style": Scale(0.0, 0.364, signed=True),
    "overall_consistency": Scale(0.0, 0.364, signed=True),
}
DIMENSIONS: Mapping[str, Scale] = {**QUALITY, **SEMANTIC}
QUALITY_SHARE, SEMANTIC_SHARE = 4.0, 1.0  # QUALITY_WEIGHT, SEMANTIC_WEIGHT

LEFT_OUT = {  # dimensions whose official mean leaves videos out, and why
    "color": "the object is in none of their frames",
    "temporal_flickering": "the static filter rejects them, or five of the prompt came before",
}


# ---- sixteen numbers to three ----------------------------------------------------------------------------------


def normalised(dimension: str, score: float) -> float:
    """`(score - min) / (max - min)`; not clipped (cal_final_score.py, get_nomalized_score)."""
    scale = DIMENSIONS[dimension]
    return (score - scale.low) / (scale.high - scale.low)


def quality(scores: Mapping[str, float]) -> float:
    """Weighted mean of seven normalised dimensions, dynamic degree at 0.5 (get_quality_score)."""
    return _group(QUALITY, scores)


def semantic(scores: Mapping[str, float]) -> float:
    """Mean of nine normalised dimensions (get_semantic_score)."""
    return _group(SEMANTIC, scores)


def total(scores: Mapping[str, float]) -> float:
    """`(4 Quality + Semantic) / 5` (get_final_score)."""
    return combine(quality(scores), semantic(scores))


def combine(quality_score: float, semantic_score: float) -> float:
    """Total of two scores that are known already."""
    return fsum((QUALITY_SHARE * quality_score, SEMANTIC_SHARE * semantic_score)) / (QUALITY_SHARE + SEMANTIC_SHARE)


def _group(group: Mapping[str, Scale], scores: Mapping[str, float]) -> float:
    missing = [name for name in group if name not in scores]
    if missing:
        raise UserError(f"no score of {', '.join(missing)}", "VBench counts a missing dimension as 0; evaluate it")
    return fsum(scale.weight * normalised(name, scores[name]) for name, scale in group.items()) / fsum(
        scale.weight for scale in group.values()
    )


def bounds(group: Mapping[str, Scale]) -> tuple[float, float]:
    """Smallest and largest value a group's score can take: dimensions are not clipped to their (min, max)."""
    ends = ({name: -1.0 if scale.signed else 0.0 for name, scale in group.items()}, dict.fromkeys(group, 1.0))
    return _group(group, ends[0]), _group(group, ends[1])


# ---- videos to one number --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Total:
    """A dimension's official score over the videos of its prompts."""

    score: float | None  # None: there is none, `note` says why
    clips: int  # of the dimension's prompts, whatever came of them
    used: int  # that the mean is made of
    failed: int  # without a score although the dimension is defined for them
    note: str = ""


def dimension_score(dimension: str, rows: Sequence[Mapping[str, Any]]) -> Total:
    """VBench's own average of a dimension, as one process computes it (`compute_<dimension>` of vbench 0.1.5).

    Videos weigh the same, except where VBench averages over all frames (or frame pairs) of all videos. A video that
    failed leaves the dimension without a score: VBench would skip it and compare other videos.

    Args:
        rows: score rows of any clips in any order; those that belong to other dimensions are passed over.

    Raises:
        UserError: a clip comes twice, or its row lacks the weight.
    """
    own = [row for row in rows if row["note"] != ELSEWHERE]
    _check_once(dimension, own)
    scored = [row for row in own if row["value"] is not None and not row["error"]]
    failed = [row for row in own if row["error"] or (row["value"] is None and dimension not in LEFT_OUT)]
    if failed:
        first = failed[0]
        reason = f"{first['clip']}: {first['error'] or first['note'] or 'no value'}"
        return Total(None, len(own), len(scored), len(failed), f"{len(failed)} clips have no score, first {reason}")
    if not scored:
        note = f"{LEFT_OUT[dimension]} ({len(own)} clips)" if own else "no clip of its prompts"
        return Total(None, len(own), 0, 0, note)
    weights = [_weight(dimension, row) for row in scored]
    products = (weight * row["value"] for weight, row in zip(weights, scored, strict=True))
    return Total(fsum(products) / fsum(weights), len(own), len(scored), 0)


def _weight(dimension: str, row: Mapping[str, Any]) -> float:
    part = DIMENSIONS[dimension].frames
    if not part:
        return 1.0
    weight = row["parts"].get(part)
    if weight is None or not (math.isfinite(weight) and weight > 0):
        raise UserError(
            f"{dimension}: {row['clip']}: its row has no number of {part}",
            "evaluate the clip again: VBench weighs by it",
        )
    return float(weight)


def _check_once(dimension: str, rows: Sequence[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row["clip"] in seen:
            raise UserError(f"{dimension}: {row['clip']} comes twice", "each clip counts once; merge each shard once")
        seen.add(row["clip"])
