"""Who is shown what: balance, blindness to order, and that it is the same everywhere and for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from harness.errors import UserError
from leaderboards.arena.study import Question, Study, question, questions, trials
from tests.leaderboards.studies import study


def pairs_of(shown: tuple) -> Counter:
    return Counter((trial.comparison.first, trial.comparison.second) for trial in shown)


@pytest.mark.parametrize(
    ("rows", "prompts", "pairs"), [("ab", 10, 10), ("abc", 8, 10), ("abcd", 24, 30), ("abcde", 5, 37), ("abc", 4, 99)]
)
def test_a_raters_pairs_are_balanced(rows: str, prompts: int, pairs: int) -> None:
    found = study(rows, prompts, pairs, seed=3)
    everything = len(list(combinations(rows, 2))) * prompts
    for rater in range(7):
        shown = trials(found, rater)
        assert len(shown) == len({t.comparison.key for t in shown}) == min(pairs, everything)
        counts = pairs_of(shown)
        assert max(counts.values()) - min(counts.get((f"{a}@1", f"{b}@1"), 0) for a, b in combinations(rows, 2)) <= 1
        for pair, count in counts.items():  # half of a row pair's prompts show its first row on the left
            left = sum(t.first_left for t in shown if (t.comparison.first, t.comparison.second) == pair)
            assert abs(2 * left - count) <= 1
        left = Counter(t.left for t in shown)
        right = Counter(t.right for t in shown)
        assert all(abs(left[row] - right[row]) <= len(rows) - 1 for row in {*left, *right})
        uses = Counter(t.comparison.item.clip for t in shown)
        assert max(uses.values()) - min(uses.get(item.clip, 0) for item in found.items) <= 2


def test_a_panel_sees_the_same_pairs_with_sides_exchanged_in_other_orders() -> None:
    found = study("abcd", 24, 30)
    one, two, three, four = (trials(found, rater) for rater in range(4))
    keys = [[t.comparison.key for t in shown] for shown in (one, two, three, four)]
    assert set(keys[0]) == set(keys[1]) == set(keys[2])
    assert keys[0] != keys[1] != keys[2]
    assert set(keys[0]).isdisjoint(keys[3])  # the next panel goes on where this one stopped
    sides = [{t.comparison.key: t.first_left for t in shown} for shown in (one, two, three)]
    assert all(sides[0][key] != sides[1][key] for key in keys[0])
    assert sides[0] == sides[2]


def test_panels_begin_again_when_all_pairs_were_shown() -> None:
    found = study("abc", 10, 10, panel=1)  # 30 comparisons: three panels
    shown = [{t.comparison.key for t in trials(found, rater)} for rater in range(4)]
    assert len(shown[0] | shown[1] | shown[2]) == 30
    assert shown[3] == shown[0]
    everyone = study("abc", 10, 10, panel=0)
    assert len({frozenset(t.comparison.key for t in trials(everyone, rater)) for rater in range(9)}) == 1


def test_only_clips_that_both_rows_have_are_paired() -> None:
    whole = study("abc", 6, 99)
    lacking = tuple(
        replace(item, clips={row: clip for row, clip in item.clips.items() if row != "b@1" or i < 2})
        for i, item in enumerate(whole.items)
    )
    found = replace(whole, items=lacking)
    assert len(found.deck) == 2 * 3 + 4 * 1
    for comparison in found.deck:
        assert {comparison.first, comparison.second} <= set(comparison.item.clips)


GOLDEN = [
    ("0006", "c", "b"), ("0004", "a", "c"), ("0002", "a", "b"), ("0007", "a", "c"), ("0001", "b", "a"),
    ("0000", "c", "a"), ("0004", "b", "c"), ("0005", "c", "a"), ("0003", "c", "b"), ("0005", "b", "a"),
]  # fmt: skip


def test_the_order_is_the_same_for_ever() -> None:
    """A study that has begun must go on as it began, whatever Python or numpy it meets next."""
    shown = [(t.comparison.item.clip, t.left[0], t.right[0]) for t in trials(study("abc", 8, 10), 1)]
    assert shown == GOLDEN
    assert shown != [(t.comparison.item.clip, t.left[0], t.right[0]) for t in trials(study("abc", 8, 10, seed=1), 1)]


def test_the_design_survives_json_and_its_digest_covers_it() -> None:
    found = study()
    again = Study.from_json(found.to_json())
    assert again == found
    assert again.digest == found.digest
    others = [
        replace(found, seed=1), replace(found, pairs=9), replace(found, panel=0), replace(found, suite="other"),
        replace(found, questions=found.questions[:1]), replace(found, rows=found.rows[::-1]),
        replace(found, items=found.items[1:]),
    ]  # fmt: skip
    assert len({found.digest, *(other.digest for other in others)}) == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("motion=Which moves more naturally?", Question("motion", "Which moves more naturally?")),
        ("Which moves more naturally?", Question("which_moves_more_naturally", "Which moves more naturally?")),
        ("Is it <b>good</b>?", Question("is_it_b_good_b", "Is it <b>good</b>?")),
        (
            "Is it " + "very " * 9 + "good?",
            Question("is_it_very_very_very_very_very_v", "Is it " + "very " * 9 + "good?"),
        ),
    ],
)
def test_questions(text: str, expected: Question) -> None:
    assert question(text) == expected


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["A b=Which?"], "expected key=text"),
        (["a="], "expected key"),
        (["?"], "expected key"),
        (["a=x", "a=y"], "two qu"),
    ],
)
def test_bad_questions(texts: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        questions(texts)
