"""`describe SUITE [ROW ...]`: what rows compute, line by line, in the order it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness import suite
from harness.config import merge, parse_sets, validate
from harness.errors import UserError
from harness.outline import Term
from harness.rows import Part, resolve_rows

WIDTH = 12  # of the first column


def is_suite(name: str) -> bool:
    """A shipped suite or a suite file; not the name of a plugin."""
    return name in suite.shipped() or Path(name).suffix in {".yaml", ".yml"}


def describe_suite(name: str, rows: Sequence[str], sets: Sequence[str], console: Console) -> None:
    """The outlines of the named rows, or of every row of a suite file; a shipped suite alone is shown as it is."""
    found = suite.load(name, parse_sets(sets))
    if name in suite.shipped() and not rows:
        console.print(suite.shipped()[name].read_text(encoding="utf-8"), highlight=False, markup=False)
        console.print(f"what a row computes: mutoscope describe {name} ROW", highlight=False, markup=False)
        return
    for row, (kind, config) in resolve_rows(found, rows or list(found.methods)).items():
        print_outline(f"{row}: method {kind.name}", outline((kind, config)), console)


def describe_changed(cls: Any, sets: Sequence[str], console: Console) -> None:
    """The outline of a method under its preset and `--set KEY=VALUE` of its options."""
    config = validate(cls.Config, merge(cls.preset, parse_sets(sets)), cls.name)
    print_outline("computes", outline((cls, config)), console)


def outline(part: Part) -> Sequence[Term]:
    """The lines of a row; for a method that gives none, what its equations' docstrings say."""
    kind, config = part
    found: Sequence[Term] = kind.outline(config)
    return found or [
        Term("equation", (function.__doc__ or "").strip().split("\n")[0], f"{function.__module__}.{function.__name__}")
        for function in kind.equations()
    ]


def print_outline(title: str, lines: Sequence[Term], console: Console) -> None:
    """Two lines a term: what it computes; then its part, options and source."""
    console.print(Text(title, style="bold"))
    if not lines:
        console.print("  (the method does not say)", highlight=False)
    for term in lines:
        console.print(Text(f"  {term.act:<{WIDTH}} {term.formula}"), soft_wrap=True)
        about = ". ".join(filter(None, (_part(term), f"[{term.source}]" if term.source else "")))
        if about:
            console.print(Text(f"  {'':<{WIDTH}} {about}", style="dim"), soft_wrap=True)
    console.print()


def _part(term: Term) -> str:
    options = ", ".join(f"{key} {_value(value)}" for key, value in term.options.items() if value is not None)
    return ": ".join(filter(None, (term.part, options)))


def _value(value: Any) -> str:
    """Short and readable: parts by their name, numbers without a tail."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return str(value.get("name", dict(value)))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def refuse_rows(name: str, rows: Sequence[str]) -> None:
    """Only suites have rows."""
    if rows:
        raise UserError(f'"{name}" is no suite, so it has no row {rows[0]}', f"mutoscope describe {name}")
