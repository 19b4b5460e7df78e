"""Quality, Semantic and Total as metrics over the rows of the dimensions."""

from __future__ import annotations

from typing import Any

import pytest

from harness.samples import ClipSpec
from metrics.vbench.aggregate import DIMENSIONS, QUALITY, dimension_score, normalised, quality, semantic, total
from metrics.vbench.dimension import VBenchOptions
from metrics.vbench.prompts import VBenchPrompts
from metrics.vbench.summary import FAMILY, Quality, Semantic, Summary, TotalScore
from tests.metrics.vbench.evaluations import clip_rows, score_rows

Rows = dict[str, list[dict[str, Any]]]


def evaluation(**options: Any) -> Rows:
    rows = score_rows(clip_rows(VBenchPrompts(VBenchPrompts.Config(**options), ClipSpec()).rows()))
    return {FAMILY + name: scores for name, scores in rows.items()}


@pytest.fixture(scope="module")
def standard() -> Rows:
    return evaluation()


def judge(kind: type[Summary], **options: Any) -> Summary:
    return kind(VBenchOptions(protocol="standard", **options))


def test_the_three_numbers(standard: Rows) -> None:
    scores = {name: dimension_score(name, standard[FAMILY + name]).score or 0.0 for name in DIMENSIONS}
    for kind, formula in ((Quality, quality), (Semantic, semantic), (TotalScore, total)):
        score = judge(kind).summarise({name: standard[name] for name in kind.inputs})
        assert score.value == pytest.approx(formula(scores), abs=1e-15)
        assert score.note == ""
        assert kind.range[0] <= score.value <= kind.range[1]
    assert score.parts["quality"] == quality(scores)
    assert score.parts["scene"] == scores["scene"]
    assert score.parts["scene_normalised"] == normalised("scene", scores["scene"])
    assert len(score.parts) == 2 * 16 + 2


def test_inputs_are_the_dimensions() -> None:
    assert Quality.inputs == tuple(FAMILY + name for name in QUALITY)
    assert len(Semantic.inputs) == 9
    assert set(TotalScore.inputs) == {*Quality.inputs, *Semantic.inputs}


def test_missing_dimensions_are_named(standard: Rows) -> None:
    rows = {name: scores for name, scores in standard.items() if name not in {FAMILY + "scene", FAMILY + "color"}}
    score = judge(Semantic).summarise(rows)
    assert (score.value, score.note) == (None, "no score of color, scene")
    assert len(score.parts) == 2 * 7
    assert judge(Quality).summarise(rows).value is not None


def test_a_failed_clip_leaves_no_total(standard: Rows) -> None:
    name = FAMILY + "imaging_quality"
    broken = [dict(row) for row in standard[name]]
    number = next(i for i, row in enumerate(broken) if row["value"] is not None)
    broken[number] |= {"value": None, "error": "cannot be read"}
    score = judge(TotalScore).summarise({**standard, name: broken})
    assert score.value is None
    assert score.note == f"imaging_quality: 1 clips have no score, first {broken[number]['clip']}: cannot be read"


def test_missing_clips_leave_no_total(standard: Rows) -> None:
    name = FAMILY + "imaging_quality"
    own = [row for row in standard[name] if row["value"] is not None]
    score = judge(Quality).summarise({**standard, name: own[3:]})
    assert (score.value, score.note) == (None, "imaging_quality: 462 of 465 clips are there")


def test_a_few_prompts_are_not_mini(standard: Rows) -> None:
    """Ten clips could be two samples of mini's five prompts, were the other dimensions alike."""
    name = FAMILY + "motion_smoothness"
    own = [row for row in standard[name] if row["value"] is not None]
    score = judge(Quality).summarise({**standard, name: own[:10]})
    assert (score.value, score.note) == (None, "motion_smoothness: 10 of 360 clips are there")


def test_clips_that_passed_the_static_filter_before_are_whole(standard: Rows) -> None:
    name = FAMILY + "temporal_flickering"
    static = [row for row in standard[name] if row["value"] is not None]
    assert len(static) == 5 * 75
    score = judge(Quality).summarise({**standard, name: static})
    assert score.note == ""
    assert score.value == judge(Quality).summarise(standard).value


@pytest.mark.parametrize(
    ("options", "clips"),
    [
        ({"subset": "mini"}, 5),
        ({"subset": "mini", "samples": 3, "static_samples": 25}, 15),
        ({"samples": 2, "static_samples": 4}, 144),
    ],
)
def test_a_subset_says_so(options: dict[str, Any], clips: int) -> None:
    score = judge(TotalScore).summarise(evaluation(**options))
    assert score.value is not None
    assert score.note == (
        "not comparable with VBench's leaderboard: a subset of its prompts or samples "
        f"({clips} of 360 clips of subject_consistency, ...)"
    )


def test_unofficial_weights_say_so() -> None:
    assert Quality.warning(VBenchOptions(unofficial_weights=True)) == "weights may be others than the published ones"
    assert Quality.warning(VBenchOptions(protocol="standard")) == ""


def test_custom_clips_have_no_total() -> None:
    assert TotalScore.excluded(VBenchOptions()) == "VBench defines it for its own prompts only"
    assert TotalScore.excluded(VBenchOptions(protocol="standard")) == ""
