"""Published rows that stand beside the measured ones of a suite: shown and marked as such, never ranked or tested.

Which rows of which table belong to which suite is said by `beside` in the files of `published/`, and in the user's own
files of the same form in a folder `published` beside the suites. A number is shown under a metric of the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from harness.errors import UserError
from harness.store import Json
from leaderboards.papers import Beside, Cell, Line, Paper, lines, parse
from leaderboards.read import Column

SHIPPED = Path(__file__).parent / "published"
MARK = "†"  # of every published row and number


@dataclass(frozen=True)
class Quote:
    """A printed number in the metric's unit."""

    value: float
    decimals: int  # as many as the print has in that unit

    @property
    def text(self) -> str:
        return f"{self.value:.{self.decimals}f}"


@dataclass(frozen=True)
class Reference:
    """One published row."""

    name: str  # what it is called beside measured rows
    paper: str  # short
    source: str  # "AVD, arXiv 2603.21864, tables 1 and 2"
    url: str
    note: str  # what must be known to compare; may be empty
    quotes: Mapping[str, Quote]  # metric name -> number

    @property
    def label(self) -> str:
        """Unlike that of any measured row."""
        return f"{MARK} {self.name} ({self.paper})"


def quoted(reference: Reference, column: Column) -> str:
    """The number under a column, as printed; empty where the paper has none."""
    quote = reference.quotes.get(column.name)
    return quote.text if quote else ""


def of_suite(suite: Json, folder: Path) -> tuple[Reference, ...]:
    """Published rows beside a suite's measured ones, in the order of the files, with the metrics that both have.

    Args:
        suite: its description, `suite.json`.
        folder: of the suite; `published/*.yaml` beside it are the user's.

    Raises:
        UserError: a file that is not of the form, or names a row that it does not have.
    """
    wanted = {spec["name"] for spec in suite["metrics"]}
    out = []
    for path in files(folder):
        text = path.read_text(encoding="utf-8")
        if _mentions(text, suite["name"]):  # reading all of them takes a second
            out += list(_of_paper(read_paper(path, text), path, suite["name"], wanted))
    return tuple(out)


def files(folder: Path) -> list[Path]:
    """The shipped files and the user's."""
    return [*sorted(SHIPPED.glob("*.yaml")), *sorted((folder.parent / "published").glob("*.yaml"))]


def digest(suite: str, folder: Path) -> str:
    """Of all that could change a suite's published rows; what a published view must follow."""
    texts = [text for path in files(folder) if _mentions(text := path.read_text(encoding="utf-8"), suite)]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _mentions(text: str, suite: str) -> bool:
    return re.search(rf"suite:\s*['\"]?{re.escape(suite)}\b", text) is not None


def read_paper(path: Path, text: str) -> Paper:
    """A file's content. UserError when it is not of the form."""
    try:
        return Paper.model_validate(parse(text, str(path)))
    except ValidationError as error:
        raise UserError(f"{path}: not a file of published tables", f"what is wrong: mutoscope audit {path}") from error


def _of_paper(paper: Paper, path: Path, suite: str, wanted: set[str]) -> Iterator[Reference]:
    """One for every name; what several entries say of it is put together, the first print of a metric counts."""
    found: dict[str, Reference] = {}
    tables: dict[str, list[str]] = {}
    for beside in (b for b in paper.beside if b.suite == suite):
        for key, name in beside.rows.items():
            line = _line(paper, path, beside, key, wanted)
            quotes = {m: _quote(cell) for m, cell in line.cells.items() if m in wanted and m not in beside.without}
            known = found.get(name) or Reference(name, paper.name, "", paper.url or _arxiv(paper), "", {})
            notes = dict.fromkeys(note for note in (*known.note.split("; "), *beside.note.split("; ")) if note)
            found[name] = replace(known, quotes={**quotes, **known.quotes}, note="; ".join(notes))
            if quotes:
                tables.setdefault(name, []).append(line.table.title)
    for name, reference in found.items():
        if reference.quotes:
            yield replace(reference, source=_source(paper, list(dict.fromkeys(tables[name]))))


def _line(paper: Paper, path: Path, beside: Beside, key: str, wanted: set[str]) -> Line:
    for table in paper.tables:
        if (table.table, table.part) == (beside.table, beside.part):
            for line in lines(table, wanted):
                if key in (line.row.model, line.label):
                    return line
    where = f"table {beside.table}, {beside.part}" if beside.part else f"table {beside.table}"
    raise UserError(f'{path}: beside {beside.suite}: {where} has no row "{key}"', "give a row's model or its name")


def _quote(cell: Cell) -> Quote:
    shift = {"percent": 2}.get(cell.unit, 0)
    return Quote(round(cell.printed.value / cell.scale, cell.printed.decimals + shift), cell.printed.decimals + shift)


def _source(paper: Paper, tables: list[str]) -> str:
    head = [paper.name, *([f"arXiv {paper.arxiv}"] if paper.arxiv else [])]
    return ", ".join([*head, f"table{'s' * (len(tables) > 1)} {' and '.join(tables)}"])


def _arxiv(paper: Paper) -> str:
    return f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else ""
