"""Score columns joined to a dataset from a CSV or parquet file, by row id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import Dataset, Row
from harness.config import digest
from harness.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """`{row id: {column: value}}` from a table with an `id` column; every other column must be numeric."""
    import pandas as pd

    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"id": str})
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.scores: {path}: {error}", "give a CSV or parquet file") from error
    if "id" not in table or table["id"].duplicated().any():
        raise UserError(f"dataset.scores: {path}: needs an id column without repeats", "one row a clip")
    columns = [column for column in table if column != "id"]
    bad = [column for column in columns if not pd.api.types.is_numeric_dtype(table[column])]
    if bad:
        raise UserError(f"dataset.scores: {path}: column {bad[0]} is not numeric")
    return {str(row["id"]): {str(c): float(row[c]) for c in columns} for row in table.to_dict("records")}


class Scored(Dataset):
    """A dataset with further score columns; the same pixels and captions."""

    name = "scored"

    def __init__(self, inner: Dataset, path: Path) -> None:
        super().__init__(inner.config, inner.spec)
        self.inner, self.path, self._scores = inner, path, read_scores(path)
        missing = [row.id for row in inner.rows() if row.id not in self._scores]
        if missing:
            raise UserError(f"dataset.scores: {path}: no row for clip {missing[0]} ({len(missing)} missing)")
        self._rows = [replace(row, scores={**row.scores, **self._scores[row.id]}) for row in inner.rows()]

    def rows(self) -> Sequence[Row]:
        return self._rows

    def video(self, index: int) -> NDArray[np.uint8]:
        return self.inner.video(index)

    def digest(self) -> str:
        return digest({"inner": self.inner.digest(), "scores": [dict(row.scores) for row in self._rows]})

    def notes(self) -> Mapping[str, Any]:
        return {**self.inner.notes(), "scores": str(self.path)}
