"""What LLaVA's replies are worth in T2V-CompBench: the official readings and formulas.

A reply that the official scripts cannot read is left out of their mean ("bad reply") or counted with the number of the
reply before it; here it is a ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

RATING = re.compile(r'"score":\s*(\d+),')  # eval_dynamic_attr.py: a reply without an explanation has no comma
MATCH = re.compile(r'"score":\s*(\d+(\.\d+)?),')  # the same, of the frames in between
BEST = 5
MIDDLE = 14  # frames between the first and the last of sixteen
MATCHING = 0.8  # more of them than this must show one of the two states


def extract_json(reply: str) -> Any:
    """What stands from the first `{` to the last `}`, as JSON; None if that is none (eval_action_binding.py)."""
    try:
        return json.loads(reply[reply.find("{") : reply.rfind("}") + 1])
    except json.JSONDecodeError:
        return None


def action_score(reply: str) -> float:
    """Action binding from the judge's second reply: its score of 0 to 5, divided by 5.

    Source: eval_action_binding.py, `eval_model` and `model_score`. Raises ValueError: no score, or not from 0 to 5.
    """
    content = extract_json(reply)
    score = content.get("score") if isinstance(content, Mapping) else None
    try:
        number = float(str(score))  # the script reads it back from its table
    except ValueError:
        raise ValueError(f"bad reply: no score in {reply!r}") from None
    return _within(number, reply) / BEST


def rating(reply: str) -> int:
    """How well a frame shows a state, 1 to 5; 0 is outside the question's scale, but the official formula takes it."""
    return int(_within(_found(RATING, reply), reply))


def shows_a_state(reply: str) -> bool:
    """Whether a frame in between shows one of the states (2 or 1) or neither (0)."""
    return _found(MATCH, reply) > 0


def dynamic_attribute(first: tuple[int, int], last: tuple[int, int], middle: Sequence[bool]) -> float:
    """Dynamic attribute binding, 0 to 1; 0.8 at most with ratings from 1 to 5.

    Source: eval_dynamic_attr.py, `eval_model`: ((s0/5)(1 - s01/5) + (1 - s1/5)(s11/5)) / 2, or 0 unless more than 80 %
    of the 14 frames in between show one of the two states.

    Args:
        first: ratings of the first frame for (state 0, state 1): s0, s01.
        last: of the last frame: s1, s11.
        middle: for each frame in between, whether it shows a state.
    """
    if len(middle) != MIDDLE:
        raise ValueError(f"{len(middle)} frames in between instead of {MIDDLE}")
    before = first[0] / BEST * (1 - first[1] / BEST)
    after = (1 - last[0] / BEST) * (last[1] / BEST)
    return (before * 0.5 + after * 0.5) * (sum(middle) > MIDDLE * MATCHING)


def _found(pattern: re.Pattern[str], reply: str) -> float:
    found = pattern.search(reply)
    if not found:
        raise ValueError(f"bad reply: no score in {reply!r}")
    return float(found.group(1))


def _within(number: float, reply: str) -> float:
    if not 0 <= number <= BEST:
        raise ValueError(f"bad reply: {number:g} is not from 0 to {BEST} in {reply!r}")
    return number
