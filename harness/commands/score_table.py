"""The table that `data score` writes, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from harness import provenance
from harness.judging import ScoreRow
from harness.plugins import MetricSpec
from harness.store import atomic, file_digest, write_json

if TYPE_CHECKING:
    from harness.commands.data_score import Item

Done = Mapping[str, Mapping[str, ScoreRow]]  # by column, then by clip
FEWEST = 3  # clips from which a correlation is said


def write_table(
    out: Path,
    items: Sequence[Item],
    columns: Mapping[str, MetricSpec],
    done: Done,
    source: Mapping[str, Any],
    console: Console,
) -> None:
    """Clips that have all their scores, in the data set's order; beside it, how it was made. None: no file."""
    import pandas as pd

    whole = [item for item in items if all(rows[item.id]["value"] is not None for rows in done.values())]
    if not whole:
        console.print(f"{out} is not written: no clip has all its scores")
        return
    table = pd.DataFrame({"id": [item.id for item in whole]})
    for label, rows in done.items():
        table[label] = [rows[item.id]["value"] for item in whole]
    with atomic(out) as temporary:
        if out.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n")
    about = {
        "dataset": source,
        "clips": len(items),
        "rows": len(whole),
        "columns": {label: asdict(spec) for label, spec in columns.items()},
        "sha256": file_digest(out),
        "versions": provenance.versions(),
    }
    write_json(out.with_name(out.name + ".json"), about)
    console.print(_summary(whole, columns, done))
    console.print(f"table   {out}: {len(whole)} of {len(items)} clips", highlight=False, soft_wrap=True)
    console.print(f"use     --set dataset.scores={out}", highlight=False, soft_wrap=True)


def tell(done: Done, console: Console) -> int:
    """Name every clip without a score, each reason once; returns how many there are."""
    lacking: dict[str, dict[str, list[str]]] = {}
    for label, rows in done.items():
        for clip, row in rows.items():
            if row["value"] is None:
                reason = row["error"] or f"not applicable: {row['note'] or 'no reason given'}"
                lacking.setdefault(clip, {}).setdefault(reason, []).append(label)
    for clip, reasons in lacking.items():
        for reason, labels in reasons.items():
            text = f"no row  {clip}: {', '.join(labels)}: {reason}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
    return len(lacking)


def _summary(items: Sequence[Item], columns: Mapping[str, MetricSpec], done: Done) -> Table:
    """A line a column: its spread, and how it agrees with the data set's own column of that name."""
    own = [label for label in columns if all(label in item.known for item in items)]
    table = Table(caption="own: agreement with the data set's own column" if own else None, caption_justify="left")
    heads = ("column", "metric", "clips", "mean", "sd", "low", "high", *(("own r", "own rank r") if own else ()))
    for head in heads:
        table.add_column(head, justify="left" if head in {"column", "metric"} else "right")
    for label, spec in columns.items():
        values = np.array([done[label][item.id]["value"] for item in items])
        numbers = [values.mean(), values.std(), values.min(), values.max()]
        if label in own:
            numbers += agreement(values, np.array([item.known[label] for item in items]))
        cells = ["-" if np.isnan(number) else f"{number:.4f}" for number in numbers]
        table.add_row(label, spec.id, str(len(values)), *cells)
    return table


def agreement(a: Any, b: Any) -> list[float]:
    """Pearson's and Spearman's correlation of two columns `[N]`; NaN where one is constant or N < 3."""
    from scipy.stats import rankdata

    if len(a) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return [float("nan")] * 2
    return [float(np.corrcoef(x, y)[0, 1]) for x, y in ((a, b), (rankdata(a), rankdata(b)))]
