"""A number as a paper prints it, with the interval of true values it stands for.

Numbers stay text until here, because 82.20 says more than 82.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
ABSENT = frozenset({"", "-", "–", "—", "n/a", "null", "~"})


@dataclass(frozen=True)
class Printed:
    """A number as printed: `decimals` of them, so it stands for [low, high], half a unit in the last place around."""

    text: str
    decimals: int

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def low(self) -> float:
        return self.value - 0.5 * 10.0**-self.decimals

    @property
    def high(self) -> float:
        return self.value + 0.5 * 10.0**-self.decimals


def printed(text: str, decimals: int | None = None) -> Printed | None:
    """The number in a cell, None where the paper has none.

    Args:
        decimals: for tables that dropped trailing zeros; default: as many as there are.

    Raises:
        ValueError: not a number, or more decimals than stated.
    """
    text = text.strip().removesuffix("%").strip()
    if text.lower() in ABSENT:
        return None
    if not NUMBER.fullmatch(text):
        raise ValueError(
            f'"{text}" is not a number\nwrite it as printed, e.g. 82.20; - where there is none; unit: text for words'
        )
    found = len(text.partition(".")[2])
    if decimals is not None and found > decimals:
        raise ValueError(f'"{text}" has {found} decimals, the table states {decimals}')
    return Printed(text, found if decimals is None else decimals)
