"""The mark of a plugin that breaks a promise: which check must fail, and words that its message must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=type[Any])
Case = tuple[Any, str, str]


def breaker() -> tuple[list[Case], Callable[[str, str], Callable[[C], C]]]:
    """A list of broken plugins, and the class decorator that names a class and puts it there."""
    cases: list[Case] = []

    def breaks(check: str, words: str) -> Callable[[C], C]:
        def add(cls: C) -> C:
            cls.name = f"broken/{cls.__name__}"
            cases.append((cls, check, words))
            return cls

        return add

    return cases, breaks
