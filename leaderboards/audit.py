"""Audit of published tables: which rows add up, which do not and why, and what else does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from leaderboards.causes import explain
from leaderboards.formulas import Check, Rule, as_printed, checks, known
from leaderboards.papers import Line, Paper, lines
from leaderboards.remarks import Remark, remarks


@dataclass(frozen=True)
class Audited:
    """One row."""

    paper: str
    table: str
    row: str
    checks: tuple[Check, ...]
    missing: Mapping[str, Sequence[str]]  # by result that cannot be recomputed: what it lacks at least
    derived: Mapping[str, float]  # results that follow and are not printed, in printed units
    unknown: tuple[str, ...]  # columns that no formula uses
    causes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)

    @property
    def verdict(self) -> str:
        if not self.checks:
            return "nothing to recompute"
        return "does not add up" if self.failed else "adds up"


@dataclass(frozen=True)
class Report:
    """Everything about all files."""

    rows: tuple[Audited, ...]
    remarks: tuple[Remark, ...]

    @property
    def failing(self) -> tuple[Audited, ...]:
        return tuple(row for row in self.rows if row.failed)


def audit(papers: Sequence[Paper], rules: Sequence[Rule]) -> Report:
    """Recompute what follows from the numbers of each row. UserError when a table or a claim is not well formed.

    Args:
        rules: formulas; those of one result in the order of preference, and results before what is made of them.
    """
    rows = tuple(row for paper in papers for row in _rows(paper, rules))
    return Report(rows, tuple(remark for paper in papers for remark in remarks(paper, known(rules))))


def _rows(paper: Paper, rules: Sequence[Rule]) -> list[Audited]:
    found = []
    for table in paper.tables:
        done = [(line, tuple(checks(line.cells, rules))) for line in lines(table, known(rules))]
        wrong = [line for line, results in done if not all(check.ok for check in results)]
        for line, results in done:
            row = _audited(paper.name, line, results, rules)
            found.append(replace(row, causes=explain(line, wrong, rules)) if row.failed else row)
    return found


def _audited(paper: str, line: Line, done: tuple[Check, ...], rules: Sequence[Rule]) -> Audited:
    cells = line.cells
    checked = {check.target for check in done}
    missing: dict[str, list[str]] = {}
    derived: dict[str, float] = {}
    for rule in rules:
        lacking = [name for name in rule.inputs if name not in cells]
        telling = not done or len(lacking) < len(rule.inputs)  # papers often print no dimension at all
        if rule.target in cells and rule.target not in checked and telling:
            missing[rule.target] = min(missing.get(rule.target, lacking), lacking, key=len)
        if rule.target not in cells and not lacking:
            derived.setdefault(rule.target, as_printed(rule, cells) * cells[rule.inputs[0]].scale)
    return Audited(paper, line.table.title, line.label, done, missing, derived, line.unknown)
