"""What a run looks like while it runs: bars with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.plan import Cell

PLAIN_EVERY = 10.0  # seconds between plain lines of one cell


class RunView:
    """Shows `tell(cell, stage, done, of)` events; use as a context manager."""

    def __init__(self, cells: Sequence[Cell], console: Console) -> None:
        self.cells, self.console = cells, console
        self.bars: Progress | None = None
        if console.is_terminal:
            columns: list[Any] = [
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("eta"), TimeRemainingColumn(),
            ]  # fmt: skip
            self.bars = Progress(*columns, console=console)
        self.tasks: dict[tuple[int, str], TaskID] = {}
        self.spoke: dict[tuple[int, str], float] = {}
        self.began: dict[tuple[int, str], tuple[float, int]] = {}

    def __enter__(self) -> RunView:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def tell(self, number: int, stage: str, done: int, of: int) -> None:
        key = number, stage
        label = f"{self.cells[number].label:<32} {stage:<8}"
        if self.bars:
            if key not in self.tasks:
                self.tasks[key] = self.bars.add_task(label, total=of)
            self.bars.update(self.tasks[key], completed=done, total=of)
            return
        now = time.monotonic()
        start, first = self.began.setdefault(key, (now, done))
        if done < of and now - self.spoke.get(key, 0.0) < PLAIN_EVERY:
            return
        self.spoke[key] = now
        rate = (done - first) / (now - start) if now > start else 0.0
        eta = f"  eta {(of - done) / rate:.0f} s" if rate and done < of else ""
        self.console.print(f"{label} {done}/{of}{eta}", highlight=False)
