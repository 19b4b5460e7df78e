"""Where TRAJAN's checkpoint lies, and whether it is there: asked before anything runs, without torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.errors import UserError
from harness.weights import Shelf, Table, folder, read_table

GROUP = "trajan"
SHAPES_WEIGHTS = Path(__file__).parent / "weights" / "shapes.safetensors"
TRAIN_COMMAND = "python -m metrics.trajan.train_shapes"


@cache
def table() -> Table:
    """`weights.yaml`."""
    return read_table(Path(__file__).with_name("weights.yaml"))


def require(configured: str | None, unofficial: bool = False) -> Path:
    """The checkpoint's path.

    Args:
        configured: the folder it lies in [default: Mutoscope's].
        unofficial: its bytes may be others than the published ones.

    Raises:
        UserError: it is missing, or not what it should be; with the command that gets it.
    """
    shelf = Shelf(table(), folder(GROUP, configured))
    return shelf.require(table().files, unofficial=unofficial)[0]


def require_shapes() -> Path:
    """The path of the shipped network of the embedded world. Raises UserError, with the command that makes it."""
    if not SHAPES_WEIGHTS.is_file():
        raise UserError(f"the weights of trajan on shapes are missing: {SHAPES_WEIGHTS}", f"make them: {TRAIN_COMMAND}")
    return SHAPES_WEIGHTS
