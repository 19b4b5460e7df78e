"""Which files a VBench dimension reads, and whether they are there: asked before anything runs, without torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from harness.weights import Shelf, Table, folder, read_table

GROUP = "vbench"


@cache
def table() -> Table:
    """`weights.yaml`, in VBench's folder layout."""
    return read_table(Path(__file__).with_name("weights.yaml"))


def files(dimension: str) -> tuple[str, ...]:
    """Names of the weight files of a dimension, relative to the folder, in the table's order."""
    return tuple(entry.file for entry in table().files if dimension in entry.purposes and not entry.support)


def require(
    dimension: str, engine: Literal["native", "official"], configured: str | None, unofficial: bool = False
) -> tuple[Path, ...]:
    """The weight files of a dimension in the table's order, the same for both engines; () if it has none.

    Args:
        dimension: its official name, or "static_filter".
        engine: the official one also needs the support files: code, vocabularies, tokenizers.
        configured: the folder they lie in [default: Mutoscope's].
        unofficial: weights may be others than the published ones.

    Raises:
        UserError: files are missing, or not what they should be; with the command that gets them.
    """
    shelf = Shelf(table(), folder(GROUP, configured))
    entries = [entry for entry in table().files if dimension in entry.purposes]
    weights = [entry for entry in entries if not entry.support]
    support = [entry for entry in entries if entry.support and engine == "official"]
    return shelf.require([*weights, *support], [dimension], unofficial)[: len(weights)]
