"""Readings of LLaVA's replies against the scripts' own (`official_replies.json`, made by record_replies.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metrics.compbench.imported import action_value, dynamic_value
from metrics.compbench.replies import action_score, dynamic_attribute, extract_json, rating, shows_a_state

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "official_replies.json").read_text())


def of(category: str) -> list[dict[str, str]]:
    return [case["row"] for case in RECORDED if case["category"] == category and "row" in case]


def test_action_scores_are_the_scripts_own() -> None:
    read = 0
    for row in of("action_binding"):
        try:
            official: float | None = float(row["Score"]) / 5
        except ValueError:  # "bad reply", or nothing: left out of the official mean
            official = None
        if official is None or official > 1:
            with pytest.raises(ValueError, match="bad reply"):
                action_value(row)
        else:
            read += 1
            assert action_value(row) == official
    assert (read, len(of("action_binding"))) == (12, 19)


def value_of(row: dict[str, str]) -> float | None:
    """None: refused."""
    try:
        return dynamic_value(row)
    except ValueError as problem:
        return None if str(problem).startswith("bad reply") else float("inf")


def test_dynamic_scores_are_the_scripts_own_where_every_reply_has_one() -> None:
    rows = of("dynamic_attribute")
    read = [(value, float(row["Score"])) for row in rows if (value := value_of(row)) is not None]
    refused = [float(row["Score"]) for row in rows if value_of(row) is None]
    assert (len(read), len(refused)) == (14, 9)
    assert [value for value, _ in read] == pytest.approx([official for _, official in read], abs=1e-15)
    assert min(refused) < 0  # the script's number for a rating of 9
    assert max(refused) > 0  # and those with the number of the reply before


def test_a_reply_about_a_frame_needs_its_explanation() -> None:
    assert rating('{"score": 4, "explanation": "x"}') == 4
    assert rating('{"score":   0,}') == 0
    for reply in ('{"score": 4}', '{"score": 4.5, "explanation": "x"}', '{"score": "4", "x": 1}', "4", ""):
        with pytest.raises(ValueError, match="bad reply: no score in"):
            rating(reply)
    with pytest.raises(ValueError, match="bad reply: 6 is not from 0 to 5"):
        rating('{"score": 6, "explanation": "x"}')


def test_a_frame_shows_a_state_with_any_positive_number() -> None:
    assert [shows_a_state(f'{{"score": {said}, "explanation": "x"}}') for said in ("0", "0.0", "0.5", "1", "2")] == [
        False, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ((5, 1), (1, 5), 0.8),
        ((5, 5), (5, 5), 0.0),
        ((4, 2), (3, 5), 0.44),
        ((1, 5), (5, 1), 0.0),
        ((5, 0), (0, 5), 1.0),
    ],
)
def test_the_dynamic_formula(first: tuple[int, int], last: tuple[int, int], expected: float) -> None:
    assert dynamic_attribute(first, last, [True] * 14) == pytest.approx(expected, abs=1e-12)


def test_more_than_four_in_five_frames_in_between_must_show_a_state() -> None:
    values = [dynamic_attribute((5, 1), (1, 5), [True] * shown + [False] * (14 - shown)) for shown in (10, 11, 12, 14)]
    assert values == pytest.approx([0.0, 0.0, 0.8, 0.8])
    with pytest.raises(ValueError, match="13 frames in between instead of 14"):
        dynamic_attribute((5, 1), (1, 5), [True] * 13)


def test_json_is_what_stands_between_the_outer_braces() -> None:
    assert extract_json('well, {"score": 2} then') == {"score": 2}
    assert extract_json('{"a": {"score": 1}, "score": 3}')["score"] == 3
    assert extract_json('{"score": 2} and {"score": 3}') is None
    assert extract_json("[1]") is None
    for reply in ('{"score": NaN}', '{"score": true}', '{"score": -1}', '{"score": [3]}', '{"scores": 3}'):
        with pytest.raises(ValueError, match="bad reply"):
            action_score(reply)
