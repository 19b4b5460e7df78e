"""Does a dataset keep the promises of `harness.api.Dataset`?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness import registry
from harness.api import ClipSpec, Dataset, Row, UserError
from harness.config import validate
from harness.conformance.randomness import restored, scramble, undrawn
from harness.conformance.report import Fault, Question, Report, demand, described, examine, told

SPEC = ClipSpec(frames=9, height=32, width=48)
LOOKED_AT = 4


class DatasetBench:
    """One dataset under one configuration, at a small clip spec."""

    def __init__(self, kind: Any, settings: Mapping[str, Any]) -> None:
        self.kind, self.config = kind, validate(kind.Config, settings, kind.name)

    def fresh(self) -> Dataset:
        made: Dataset = self.kind(self.config, SPEC)
        return made

    @cached_property
    def rows(self) -> Sequence[Row]:
        return self.fresh().rows()

    @cached_property
    def looked_at(self) -> list[int]:
        """Rows spread over the dataset."""
        return sorted({int(n) for n in np.linspace(0, len(self.rows) - 1, LOOKED_AT)})


def declaration(bench: DatasetBench) -> str:
    described(bench.kind, Dataset)
    return "as it should be"


def rows(bench: DatasetBench) -> str:
    found = bench.rows
    demand(len(found) > 0, "it has no rows")
    demand(all(isinstance(row, Row) for row in found), "rows() must be of harness.api.Row")
    twice = len(found) - len({row.id for row in found})
    demand(not twice, f"{twice} rows share their id with another; ids join score columns to rows")
    for row in found:
        demand(bool(row.prompt.strip()), f"row {row.id} has no prompt")
        bad = [name for name, value in row.scores.items() if not math.isfinite(value)]
        demand(not bad, f"row {row.id}: its score {bad} is not finite; leave the column out")
        try:
            json.dumps(dict(row.meta), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Fault(f"row {row.id}: its meta is not JSON: {error}") from error
    demand(list(found) == list(bench.fresh().rows()), "rows() are other ones in a second instance")
    columns = sorted(set.intersection(*(set(row.scores) for row in found)))
    return f"{len(found)} rows, score columns {', '.join(columns) or 'none'}"


def videos(bench: DatasetBench) -> str:
    data, shape = bench.fresh(), (SPEC.frames, SPEC.height, SPEC.width, 3)
    scramble(1)
    with undrawn("video()", "seed a generator of its own, from the row"):
        first = {index: data.video(index).copy() for index in bench.looked_at}
    for index, frames in first.items():
        demand(frames.dtype == np.uint8, f"video({index}) is {frames.dtype}, not uint8")
        demand(frames.shape == shape, f"video({index}) is {list(frames.shape)}, the clip spec is {list(shape)}")
    other = bench.fresh()
    scramble(2)
    for index in reversed(bench.looked_at):
        same = np.array_equal(other.video(index), first[index])
        demand(same, f"video({index}) is another one in a second instance, or after other rows")
    try:
        data.video(len(bench.rows))
    except (UserError, IndexError):
        pass
    except Exception as error:
        raise Fault(f"a row that does not exist: {told(error)}; raise UserError or IndexError") from error
    else:
        raise Fault(f"video({len(bench.rows)}) answers, although there are {len(bench.rows)} rows")
    return f"{len(first)} clips of {shape[0]} frames, the same every time and in any order"


def digests(bench: DatasetBench) -> str:
    first, second = (bench.fresh().digest() for _ in range(2))
    demand(isinstance(first, str) and bool(first), f"digest() is {first!r}")
    demand(first == second, "digest() is another one in a second instance")
    wider = bench.kind(bench.config, SPEC.model_copy(update={"width": SPEC.width + 16})).digest()
    demand(wider != first, "digest() is the same for another clip size: cached latents of one would serve the other")
    return first[:12]


QUESTIONS = (
    Question("declaration", declaration),
    Question("rows", rows, after=("declaration",)),
    Question("videos", videos, after=("rows",)),
    Question("digest", digests, after=("declaration",)),
)


def examine_dataset(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """What can be asked about a dataset, looking at a few of its clips.

    Raises:
        UserError: the settings are wrong.
    """
    registry.datasets.register(kind)
    with restored():
        return examine("dataset", kind.name, DatasetBench(kind, settings or {}), QUESTIONS)


def check_dataset(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """`examine_dataset`, for a plugin's own tests: raises one AssertionError that lists every failed check."""
    return examine_dataset(kind, settings).demand()
