"""What VideoPhy-2 AutoEval's replies say, as its own script reads them, and what we make of that."""

from __future__ import annotations

from collections.abc import Mapping

# Hritikbansal/videophy, VIDEOPHY2/inference.py, `inference`: the first key that occurs anywhere in the reply wins.
WORDS: Mapping[str, int] = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5},
    **{"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5},
}
RATINGS = range(1, 6)
VERDICTS = {0: "violated", 1: "followed", 2: "not decidable in this video"}
HIGH = 4  # README of the same repository: the joint score counts clips with both ratings at or above it


def official_score(reply: str) -> int:
    """The number that `inference.py` writes for a reply, quirks included.

    Keys are tried in the order zero ... five, 0 ... 5, wherever they stand: "none" is 1 ("one"), "5 of 10" is 0 ("0").
    Without any, the digits left (6 to 9, and digits of other scripts) are joined; what is not 0 to 5 becomes 0, and so
    does a reply without a digit.
    """
    text = reply.lower().strip()
    for word, value in WORDS.items():
        if word in text:
            return value
    digits = "".join(letter for letter in text if letter.isdigit())
    return int(digits) if digits.isdecimal() and int(digits) in WORDS.values() else 0


def rating(reply: str) -> int:
    """Semantic adherence or physical commonsense, 1 to 5. Raises ValueError for 0, which the scale does not have: the
    script writes it for a reply that it could not read."""
    score = official_score(reply)
    if score not in RATINGS:
        raise ValueError(f"no rating from 1 to 5 in the reply {reply!r} (the official script would count {score})")
    return score


def verdict(reply: str) -> int:
    """A rule's verdict, a key of `VERDICTS`. Raises ValueError for anything else, and for a reply without a number,
    which the official script counts as 0, a violation."""
    score = official_score(reply)
    if score not in VERDICTS or not any(word in reply.lower() for word in WORDS):
        raise ValueError(f"no verdict from 0 to 2 in the reply {reply!r} (the official script would count {score})")
    return score


def joint(semantic: int, physical: int) -> float:
    """1 where both ratings are high, else 0; its mean is VideoPhy-2's joint performance."""
    return float(semantic >= HIGH and physical >= HIGH)


def note(reply: str) -> str:
    """The reply word for word, where it is more than its number."""
    return "" if reply.strip() in WORDS else f"the reply was {reply!r}"
