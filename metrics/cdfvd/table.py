"""The official files: checkpoints of both networks and published statistics, and whether they are there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.api import UserError
from harness.weights import Shelf, Table, folder, read_table

GROUP = "cdfvd"
NETWORKS = {"videomae": "vit_g_hybrid_pt_1200e_ssv2_ft.pth", "i3d": "i3d_pretrained_400.pt"}
LEAST_FRAMES = {"videomae": 2, "i3d": 9}  # of a window
PUBLISHED = ("ffs", "kinetics", "sky", "ucf101")  # data sets with published statistics
STATISTICS = "fvd_stats_cache"  # the package's folder for them


@cache
def table() -> Table:
    """`weights.yaml`."""
    return read_table(Path(__file__).with_name("weights.yaml"))


def network_file(model: str, configured: str | None, unofficial: bool) -> Path:
    """The checkpoint of a network. Raises UserError, with the command that gets it, when it is missing or differs."""
    return _require(NETWORKS[model], configured, unofficial)


def statistics_file(name: str, configured: str | None, unofficial: bool) -> Path:
    """A published reference by its official file name. Raises UserError when there is none, or it is not here."""
    return _require(f"{STATISTICS}/{name}", configured, unofficial)


def _require(file: str, configured: str | None, unofficial: bool) -> Path:
    shelf = Shelf(table(), folder(GROUP, configured))
    entries = [entry for entry in table().files if entry.file == file]
    if not entries:
        raise UserError(
            f"{GROUP}: no statistics are published as {Path(file).name}",
            "published: resolution 128 or 256, sequence_length 16; else give a folder of clips as reference",
        )
    return shelf.require(entries, entries[0].purposes, unofficial)[0]
