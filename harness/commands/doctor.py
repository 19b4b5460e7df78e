"""`mutoscope doctor`: is this installation sound, and do its metrics notice what they should?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.options import plugin_option, runs_option, split
from harness.errors import UserError


@click.command()
@click.option("--metrics", is_flag=True, help="Try every available metric on clips damaged in known ways.")
@click.option("--only", callback=split, help="With --metrics: only these metrics or families, by comma.")
@click.option("--clips", type=click.Path(path_type=Path), help="With --metrics: a folder of clips [default: rendered].")
@click.option(
    "--limit", type=click.IntRange(min=1), default=6, show_default=True, help="With --metrics: clips to take."
)
@click.option(
    "--level",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="With --metrics: how much damage.",
)
@click.option("--json", is_flag=True, help="With --metrics: JSON on standard output instead of the table.")
@click.option("--out", type=click.Path(path_type=Path), help="With --metrics: also save the JSON.")
@click.option("--picture", type=click.Path(path_type=Path), help="With --metrics: also save a PNG.")
@runs_option
@plugin_option
@click.pass_context
def doctor(context: click.Context, /, **options: Any) -> None:
    """Check this installation: versions, devices, weights, shadowed packages.

    With --metrics: score a few clips as they are and blurred, noisy, frozen, shuffled and so on with every metric that
    can run here, and say which moved which way and whether it should have. Exit code 1 if one clearly moved the wrong
    way. The embedded metrics take a minute or two; one that runs a large network takes 66 times what it takes a clip.
    Your own clips are cut to 64 frames and brought to 256 pixels; judges of the embedded world do not count there.

    \b
    mutoscope doctor
    mutoscope doctor --metrics --only shapes,flow
    mutoscope doctor --metrics --clips my_clips/ --limit 4 --picture moves.png
    """
    if options.pop("metrics"):
        from harness.commands.doctor_metrics import Request, examine_metrics

        sys.exit(examine_metrics(Request(**options)))
    for name in ("only", "clips", "limit", "level", "json", "out", "picture"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UserError(f"--{name} goes with --metrics", "add --metrics, or leave it out")
    from harness.commands.doctor_install import examine

    sys.exit(examine(options["plugins"]))
