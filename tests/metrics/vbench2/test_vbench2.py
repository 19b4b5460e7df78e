"""VBench-2.0: dimensions, categories and prompts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, ClipSpec, ScoreRow, UserError
from metrics.vbench2 import categories, dimensions, prompts
from metrics.vbench2.categories import Commonsense, Physics, Total
from metrics.vbench2.dimensions import CameraMotion, Composition, Diversity, HumanIdentity, Mechanics, VBench2Dimension
from metrics.vbench2.prompts import VBench2Prompts, official_entries, official_info
from metrics.vbench2.suite import CATEGORIES, KINDS, category_score, dimension_score, dimensions_of, total
from metrics.workers.judge import JudgeOptions

OPTIONS = JudgeOptions()
SHARES = {  # scripts/constant.py
    "creativity": {"composition", "diversity"},
    "commonsense": {"instance_preservation", "motion_rationality"},
    "controllability": {"camera_motion", "complex_landscape", "complex_plot", "dynamic_attribute",
                        "dynamic_spatial_relationship", "human_interaction", "motion_order_understanding"},
    "human_fidelity": {"human_anatomy", "human_clothes", "human_identity"},
    "physics": {"material", "mechanics", "multi_view_consistency", "thermotics"},
}  # fmt: skip


def clip(prompt: str | None = "A lion with wings.", **meta: Any) -> Clip:
    return Clip("a", Path("a.mp4"), "0" * 64, prompt, meta=meta)


def kinds() -> list[type[VBench2Dimension]]:
    return VBench2Dimension.__subclasses__()


# ---- dimensions --------------------------------------------------------------------------------------------------


def test_every_dimension_but_instance_preservation_has_a_metric() -> None:
    assert {kind.dimension for kind in kinds()} == set(KINDS) - {"instance_preservation"}
    for kind in kinds():
        assert kind.name == f"vbench2/{kind.dimension}"
        assert set(kind.purposes) <= set(kind.table().purposes)
        assert kind.layer in ("", *kind.where().description.extras)
    assert HumanIdentity.layer == "face"


def test_a_request_holds_the_prompt_and_what_the_judge_looks_for() -> None:
    truth = {"question": ["The wings of an eagle", "A lion"], "judge": [True, False]}
    lion = clip(dimensions=["Composition"], auxiliary_info={"Composition": truth, "Mechanics": ["x"]})
    assert Composition(OPTIONS).request(lion) == {"prompt": "A lion with wings.", "auxiliary_info": truth}
    assert Composition(OPTIONS).settings() == {"dimension": "Composition", "module": "composition"}
    assert HumanIdentity(OPTIONS).request(clip(None)) == {"prompt": ""}
    with pytest.raises(UserError, match="no prompt"):
        CameraMotion(OPTIONS).request(clip(None, dimensions=["Camera_Motion"]))


def test_clips_of_other_prompts_are_not_judged_unless_upstream_does() -> None:
    assert Composition(OPTIONS).skip(clip(dimensions=["Composition"])) == ""
    assert Composition(OPTIONS).skip(clip(dimensions=["Mechanics"])) == dimensions.ELSEWHERE
    assert "its own prompts only" in Composition(OPTIONS).skip(clip())
    assert HumanIdentity(OPTIONS).skip(clip()) == ""
    assert HumanIdentity(OPTIONS).skip(clip(dimensions=["Diversity"])) == dimensions.ELSEWHERE


def test_the_official_value_and_the_words_are_kept() -> None:
    score = Composition(OPTIONS).read({"value": 0.5, "said": ["Yes", " No. "]})
    assert (score.value, score.note) == (0.5, "judge: Yes | No.")
    assert CameraMotion(OPTIONS).read({"value": 1.0, "said": []}).note == ""


def test_what_upstream_leaves_out_has_no_value() -> None:
    score = Mechanics(OPTIONS).read({"value": -1.0, "said": ["No"]})
    assert (score.value, score.note) == (None, "the judge does not see the set-up; judge: No")


@pytest.mark.parametrize("value", [1.5, -0.5, float("nan")])
def test_a_value_outside_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a value of"):
        Composition(OPTIONS).read({"value": value, "said": []})


def test_diversity_is_one_number_of_a_prompts_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def answer(self: Diversity, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"value": 0.25, "said": []}

    monkeypatch.setattr(Diversity, "_ask", answer)
    monkeypatch.setattr(Diversity, "_identity", lambda self: {"test": str(id(self))})
    clips = [Clip(str(number), Path(f"/{number}.mp4"), str(number) * 64, "A toy.") for number in range(3)]
    scores = Diversity(OPTIONS).score_samples(clips, None)  # type: ignore[arg-type]
    assert {name: score.value for name, score in scores.items()} == {"0": 0.25, "1": 0.25, "2": 0.25}
    assert scores["0"].note == "3 samples, upstream has 20"
    assert asked == [{"paths": ["/0.mp4", "/1.mp4", "/2.mp4"], "prompt": "A toy."}]
    with pytest.raises(UserError, match="the only sample of its prompt"):
        Diversity(OPTIONS).score_samples(clips[:1], None)  # type: ignore[arg-type]


# ---- categories --------------------------------------------------------------------------------------------------


def test_categories_are_the_official_ones() -> None:
    assert {name: set(dimensions_of(name)) for name in CATEGORIES} == SHARES
    assert len(KINDS) == 18


def test_the_total_is_the_mean_of_means() -> None:
    scores = dict.fromkeys(KINDS, 0.5) | {"composition": 0.9, "human_anatomy": 0.2}
    assert category_score("creativity", scores) == pytest.approx(0.7)
    assert category_score("human_fidelity", scores) == pytest.approx(0.4)
    assert total(scores) == pytest.approx((0.7 + 0.5 + 0.5 + 0.4 + 0.5) / 5)


def test_avds_totals_are_the_means_of_its_categories() -> None:
    """AVD, table 1 (1.3B): teacher, DMD and ours, each to the printed digit."""
    for *five, printed in (
        (48.01, 58.51, 21.82, 80.65, 45.97, 50.99),
        (55.90, 56.51, 25.29, 86.75, 43.72, 53.63),
        (48.19, 59.07, 29.39, 88.26, 50.48, 55.08),
    ):
        assert sum(five) / 5 == pytest.approx(printed, abs=0.0051)


def test_clips_left_out_are_not_averaged_unless_nearly_all_are() -> None:
    assert dimension_score("mechanics", [1.0, None, 0.0, 1.0]) == pytest.approx(2 / 3)
    assert dimension_score("mechanics", [None, None]) is None
    few = [1.0] + [None] * 9
    assert dimension_score("motion_order_understanding", few) == 1.0  # exactly nine tenths
    assert dimension_score("motion_order_understanding", [*few, None]) == 0.0
    assert dimension_score("mechanics", [*few, None]) == 1.0


def row(value: float | None, note: str = "", error: str = "") -> ScoreRow:
    return {"clip": "a", "value": value, "note": note, "error": error, "parts": {}}


def test_a_category_needs_all_its_dimensions() -> None:
    rows = {"vbench2/motion_rationality": [row(1.0), row(0.0), row(None, dimensions.ELSEWHERE)]}
    lacking = Commonsense(OPTIONS).summarise(rows)
    assert (lacking.value, lacking.parts) == (None, {"motion_rationality": 0.5})
    assert lacking.note == "no score of instance_preservation"
    rows[categories.PRESERVATION] = [row(1.0), row(1.0)]
    assert Commonsense(OPTIONS).summarise(rows).value == 0.75
    rows[categories.PRESERVATION] = [row(1.0), row(None, error="crashed")]
    assert Commonsense(OPTIONS).summarise(rows).note == "instance_preservation: 1 clips failed"


def test_physics_leaves_out_what_upstream_does_and_the_total_reads_all() -> None:
    rows = {categories.metric_of(name): [row(0.5), row(None)] for name in KINDS}
    assert Physics(OPTIONS).summarise(rows).value == 0.5
    assert Total(OPTIONS).summarise(rows).value == 0.5
    assert len(Total.inputs) == 18


# ---- prompts -----------------------------------------------------------------------------------------------------


def test_prompts_are_the_official_file_to_the_byte() -> None:
    text = json.dumps(official_info(), indent=4, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == json.loads(prompts.FILE.read_text())["sha256"]
    assert len(official_entries()) == 1230


def rows_of(*names: str, **options: Any) -> Any:
    return VBench2Prompts(VBench2Prompts.Config(dimensions=names, **options), ClipSpec()).rows()


def test_a_prompt_serves_all_its_dimensions_and_further_samples_diversity_alone() -> None:
    rows = rows_of()
    served = dict.fromkeys(KINDS, 0)
    for each in rows:
        for name in each.meta["dimensions"]:
            served[prompts.OFFICIAL[name]] += 1
    assert served["diversity"] == 200
    assert served["instance_preservation"] == 171
    assert served["composition"] == 159
    assert sum(served.values()) == 200 + 3 * 1220
    assert len({each.id for each in rows}) == len(rows) == 3 * 1013 + 17 * 10


def test_rows_hold_what_the_judges_read() -> None:
    first = rows_of("instance_preservation", samples=1)[0]
    assert first.prompt == "An orange dog is running."
    assert first.meta["auxiliary_info"] == {"Instance_Preservation": "1.orange dog"}
    assert len(rows_of("diversity", diverse=4)) == 40
    with pytest.raises(ValueError, match="no such dimension"):
        rows_of("instance")
