"""What else does not fit in a paper: claims of the text, rows that differ between tables, impossible shares."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from harness.errors import UserError, did_you_mean
from leaderboards.causes import short
from leaderboards.formulas import SLACK, share, tells
from leaderboards.papers import Cell, Claim, Line, Paper, Place, lines, resolve
from leaderboards.printed import Printed, printed


@dataclass(frozen=True)
class Remark:
    """One of them."""

    kind: str  # claim, repeat, share, range
    paper: str
    where: str
    text: str


def remarks(paper: Paper, known: Collection[str]) -> tuple[Remark, ...]:
    """Everything about one paper. UserError when a claim points nowhere."""
    rows = [line for table in paper.tables for line in lines(table, known)]
    found = [("claim", claim.where, text) for claim in paper.claims for text in _claim(claim, rows, known)]
    found += [("repeat", "", text) for text in _repeats(rows)]
    for line in rows:
        where = f'table {line.table.title}, "{line.label}"'
        for name, cell in line.cells.items():
            found += [("share", where, text) for text in _share(name, cell)]
            found += [("range", where, text) for text in _range(name, cell, known)]
    return tuple(Remark(kind, paper.name, where, text) for kind, where, text in found)


# ---- claims --------------------------------------------------------------------------------------------------------


def _claim(claim: Claim, rows: Collection[Line], known: Collection[str]) -> Iterator[str]:
    """What the tables give instead."""
    of = _find(claim.of, rows)
    over = _find(claim.over, rows) if claim.over else None
    for metric in claim.metrics:
        mine = _cell(of, metric, known)
        theirs = _cell(over, metric, known) if over else mine
        if not _holds(claim, mine, theirs):
            yield f'"{claim.text}": {short(metric)} {_instead(claim, of, mine, theirs)}'


def _holds(claim: Claim, of: Cell, over: Cell) -> bool:
    if claim.how == "higher":
        return of.printed.value > over.printed.value
    stated = printed(claim.states)
    assert stated is not None  # the form requires it
    if claim.how == "value":
        return _same(stated, of.printed)
    difference = of.printed.low - over.printed.high, of.printed.high - over.printed.low
    relative = 100 * (of.printed.low / over.printed.high - 1), 100 * (of.printed.high / over.printed.low - 1)
    ranges = {"difference": [difference], "relative": [relative], "either": [difference, relative]}
    return any(_meet(stated, ends) for ends in ranges[claim.how])


def _meet(number: Printed, ends: tuple[float, float]) -> bool:
    return max(number.low, ends[0]) <= min(number.high, ends[1]) + SLACK


def _instead(claim: Claim, line: Line, of: Cell, over: Cell) -> str:
    mine, theirs = of.printed, over.printed
    if claim.how == "higher":
        return f"is {mine.text} against {theirs.text}"
    if claim.how == "value":
        others = [name for name, cell in line.cells.items() if cell.printed.text == claim.states]
        return f"is {mine.text}" + "".join(f"; {claim.states} is its {short(name)}" for name in others)
    difference = f"{mine.value - theirs.value:+.{max(mine.decimals, theirs.decimals)}f}"
    relative = f"{100 * (mine.value / theirs.value - 1):+.2f} %"
    shown = {"difference": difference, "relative": relative, "either": f"{difference}, or {relative}"}[claim.how]
    return f"{theirs.text} to {mine.text} is {shown}"


def _find(place: Place, rows: Collection[Line]) -> Line:
    """The row of a place."""
    key = (place.table, place.part, place.group, place.row)
    found = [r for r in rows if (r.table.table, r.table.part, r.row.group, r.row.name) == key]
    if len(found) != 1:
        title = f"table {place.table}{', ' + place.part if place.part else ''}"
        label = f"{place.group}: {place.row}" if place.group else place.row
        problem = f'claim: {title} has {len(found) or "no"} row{"s" if found else ""} "{label}"'
        raise UserError(problem, did_you_mean(label, {r.row.label for r in rows if r.table.table == place.table}))
    return found[0]


def _cell(line: Line, name: str, known: Collection[str]) -> Cell:
    metric = resolve(name, line.table.benchmark, known)
    if metric not in line.cells:
        problem = f'claim: table {line.table.title}, "{line.label}" has no {metric}'
        raise UserError(problem, did_you_mean(metric, line.cells))
    return line.cells[metric]


# ---- tables --------------------------------------------------------------------------------------------------------


def _repeats(rows: Collection[Line]) -> Iterator[str]:
    """Numbers about the same thing that are not the same."""
    places: dict[tuple[str, str, str], dict[Printed, list[str]]] = {}
    for line in rows:
        for metric, cell in line.cells.items() if line.row.model else ():
            versions = places.setdefault((line.row.model, metric, cell.unit), {})
            version = next((seen for seen in versions if _same(seen, cell.printed)), cell.printed)
            versions.setdefault(version, []).append(f'"{line.label}" of table {line.table.title}')
    for (_, metric, _), versions in places.items():
        if len(versions) > 1:
            said = [f"{version.text} for {', '.join(where)}" for version, where in versions.items()]
            yield f"{short(metric)} is {'; '.join(said)}"


def _same(one: Printed, two: Printed) -> bool:
    """Equal, or one a rounding of the other."""
    return one.value == two.value or (one.decimals != two.decimals and _meet(one, (two.low, two.high)))


def _share(metric: str, cell: Cell) -> Iterator[str]:
    """A proportion that no count of videos gives."""
    if not cell.videos or not tells(cell, cell.videos):
        return
    found = share(cell, cell.videos)
    if found.state != "rounded":
        digits = cell.printed.decimals + 1
        near = f"{found.count} of {cell.videos} is {found.count / cell.videos * cell.scale:.{digits}f}"
        reason = "cut off, not rounded" if found.state == "cut" else f"no share of {cell.videos} videos"
        yield f"{short(metric)} {cell.printed.text}: {reason}; {near}"


def _range(metric: str, cell: Cell, known: Collection[str]) -> Iterator[str]:
    """More than everything."""
    whole = {"percent": 100.0, "fraction": 1.0}.get(cell.unit)
    if whole is not None and metric in known and cell.printed.value > whole:
        yield f"{short(metric)} {cell.printed.text} is above {whole:g}"
