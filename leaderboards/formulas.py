"""Arithmetic of a published row: what follows from what, and whether it does.

A printed number stands for every true value that rounds to it. A row adds up if some true values behind its printed
inputs give a true value behind its printed result; formulas grow with every input, so the ends of the intervals decide.
A result that its inputs confirmed enters the next formula with what the two intervals have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from leaderboards.papers import Cell

Cells = Mapping[str, Cell]
SLACK = 1e-9  # of float arithmetic, in the metric's unit


@dataclass(frozen=True)
class Rule:
    """How a number of a row follows from others."""

    target: str
    inputs: tuple[str, ...]
    value: Callable[[Mapping[str, float]], float]  # by metric, in its unit; grows with every input
    about: str  # of what: "seven dimensions"


@dataclass(frozen=True)
class Check:
    """One formula applied to one row, in the units of the print."""

    target: str
    about: str
    printed: str
    recomputed: float  # from the printed inputs as they are
    low: float  # what their rounding leaves open
    high: float
    ok: bool

    @property
    def deviation(self) -> float:
        """Printed minus recomputed."""
        return float(self.printed) - self.recomputed


def known(rules: Sequence[Rule]) -> frozenset[str]:
    """Metrics that formulas use."""
    return frozenset(name for rule in rules for name in (rule.target, *rule.inputs))


def checks(cells: Cells, rules: Sequence[Rule]) -> Iterator[Check]:
    """Formulas that a row has all numbers for, one after the other.

    A further formula of the same result is left out where the first one's inputs were confirmed: it says no more.
    """
    confirmed: dict[str, tuple[float, float]] = {}
    settled: set[str] = set()
    for rule in rules:
        if rule.target in settled or any(name not in cells for name in (rule.target, *rule.inputs)):
            continue
        target, scale = cells[rule.target], cells[rule.target].scale
        ends = {name: confirmed.get(name, cells[name].bounds) for name in rule.inputs}
        low, high = (rule.value({name: pair[end] for name, pair in ends.items()}) for end in (0, 1))
        common = max(low, target.bounds[0]), min(high, target.bounds[1])
        ok = common[0] <= common[1] + SLACK
        if ok:
            confirmed.setdefault(rule.target, (min(common), max(common)))
        if all(name in confirmed for name in rule.inputs):
            settled.add(rule.target)
        exact = scale * as_printed(rule, cells)
        yield Check(rule.target, rule.about, target.printed.text, exact, low * scale, high * scale, ok)


def as_printed(rule: Rule, cells: Cells) -> float:
    """The result of the printed numbers as they are, in the metric's unit."""
    return rule.value({name: cells[name].printed.value / cells[name].scale for name in rule.inputs})


def add_up(cells: Cells, rules: Sequence[Rule]) -> bool:
    """Does every formula of the row hold?"""
    return all(check.ok for check in checks(cells, rules))


# ---- shares of videos ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A printed proportion of n videos."""

    count: int  # the nearest
    state: Literal["rounded", "cut", "impossible"]


def share(cell: Cell, videos: int) -> Share:
    """Can the number be k / n? Rounded to its decimals, or only if the rest was cut off, or not at all."""
    low, high = cell.bounds
    count = round(cell.printed.value / cell.scale * videos)
    near = [k for k in (count - 1, count, count + 1) if 0 <= k <= videos]
    if any(low - SLACK <= k / videos <= high + SLACK for k in near):
        return Share(count, "rounded")
    start = cell.printed.value / cell.scale
    cut = [k for k in near if start - SLACK <= k / videos < start + 10.0**-cell.printed.decimals / cell.scale]
    return Share(cut[0], "cut") if cut else Share(count, "impossible")


def tells(cell: Cell, videos: int) -> bool:
    """Is the print fine enough for `share` to say anything?"""
    return 10.0**-cell.printed.decimals / cell.scale < 1 / videos
