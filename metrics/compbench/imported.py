"""T2V-CompBench's own result tables as score rows: from the rows, never from the last line's mean alone."""

from __future__ import annotations

import ast
import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api import ScoreRow, UserError
from metrics.compbench.motion import normalised
from metrics.compbench.replies import action_score, dynamic_attribute, rating, shows_a_state

FAMILY = "t2v-compbench/"
LAST = "score: "  # first cell of the line that the scripts append
AGREES = 1e-9
Row = Mapping[str, str]


@dataclass(frozen=True)
class Imported:
    """A table: its category, its rows in our terms (`clip` is the script's number of the video), and what is odd."""

    category: str
    rows: tuple[ScoreRow, ...]
    notes: tuple[str, ...]


def action_value(row: Row) -> float:
    """Of a row of eval_action_binding.py's table."""
    return action_score(row["outputs_2"])


def dynamic_value(row: Row) -> float:
    """Of a row of eval_dynamic_attr.py's table, from its replies."""
    s0, s01, s1, s11 = (rating(row[name]) for name in ("1_answer2", "_answer3", "2_answer2", "2_answer3"))
    return dynamic_attribute((s0, s01), (s1, s11), [shows_a_state(said) for said in replies_in(row)])


def replies_in(row: Row) -> list[str]:
    """The judge's replies about the frames in between, which the script writes as a Python list."""
    try:
        found = ast.literal_eval(row["inter_answers"])
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"inter_answers is no list: {row['inter_answers']!r:.60}") from error
    if not (isinstance(found, list) and all(isinstance(said, str) for said in found)):
        raise ValueError(f"inter_answers is no list of replies: {row['inter_answers']!r:.60}")
    return found


def motion_value(row: Row) -> float:
    """Of a row of motion_binding_score_cal.py's `<model>_score.csv`, as the script paired objects with masks."""
    score = float(row["Score"])
    if not (score == -1 or 0 <= score <= 2):
        raise ValueError(f"{score:g} is neither -1 nor a share of the frame")
    return normalised(score)


@dataclass(frozen=True)
class Kind:
    """A category's table: the columns that tell it apart, the clip's, and how a row is read."""

    columns: tuple[str, ...]
    clip: str
    value: Callable[[Row], float]


KINDS: Mapping[str, Kind] = {
    "action_binding": Kind(("outputs_1", "outputs_2"), "name", action_value),
    "dynamic_attribute": Kind(
        ("1_answer2", "_answer3", "2_answer2", "2_answer3", "inter_answers"), "name", dynamic_value
    ),
    "motion_binding": Kind(("object_1", "d_1", "object_2", "d_2"), "id", motion_value),
}


def read_table(path: Path) -> Imported:
    """A table of one of the three categories, told by its columns.

    A row that cannot be read has an error and no value; the official mean leaves "bad reply" rows out and counts a
    dynamic-attribute reply without a score with the number of the reply before it.

    Raises:
        UserError: not such a table, or a clip comes twice.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            columns, lines = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read: {error}", "give a table that T2V-CompBench's scripts wrote"
        ) from error
    found = [name for name, kind in KINDS.items() if {"Score", kind.clip, *kind.columns} <= set(columns)]
    if not found:
        raise UserError(f"{path}: no table of {', '.join(KINDS)}", "give the scripts' per-video table")
    category, kind = found[0], KINDS[found[0]]
    last = lines.pop() if lines and lines[-1][columns[0]] == LAST else None
    rows = tuple(_row(kind, line) for line in lines)
    twice = [clip for clip, count in Counter(row["clip"] for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"{path}: clip {twice[0]} comes more than once", "each counts once: remove the others")
    return Imported(category, rows, _notes(rows, last[columns[1]] if last else ""))


def _row(kind: Kind, line: Row) -> ScoreRow:
    value, error = None, ""
    try:
        value = kind.value(line)
    except (ValueError, TypeError) as problem:
        error = str(problem)
    clip = str(line[kind.clip]).removesuffix(".png")
    return {"clip": clip, "sha256": "", "value": value, "parts": {}, "note": "", "error": error}


def _notes(rows: tuple[ScoreRow, ...], stated: str) -> tuple[str, ...]:
    values = [row["value"] for row in rows if row["value"] is not None]
    notes = [f"{len(rows) - len(values)} of {len(rows)} rows cannot be read"] if len(values) < len(rows) else []
    if stated and values:
        mean = math.fsum(values) / len(values)
        try:
            agrees, said = abs(mean - float(stated)) <= AGREES, f"{float(stated):.6f}"
        except ValueError:
            agrees, said = False, repr(stated)
        if not agrees:
            notes.append(f"the file's mean is {said}, its rows give {mean:.6f}")
    return tuple(notes)
