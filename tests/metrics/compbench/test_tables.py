"""Motion binding of recorded tables (`motion_transcript.json`, made by record_tables.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.api import Clip, Score
from metrics import compbench
from metrics.compbench.metrics import DrawOptions, MotionBinding

HEAD, *EXCHANGES = json.loads((Path(__file__).parent / "motion_transcript.json").read_text(encoding="utf-8"))
TWO, SHORT, ONE = EXCHANGES
METRIC = MotionBinding(DrawOptions())


def test_our_requests_are_the_recorded_ones() -> None:
    for exchange in EXCHANGES:
        meta = dict(exchange["request"]["entry"])
        clip = Clip("c", Path("c.mp4"), "0" * 64, meta.pop("prompt"), meta=meta)
        assert METRIC.request(clip) == exchange["request"]


def test_objects_are_found_by_name_where_the_script_goes_by_the_listing() -> None:
    """The folder listed the second object first. `as_listed` is what motion_binding_score_cal.py says of these rows."""
    rows = TWO["answer"]["foreground"]
    assert [row["mask_name"] for row in rows] == ["mask_foreground_the puppy.jpg", "mask_foreground_ball.jpg"]
    score = METRIC.read(TWO["answer"])
    assert score.value == pytest.approx(0.2001593830429505, abs=1e-12)
    assert score.parts == {"as_listed": pytest.approx(0.204930392826829, abs=1e-12), "found": 2.0}


def test_an_object_that_moves_the_wrong_way_against_the_background_has_the_floor() -> None:
    """Up by 7.9 pixels, as the background goes up by 12.5; the script's own score is the same."""
    (puppy, nothing), (background,) = ONE["answer"]["foreground"], ONE["answer"]["background"]
    assert (puppy["change_in_y"], background["change_in_y"]) == ("-7.857078552246094", "-12.465435028076172")
    assert nothing["mask_name"] == ""
    assert METRIC.read(ONE["answer"]) == Score(0.2, {"as_listed": 0.2, "found": 1.0})


def test_a_clip_under_a_second_is_refused_by_name() -> None:
    problem = "compbench-motion: ValueError: 7 frames at 8 a second; the official script needs a whole second"
    assert SHORT["error"] == {"problem": problem}


def test_the_transcript_is_of_the_pinned_environment() -> None:
    pins = (Path(compbench.__file__).parent / "motion_env" / "requirements.txt").read_text().splitlines()
    assert [name for name, version in HEAD["versions"].items() if f"{name}=={version}" not in pins] == ["python"]
