"""What the official functions answered through the worker (`record.py`), read by our metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, ScoreRow
from metrics.vbench2.categories import Controllability
from metrics.vbench2.dimensions import VBench2Dimension
from metrics.vbench2.prompts import official_entries
from metrics.vbench2.suite import KINDS
from metrics.workers.judge import JudgeOptions

OPTIONS = JudgeOptions()
TRANSCRIPT = json.loads(Path(__file__).with_name("transcript.json").read_text(encoding="utf-8"))
EXCHANGES: list[dict[str, Any]] = TRANSCRIPT["exchanges"]
METRICS = {kind.dimension: kind(OPTIONS) for kind in VBench2Dimension.__subclasses__()}
VALUES: dict[str, list[tuple[str, float | None]]] = {
    "composition": [("dark", 0.5), ("bright", 1)],
    "motion_rationality": [("dark", 0), ("bright", 1)],
    "dynamic_spatial_relationship": [("dark", 0), ("bright", 1)],
    "dynamic_attribute": [("dark", 0), ("bright", 1)],
    "motion_order_understanding": [("dark", 0), ("bright", 0)],
    "human_interaction": [("dark", 1), ("bright", 1)],
    "complex_landscape": [("dark", 1 / 5), ("bright", 1 / 5)],
    "complex_plot": [("dark", 1 / 5), ("bright", 1 / 5), ("bright", 1 / 6)],
    "human_clothes": [("dark", 0), ("bright", 1)],
    "mechanics": [("dark", 0), ("bright", 1)],
    "thermotics": [("dark", 0), ("bright", 1)],
    "material": [("dark", None), ("bright", 1)],
    "diversity": [("dark bright bright", 0.2037950), ("dark dark", 0)],
    "multi_view_consistency": [("moving", 0.707), ("short", None)],
    "human_anatomy": [("tiles", 0)],  # people are found, and all bodies abnormal
    "human_identity": [("one face", 1), ("another face", 11 / 23), ("few faces", None)],
    # a clip can have several motions: the second two are asked for another
    "camera_motion": [("moving", 1), ("short", 0), ("moving", 1), ("short", 0)],
}


def of(name: str) -> list[dict[str, Any]]:
    return [each for each in EXCHANGES if each["dimension"] == name]


def yes(said: str) -> bool:
    return "yes" in said.lower()


def told(said: Sequence[str]) -> int:
    """Answers of yes before the first other one."""
    return next((number for number, text in enumerate(said) if not yes(text)), len(said))


def set_up(said: Sequence[str], request: Any) -> float:
    """Left out (-1) unless the first answer is yes; then 1 if the second is."""
    return float(yes(said[1])) if yes(said[0]) else -1.0


RULES: dict[str, Callable[[Sequence[str], Any], float]] = {  # the value, by what the language models said
    "composition": lambda said, request: sum(map(yes, said[1:])) / len(request["auxiliary_info"]["question"]),
    "motion_rationality": lambda said, request: float(all(map(yes, said))),
    "dynamic_spatial_relationship": lambda said, request: float(all(map(yes, said))),
    "dynamic_attribute": lambda said, request: float(all(map(yes, said))),
    "motion_order_understanding": lambda said, request: float(all(map(yes, said[1:]))),
    "human_interaction": lambda said, request: float(all(map(yes, said[2:]))),
    "complex_landscape": lambda said, request: told(said[2:]) / len(request["auxiliary_info"]),
    "complex_plot": lambda said, request: told(said[1:]) / len(request["auxiliary_info"]),
    "human_clothes": lambda said, request: float(all(map(yes, said[1:]))) if yes(said[0]) else -1.0,
    "mechanics": set_up,
    "thermotics": set_up,
    "material": set_up,
}


def test_every_dimension_of_the_official_judges_is_there() -> None:
    assert {each["dimension"] for each in EXCHANGES} == set(KINDS) - {"instance_preservation"}
    assert TRANSCRIPT["versions"]["torch"].startswith("2.5.1")
    assert TRANSCRIPT["versions"]["transformers"] == "4.51.0"


@pytest.mark.parametrize("name", VALUES)
def test_official_values_are_our_scores(name: str) -> None:
    found = [(each["clip"], METRICS[name].read(each["answer"]).value) for each in of(name)]
    assert [clip for clip, _ in found] == [clip for clip, _ in VALUES[name]]
    assert [value for _, value in found] == [
        pytest.approx(value) if value is not None else None for _, value in VALUES[name]
    ]


@pytest.mark.parametrize("name", RULES)
def test_the_official_value_follows_from_what_was_said(name: str) -> None:
    for each in of(name):
        said = each["answer"]["said"]
        assert each["answer"]["value"] == pytest.approx(RULES[name](said, each["request"]))
        assert METRICS[name].read(each["answer"]).note.endswith(f"judge: {' | '.join(said)}")


@pytest.mark.parametrize("name", sorted({each["dimension"] for each in EXCHANGES}))
def test_requests_are_those_of_official_prompts(name: str) -> None:
    official = METRICS[name].kind().official
    entries = {entry.prompt: entry.truth for entry in official_entries() if entry.dimension == official}
    for each in of(name):
        prompt = each["request"]["prompt"]
        truth = {} if entries[prompt] is None else {official: entries[prompt]}
        meta = {"dimensions": [official], "auxiliary_info": truth}
        clip = Clip(each["clip"], Path("a.mp4"), "0" * 64, prompt, meta=meta)
        assert METRICS[name].skip(clip) == ""
        assert METRICS[name].request(clip) == each["request"]


def test_what_is_left_out_says_why() -> None:
    few, dark, short = of("human_identity")[2], of("material")[0], of("multi_view_consistency")[1]
    assert METRICS["human_identity"].read(few["answer"]).note == "too few frames with exactly one face"
    assert METRICS["multi_view_consistency"].read(short["answer"]).note.startswith("the camera does not circle")
    assert METRICS["material"].read(dark["answer"]).note == "the judge does not see the set-up; judge: No | No"


def test_the_recorded_dimensions_make_a_category() -> None:
    rows: dict[str, list[ScoreRow]] = {}
    for each in EXCHANGES:
        score = METRICS[each["dimension"]].read(each["answer"])
        row: ScoreRow = {"clip": each["clip"], "value": score.value, "note": score.note, "error": "", "parts": {}}
        rows.setdefault(f"vbench2/{each['dimension']}", []).append(row)
    found = Controllability(OPTIONS).summarise(rows)
    means = [0.5, 0.5, 0.0, 1.0, 0.2, (1 / 5 + 1 / 5 + 1 / 6) / 3, 0.5]
    assert found.value == pytest.approx(sum(means) / 7)
