"""VideoPhy-2's replies: the official reading with its quirks, and what we refuse to count."""

from __future__ import annotations

import pytest

from metrics.videophy2.reading import WORDS, joint, note, official_score, rating, verdict


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("4", 4),
        (" 5\n", 5),
        ("Four.", 4),
        ("The rating is 3", 3),
        ("none of it", 1),  # n-one
        ("someone rated it 5", 1),
        ("four or five", 4),
        ("five or four", 4),  # the order of the keys, not of the reply
        ("5 of 10", 0),  # the 0 of the 10
        ("4.5", 4),
        ("2 but 1 at the end", 1),
        ("zero", 0),
        ("7", 0),
        ("68", 0),
        ("no idea", 0),
        ("", 0),
        ("５", 5),  # a full-width digit is one to Python
        ("²", 0),  # a digit, but no number: the official script stops here
    ],
)
def test_the_official_reading(reply: str, expected: int) -> None:
    assert official_score(reply) == expected


def test_keys_are_tried_in_the_official_order() -> None:
    assert list(WORDS.items())[:7] == [
        ("zero", 0), ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("0", 0),
    ]  # fmt: skip
    assert official_score("5 4 3 2 1 0 five four three two one") == 1
    assert official_score("5 4 3 2 1 0") == 0


def test_a_rating_is_one_to_five_and_nothing_else_is_a_number() -> None:
    assert [rating(reply) for reply in ("1", "two", "3", "4", "five")] == [1, 2, 3, 4, 5]
    for reply in ("", "0", "10", "no idea", "8"):
        with pytest.raises(ValueError, match="no rating from 1 to 5 in the reply"):
            rating(reply)


def test_a_verdict_is_zero_one_or_two_and_silence_is_no_violation() -> None:
    assert [verdict(reply) for reply in ("0", "1", "2", "Zero")] == [0, 1, 2, 0]
    for reply in ("", "3", "no idea", "9"):
        with pytest.raises(ValueError, match="no verdict from 0 to 2 in the reply"):
            verdict(reply)


def test_joint_counts_clips_with_both_ratings_at_four_or_more() -> None:
    table = [[joint(semantic, physical) for physical in (3, 4, 5)] for semantic in (3, 4, 5)]
    assert table == [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]


def test_a_note_keeps_what_is_more_than_the_number() -> None:
    assert note("4\n") == ""
    assert note("I would say 4") == "the reply was 'I would say 4'"
