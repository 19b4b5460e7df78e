"""Why a row does not add up: the single change that would make every formula of it hold, where there is one.

Most telling first: a number exchanged with another failing row puts two rows right at once. Then what has few
possibilities, so that a hit is evidence: a unit, two numbers swapped, two neighbouring digits, one digit of a result.
One digit of any input can be changed in hundreds of ways and is named as a possibility only. Several hits are all
named, more than MANY are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, pairwise
from operator import ne

from leaderboards.formulas import Cells, Rule, add_up, checks, share, tells
from leaderboards.papers import Cell, Line
from leaderboards.printed import Printed

MANY = 3  # explanations; more explain nothing
CROWD = 12  # failing rows of a table; exchanges among more of them are not tried


@dataclass(frozen=True)
class Change:
    """One thing that may have gone wrong, and the row with it put right."""

    text: str
    cells: Cells


def explain(line: Line, wrong: Sequence[Line], rules: Sequence[Rule]) -> tuple[str, ...]:
    """Likely causes, none where no single change is enough or too many are.

    Args:
        wrong: rows of the same table that do not add up, this one among them.
    """
    inputs, targets = _used(line.cells, rules)
    cells = line.cells
    names = inputs + targets
    stages = (
        _exchanges(line, wrong, rules),
        chain(_units(cells, names), _swaps(cells, names), _neighbours(cells, names), _results(cells, rules)),
        _digits(cells, inputs),
    )
    for stage in stages:
        found = tuple(dict.fromkeys(change.text for change in stage if add_up(change.cells, rules)))
        if found:
            return found if len(found) <= MANY else ()
    return ()


def _used(cells: Cells, rules: Sequence[Rule]) -> tuple[list[str], list[str]]:
    """Inputs and results of the formulas that apply, in the row's order."""
    applied = [rule for rule in rules if all(name in cells for name in (rule.target, *rule.inputs))]
    targets = {rule.target for rule in applied}
    inputs = {name for rule in applied for name in rule.inputs} - targets
    return [name for name in cells if name in inputs], [name for name in cells if name in targets]


# ---- kinds of change -----------------------------------------------------------------------------------------------


def _exchanges(line: Line, wrong: Sequence[Line], rules: Sequence[Rule]) -> Iterator[Change]:
    """The same column of another row that does not add up either, and would."""
    for other in wrong if len(wrong) <= CROWD else ():
        for name in line.cells.keys() & other.cells.keys() if other is not line else ():
            mine, theirs = line.cells[name], other.cells[name]
            if mine.printed.text != theirs.printed.text and add_up(_with(other.cells, {name: mine.printed}), rules):
                text = f'{short(name)} exchanged with row "{other.label}"'
                yield Change(text, _with(line.cells, {name: theirs.printed}))


def _units(cells: Cells, names: Sequence[str]) -> Iterator[Change]:
    """Fractions among per cents or the other way round: one number, or the whole row."""
    for power, text in ((2, "fraction"), (-2, "per cent")):
        for name in names:
            changed = {name: _scaled(cells[name].printed, power)}
            yield Change(f"{short(name)} is a {text}, unlike the rest", _with(cells, changed))
        changed = {name: _scaled(cells[name].printed, power) for name in names}
        yield Change(f"the row is in {text}{'s' * (power > 0)}", _with(cells, changed))


def _swaps(cells: Cells, names: Sequence[str]) -> Iterator[Change]:
    """Two numbers of the row in each other's place."""
    for one, two in combinations(names, 2):
        first, second = cells[one].printed, cells[two].printed
        if first.text != second.text:
            swapped = _with(cells, {one: second, two: first})
            evidence = "".join(_evidence(cells[name], swapped[name]) for name in (one, two))
            yield Change(f"{short(one)} and {short(two)} swapped{evidence}", swapped)


def _neighbours(cells: Cells, names: Sequence[str]) -> Iterator[Change]:
    """Two neighbouring digits of a number in each other's place."""
    for name in names:
        text = cells[name].printed.text
        digits = [at for at, sign in enumerate(text) if sign.isdigit()]
        for one, two in pairwise(digits):
            if text[one] != text[two]:
                turned = text[:one] + text[two] + text[one + 1 : two] + text[one] + text[two + 1 :]
                yield _misprint(cells, name, turned, "two digits swapped")


def _results(cells: Cells, rules: Sequence[Rule]) -> Iterator[Change]:
    """A result one digit away from what its inputs give; of several such, the nearest to the recomputed one."""
    for check in checks(cells, rules):
        decimals = cells[check.target].printed.decimals
        unit = 10.0**-decimals
        reach = int((check.high - check.low) / 2 / unit) + 1
        for step in sorted(range(-reach, reach + 1), key=abs):
            text = f"{check.recomputed + step * unit:.{decimals}f}"
            if len(text) == len(check.printed) and sum(map(ne, text, check.printed)) == 1:
                yield _misprint(cells, check.target, text, "one digit")
                break


def _digits(cells: Cells, names: Sequence[str]) -> Iterator[Change]:
    """Another digit in one place of one number that goes into a result."""
    for name in names:
        text = cells[name].printed.text
        for at, sign in enumerate(text):
            for other in "0123456789" if sign.isdigit() else "":
                if other != sign:
                    yield _misprint(cells, name, text[:at] + other + text[at + 1 :], "perhaps one digit")


# ---- small parts ---------------------------------------------------------------------------------------------------


def short(metric: str) -> str:
    """`vbench/total` -> `total`."""
    return metric.rpartition("/")[2]


def _misprint(cells: Cells, name: str, text: str, what: str) -> Change:
    old = cells[name].printed
    return Change(f"{what}: {short(name)} {text} for {old.text}", _with(cells, {name: replace(old, text=text)}))


def _with(cells: Cells, printed: dict[str, Printed]) -> Cells:
    return {**cells, **{name: replace(cells[name], printed=number) for name, number in printed.items()}}


def _scaled(number: Printed, power: int) -> Printed:
    return Printed(f"{number.value * 10.0**power:.12g}", number.decimals - power)


def _evidence(old: Cell, new: Cell) -> str:
    """A share of videos that the swap makes possible."""
    if not old.videos or not tells(old, old.videos):
        return ""
    was, becomes = share(old, old.videos), share(new, old.videos)
    if was.state != "impossible" or becomes.state == "impossible":
        return ""
    return f"; {new.printed.text} is {becomes.count} of {old.videos} videos, {old.printed.text} is no such share"
