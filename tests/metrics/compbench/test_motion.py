"""Motion binding against motion_binding_score_cal.py itself (`official_motion.json`, made by record_motion.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metrics.compbench.motion import (
    HEIGHT,
    WIDTH,
    Thing,
    as_listed,
    combined,
    found_in,
    motion_binding,
    normalised,
    shift_in,
    things_in,
    travelled,
)  # fmt: skip

RECORDED = json.loads((Path(__file__).parent / "official_motion.json").read_text())


def test_the_official_script_gives_the_same_for_sixty_clips() -> None:
    values = []
    for case in RECORDED["cases"]:
        things = [Thing(f"thing {index}", way) for index, way in enumerate(case["directions"])]
        background = case["background"] and tuple(case["background"])
        shifts = [tuple(shift) for shift in case["shifts"]]
        values.append(as_listed(things, shifts, background))
        assert values[-1] == pytest.approx(normalised(case["score"]), abs=1e-12)
        named = {thing.name: shift for thing, shift in zip(things, shifts, strict=False)}
        assert motion_binding(things, named, background) == values[-1]
    assert sum(values) / len(values) == pytest.approx(RECORDED["mean"], abs=1e-12)
    assert {case["score"] for case in RECORDED["cases"]} >= {-1.0, 0.0}


def test_directions_are_taken_against_the_background() -> None:
    camera = (30.0, -20.0)
    assert travelled((10.0, 0.0), camera, "left") == 20 / WIDTH  # it went right, more slowly than the background
    assert travelled((10.0, 0.0), camera, "right") == 0.0
    assert travelled((30.0, 28.0), camera, "down") == 48 / HEIGHT
    assert travelled((30.0, 28.0), camera, "up") == 0.0
    assert travelled((30.0, -28.0), camera, "up") == 8 / HEIGHT
    assert travelled((-400.0, 0.0), None, "left") == 0.0
    with pytest.raises(ValueError, match="'leftwards' is no direction"):
        travelled((1.0, 1.0), camera, "leftwards")


def test_found_objects_are_worth_at_least_a_fifth() -> None:
    assert [normalised(score) for score in (-1.0, 0.0, 0.5, 1.0)] == pytest.approx([0.0, 0.2, 0.6, 1.0])
    assert combined([None]) == combined([None, None]) == -1.0
    assert combined([0.4, None]) == combined([None, 0.4]) == 0.2
    assert combined([0.4, 0.2]) == pytest.approx(0.3)


def test_objects_are_matched_by_name_and_the_listing_stands_beside() -> None:
    things = [Thing("ball", "left"), Thing("puppy", "right")]
    shifts = {"puppy": (428.0, 0.0), "ball": (-214.0, 0.0)}  # as the folder happened to list them
    still = (0.0, 0.0)
    assert motion_binding(things, shifts, still) == pytest.approx(0.2 + 0.8 * (0.25 + 0.5) / 2)
    assert as_listed(things, list(shifts.values()), still) == pytest.approx(0.2)
    alone = {"puppy": (428.0, 0.0)}  # the script takes it for the ball, which should go left
    assert motion_binding(things, alone, still) == pytest.approx(0.2 + 0.8 * 0.25)
    assert as_listed(things, list(alone.values()), still) == pytest.approx(0.2)


def test_rows_of_the_tables() -> None:
    start = {"id": "0001", "prompt": "p", "object_1": "golden retriever", "d_1": "left", "object_2": "", "d_2": ""}
    seen = {**start, "mask_name": "mask_foreground_golden retriever.jpg", "change_in_x": "-12.5", "change_in_y": "3"}
    lost = {**start, "mask_name": "", "change_in_x": "", "change_in_y": ""}
    assert found_in([seen, lost]) == {"golden retriever": (-12.5, 3.0)}
    assert shift_in(lost) is None
    assert things_in(lost) == [Thing("golden retriever", "left")]
