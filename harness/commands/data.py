"""`mutoscope data`: what is done to a data set before anything is trained on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.groups import Commands
from harness.commands.options import plugin_option, shard, split


@click.group(cls=Commands)
def data() -> None:
    """Data sets: score their clips.

    \b
    mutoscope data score quick --with shapes/mq,shapes/vq --out scores.csv
    mutoscope run quick --set dataset.scores=scores.csv
    """


@data.command(name="score")
@click.argument("dataset", metavar="DATASET")
@click.option(
    "--with", "names", callback=split, required=True,
    help="Clip-level metrics, by comma; COLUMN=NAME names the column [default: the end of the metric's name].",
)  # fmt: skip
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Option of DATASET, e.g. size=192.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the metrics, e.g. device=cpu.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("scores.csv"), show_default=True,
    help="The table, .csv or .parquet. OUT.rows/ keeps what is done, OUT.json says how it was made.",
)  # fmt: skip
@click.option("--shard", callback=shard, metavar="I/N", help="Only the I-th of N parts; a run without it merges them.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N clips.")
@plugin_option
def data_score(**options: Any) -> None:
    """Score every clip of a data set and write the columns that a training run reads.

    DATASET is a suite (its training set at its clip size), a registered data set with its options in --set (and
    clip.frames, clip.height, clip.width, clip.fps), or a folder of clips, which are scored as they lie. The table has
    an `id` and a column for every metric; give it to a run as dataset.scores. Killed or run again, it goes on where it
    was. A clip that cannot be scored is named, has no row, and makes the exit code 3.

    \b
    mutoscope data score quick --with shapes/mq,shapes/vq
    mutoscope data score shapes --set size=192 --set preset=set-a --with shapes/mq,shapes/vq --out set_a.csv
    mutoscope data score my_clips/ --with videoalign --out my_clips.parquet --shard 1/4
    mutoscope data score my_clips/ --with motion=flow/magnitude
    """
    from harness.commands.data_score import Request, score_dataset

    sys.exit(score_dataset(Request(**options)))
