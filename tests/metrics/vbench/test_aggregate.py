"""VBench's arithmetic: published tables are reproduced to rounding, and no digit depends on how the work was split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import leaderboards
from harness.api import Clip
from harness.commands.audit import read_paper
from harness.commands.audit import rules as audit_rules
from harness.errors import UserError
from leaderboards.formulas import known
from leaderboards.papers import lines
from metrics.vbench.aggregate import (
    DIMENSIONS,
    ELSEWHERE,
    QUALITY,
    SEMANTIC,
    bounds,
    combine,
    dimension_score,
    normalised,
    quality,
    semantic,
    total,
)
from metrics.vbench.dimension import VBenchOptions
from metrics.vbench.subject_consistency import SubjectConsistency

FOLDER = Path(leaderboards.__path__[0]) / "published"


def read_published(*names: str) -> dict[str, dict[str, str]]:
    """Rows of the shipped tables that have all seven dimensions of quality: printed text by short name."""
    metrics, rows = known(list(audit_rules())), {}
    for paper in (read_paper(FOLDER / f"{name}.yaml") for name in names):
        for table in paper.tables:
            for line in lines(table, metrics):
                cells = {name.removeprefix("vbench/"): cell.printed.text for name, cell in line.cells.items()}
                if cells.keys() >= QUALITY.keys():
                    rows[f"{paper.name} table {table.title}: {line.label}"] = cells
    return rows


PUBLISHED = read_published("ltd", "t2v_turbo_v2")
HALF = 0.005  # what two decimals leave open
KLING = "T2V-Turbo-v2 table 11: Kling"
WRONG = {  # (row, number): what the printed dimensions give instead of what is printed
    (KLING, "quality"): 82.288,  # its aesthetic quality and dynamic degree are swapped
    (KLING, "total"): 80.965,
    ("T2V-Turbo-v2 table 8: VCM: OpenVid", "total"): 79.282,  # not (4 Q + S) / 5 of its own Q and S
    ("LTD table 1, VBench-prompt: CogVideoX [2]", "quality"): 82.180,
    ("LTD table 1, VBench-prompt: OpenSora [3]", "quality"): 82.098,
    ("LTD table 1, VMBench-prompt: Wan2.1 (Base) [5]", "quality"): 68.010,
    ("LTD table 1, VMBench-prompt: Ours", "quality"): 74.147,
}


def fractions(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(row[name]) / 100 for name in DIMENSIONS if name in row}


def slack(group: str) -> float:
    """How far rounded dimensions and a rounded result may be apart, in per cent points."""
    weights = QUALITY if group == "quality" else SEMANTIC
    gain = sum(scale.weight / (scale.high - scale.low) for scale in weights.values())
    return HALF + HALF * gain / sum(scale.weight for scale in weights.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_add_up(name: str) -> None:
    row, scores = PUBLISHED[name], fractions(PUBLISHED[name])
    found = {"quality": (100 * quality(scores), slack("quality"))}
    if "semantic" in row:
        found["semantic"] = 100 * semantic(scores), slack("semantic")
        found["total"] = 100 * total(scores), (4 * slack("quality") + slack("semantic")) / 5
    for number, (value, allowed) in found.items():
        wrong = WRONG.get((name, number))
        if wrong is None:
            assert value == pytest.approx(float(row[number]), abs=allowed), number
        else:
            assert value == pytest.approx(wrong, abs=6e-4), number
            assert abs(value - float(row[number])) > allowed, number


def test_all_tables_are_there() -> None:
    assert len(PUBLISHED) == 49
    assert sum("total" in row for row in PUBLISHED.values()) == 37
    assert {name for name, _ in WRONG} <= PUBLISHED.keys()


def test_klings_row_adds_up_with_two_columns_swapped() -> None:
    scores = fractions(PUBLISHED[KLING])
    scores["aesthetic_quality"], scores["dynamic_degree"] = scores["dynamic_degree"], scores["aesthetic_quality"]
    assert 100 * quality(scores) == pytest.approx(83.39, abs=0.005)
    assert 100 * total(scores) == pytest.approx(81.85, abs=0.01)


def test_normalisation_is_not_clipped() -> None:
    assert normalised("motion_smoothness", 1.0) == pytest.approx(0.294 / 0.2915)
    assert normalised("subject_consistency", 0.0) == pytest.approx(-0.1462 / 0.8538)
    assert normalised("scene", 0.8222) == 1.0
    assert normalised("appearance_style", 0.0009) == 0.0


def test_bounds_hold_every_score() -> None:
    rng = np.random.default_rng(0)
    for group, of in ((QUALITY, quality), (SEMANTIC, semantic)):
        low, high = bounds(group)
        for _ in range(50):
            scores = {name: rng.uniform(-1 if scale.signed else 0, 1) for name, scale in group.items()}
            assert low <= of(scores) <= high
    assert bounds(QUALITY) == pytest.approx((-0.714598, 1.001319), abs=1e-6)


def test_total_is_four_parts_quality() -> None:
    assert combine(0.85, 0.65) == pytest.approx(0.81)
    with pytest.raises(UserError, match="no score of color, scene"):
        semantic({name: 0.5 for name in SEMANTIC if name not in {"color", "scene"}})


# ---- videos to one number ------------------------------------------------------------------------------------------


def row(clip: str, value: float | None, note: str = "", error: str = "", **parts: float) -> dict[str, Any]:
    return {"clip": clip, "sha256": "", "value": value, "parts": parts, "note": note, "error": error}


def test_frame_weighted_dimensions_average_over_frames() -> None:
    """subject_consistency.py: the sum over all pairs of all videos over their number, not a mean of video means."""
    rng = np.random.default_rng(1)
    clips = [rng.uniform(0.5, 1.0, size) for size in (3, 17, 80)]
    rows = [row(str(i), float(clip.mean()), pairs=len(clip), frames=len(clip)) for i, clip in enumerate(clips)]
    over_frames = np.concatenate(clips).mean()
    over_videos = np.mean([clip.mean() for clip in clips])
    assert abs(over_frames - over_videos) > 1e-3
    for name, scale in DIMENSIONS.items():
        wanted = over_frames if scale.frames else over_videos
        assert dimension_score(name, rows).score == pytest.approx(wanted, abs=1e-15), name
    weighted = {name: scale.frames for name, scale in DIMENSIONS.items() if scale.frames}
    assert weighted == {
        "subject_consistency": "pairs", "background_consistency": "pairs", "appearance_style": "frames",
        "object_class": "frames", "multiple_objects": "frames", "spatial_relationship": "frames", "scene": "frames",
    }  # fmt: skip


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_shards_and_order_change_no_digit(dimension: str) -> None:
    rng = np.random.default_rng(2)
    rows = [
        row(f"{i:04d}", float(rng.uniform()), pairs=int(rng.integers(1, 200)), frames=int(rng.integers(1, 200)))
        for i in range(300)
    ]
    once = dimension_score(dimension, rows)
    for shards in (1, 2, 3):
        for _ in range(5):
            order = rng.permutation(len(rows))
            merged = [rows[i] for part in np.array_split(order, shards) for i in part]
            assert dimension_score(dimension, merged) == once


def test_videos_without_the_object_are_left_out_of_color_only() -> None:
    rows = [row("a", 0.5), row("b", None, "never seen"), row("c", 1.0)]
    found = dimension_score("color", rows)
    assert (found.score, found.clips, found.used, found.failed) == (0.75, 3, 2, 0)
    found = dimension_score("temporal_flickering", rows)
    assert (found.score, found.clips, found.used) == (0.75, 3, 2)
    found = dimension_score("human_action", rows)
    assert (found.score, found.failed) == (None, 1)
    assert found.note == "1 clips have no score, first b: never seen"
    assert dimension_score("color", rows[1:2]).note == "the object is in none of their frames (1 clips)"


def test_other_dimensions_clips_do_not_count() -> None:
    rows = [row("a", 0.5), row("b", None, ELSEWHERE)]
    found = dimension_score("imaging_quality", rows)
    assert (found.score, found.clips, found.failed) == (0.5, 1, 0)
    assert dimension_score("imaging_quality", rows[1:]).note == "no clip of its prompts"


def test_that_is_what_dimensions_say_of_other_clips() -> None:
    clip = Clip("a", Path("a.mp4"), "", "a cat", None, {"dimensions": ["scene"]})
    assert SubjectConsistency(VBenchOptions(protocol="standard")).skip(clip) == ELSEWHERE
    assert SubjectConsistency(VBenchOptions()).skip(clip) == ""


def test_a_failed_clip_leaves_no_score() -> None:
    found = dimension_score("imaging_quality", [row("a", 0.5), row("b", None, error="cannot be read")])
    assert (found.score, found.failed, found.note) == (None, 1, "1 clips have no score, first b: cannot be read")


def test_doubled_clips_and_missing_weights_are_errors() -> None:
    with pytest.raises(UserError, match="imaging_quality: a comes twice"):
        dimension_score("imaging_quality", [row("a", 0.5), row("a", 0.5)])
    with pytest.raises(UserError, match="scene: a: its row has no number of frames"):
        dimension_score("scene", [row("a", 0.5)])
