"""The one exception that is a message, not a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right. Printed as two lines: what is wrong, what to do."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem if not remedy else f"{problem}\n{remedy}")
        self.problem, self.remedy = problem, remedy


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "X"?` for the nearest known word, otherwise the list of all known words."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known) or 'none'}"
