"""Results tables of papers as data, every number as printed. The form is described in `published/README.md`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.errors import UserError
from leaderboards.printed import Printed, printed

Unit = Literal["percent", "fraction", "points", "text"]


# ---- the file ----------------------------------------------------------------------------------------------------


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Form):
    """One column. `metric` is our name where it is the same thing, otherwise any name."""

    name: str
    metric: str = ""
    unit: Unit | None = None
    better: Literal["higher", "lower"] | None = None  # as the paper states it
    videos: int | None = Field(default=None, gt=0)  # the number is a share of this many videos
    note: str = ""


class Row(Form):
    """One row. Rows with the same `model` are about the same thing and must agree wherever they are printed."""

    name: str
    group: str = ""  # the heading it stands under
    model: str = ""
    note: str = ""
    scores: tuple[str, ...] | dict[str, str]

    @field_validator("scores", mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        items = value.values() if isinstance(value, dict) else value
        if not isinstance(value, dict | list) or not all(isinstance(item, str) for item in items):
            raise ValueError("expected column: number pairs, or a list of numbers in the order of the columns")
        return value

    @property
    def label(self) -> str:
        return f"{self.group}: {self.name}" if self.group else self.name


class Table(Form):
    """One results table, or one of its parts."""

    table: str
    part: str = ""
    caption: str = ""
    layout: str = ""  # where the printed one differs from rows of models
    protocol: str = ""
    note: str = ""
    unit: Unit | None = None  # None: told from the numbers
    decimals: int | None = Field(default=None, ge=0)
    benchmark: str = "vbench"  # whose names may be written short
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = Field(min_length=1)

    @field_validator("columns", mode="before")
    @classmethod
    def _plain_names(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @model_validator(mode="after")
    def _rows_fit(self) -> Table:
        for row in self.rows:
            where = f'table {self.table}, row "{row.label}"'
            if isinstance(row.scores, tuple) and len(row.scores) != len(self.columns):
                raise ValueError(f"{where}: {len(row.scores)} numbers for {len(self.columns)} columns")
            for column, text in self.texts(row):
                if (column.unit or self.unit) != "text":
                    try:
                        printed(text, self.decimals)
                    except ValueError as error:
                        raise ValueError(f"{where}, {column.name}: {error}") from None
        return self

    @property
    def title(self) -> str:
        return f"{self.table}, {self.part}" if self.part else self.table

    def texts(self, row: Row) -> list[tuple[Column, str]]:
        """Columns and cells of a row."""
        if isinstance(row.scores, tuple):
            return list(zip(self.columns, row.scores, strict=True))
        known = {name: column for column in self.columns for name in (column.name, column.metric) if name}
        return [(known.get(name) or Column(name=name), text) for name, text in row.scores.items()]


class Place(Form):
    """A row of a table."""

    table: str
    part: str = ""
    group: str = ""
    row: str


class Claim(Form):
    """A number or an order that the text states about its tables."""

    text: str
    where: str = ""
    how: Literal["value", "difference", "relative", "either", "higher"]
    states: str = ""
    metrics: tuple[str, ...] = Field(min_length=1)
    of: Place
    over: Place | None = None

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if self.how != "higher" and printed(self.states) is None:
            raise ValueError(f"how: {self.how} needs the number it states")
        if self.how != "value" and self.over is None:
            raise ValueError(f"how: {self.how} needs a row to compare with\nadd over: {{table: ..., row: ...}}")
        return self


class Beside(Form):
    """Rows of a table that stand beside measured rows of a suite, where its metrics are the same."""

    suite: str  # by name
    table: str
    part: str = ""
    rows: dict[str, str] = Field(min_length=1)  # model of a row, or its name: what it is called beside measured rows
    without: tuple[str, ...] = ()  # metrics of the same name that are not the same
    note: str = ""  # what a reader must know to compare


class Paper(Form):
    """One file."""

    paper: str
    short: str = ""
    arxiv: str = ""
    url: str = ""
    note: str = ""
    tables: tuple[Table, ...] = Field(min_length=1)
    claims: tuple[Claim, ...] = ()
    beside: tuple[Beside, ...] = ()

    @property
    def name(self) -> str:
        return self.short or self.paper


class _Loader(yaml.BaseLoader):
    """Every scalar as text; a key that comes twice is a mistake, not an update."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" comes twice', key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> dict[str, Any]:
    """The file's mapping with every scalar as it is written, ready for `Paper`."""
    try:
        data = yaml.load(text, _Loader)  # a BaseLoader makes nothing but text, lists and mappings
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected keys and values", "see mutoscope audit --example")
    return data


# ---- rows with their metrics -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A number under the name of its metric."""

    printed: Printed
    unit: Unit
    videos: int | None = None

    @property
    def scale(self) -> float:
        """Printed units in one unit of the metric."""
        return 100.0 if self.unit == "percent" else 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the true value, in the metric's unit."""
        return self.printed.low / self.scale, self.printed.high / self.scale


@dataclass(frozen=True)
class Line:
    """A row, ready for arithmetic."""

    table: Table
    row: Row
    label: str  # unlike that of any other row of the table
    cells: Mapping[str, Cell]  # by metric
    unknown: tuple[str, ...]  # columns that no formula uses


def lines(table: Table, known: Collection[str]) -> list[Line]:
    """Rows of a table with their cells by metric. UserError when two columns are the same metric.

    Args:
        known: metrics that formulas use. They may be written short (`quality` for `vbench/quality`, "Quality Score").
    """
    unit = table.unit or _told_unit(table, known)
    labels = Counter(row.label for row in table.rows)
    found = []
    for place, row in enumerate(table.rows, start=1):
        label = row.label if labels[row.label] == 1 else f"{row.label} ({row.model or f'row {place}'})"
        cells: dict[str, Cell] = {}
        for column, text in table.texts(row):
            own = column.unit or unit
            number = None if own == "text" else printed(text, table.decimals)
            if number is None:
                continue
            metric = resolve(column.metric or column.name, table.benchmark, known)
            if metric in cells:
                raise UserError(f'table {table.title}, row "{label}": {metric} comes twice', "name one otherwise")
            cells[metric] = Cell(number, own, column.videos)
        found.append(Line(table, row, label, cells, tuple(name for name in cells if name not in known)))
    return found


def resolve(name: str, benchmark: str, known: Collection[str]) -> str:
    """`Quality Score` -> `vbench/quality`; a name that nothing knows stays as it is."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("(%)", "")).strip("_")
    short = slug.removesuffix("_score")
    return next((full for full in (name, f"{benchmark}/{slug}", f"{benchmark}/{short}") if full in known), name)


def _told_unit(table: Table, known: Collection[str]) -> Unit:
    """Fractions if no known number of the table exceeds 1."""
    numbers = [
        number.value
        for row in table.rows
        for column, text in table.texts(row)
        if column.unit is None and resolve(column.metric or column.name, table.benchmark, known) in known
        if (number := printed(text, table.decimals)) is not None
    ]
    return "fraction" if numbers and max(numbers) <= 1 else "percent"
