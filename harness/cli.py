"""The command line. Commands import what they need when they run, so that `--help` stays instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.commands import USAGE
from harness.commands.arena import arena
from harness.commands.audit import audit
from harness.commands.check import check
from harness.commands.data import data
from harness.commands.doctor import doctor
from harness.commands.groups import Commands, embedded, vbench, weights, workers
from harness.commands.imports import import_
from harness.commands.new import new
from harness.commands.options import plugin_option, runs_option, shard, split
from harness.errors import UserError

tracking_option = click.option(
    "--tracking-uri", envvar="MLFLOW_TRACKING_URI", default=None, help="MLflow store [default: SQLite beside the runs]."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mutoscope")
def app() -> None:
    """Benchmark text-to-video methods: train, generate, evaluate and rank them under one protocol.

    \b
    mutoscope run quick                       compare all methods of the embedded suite
    mutoscope run quick --methods tqd,ltd --seeds 0,1 --set train.steps=50
    mutoscope evaluate my_clips/              score a folder of clips
    mutoscope board                           the leaderboard again
    mutoscope serve                           browse it in MLflow
    """


def _numbers(_: Any, __: Any, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in split(None, None, text))
    except ValueError:
        raise UserError(f'--seeds "{text}": expected whole numbers', "for example --seeds 0,1,2") from None


def suite_options(command: Any) -> Any:
    """The arguments that `run` and `plan` share."""
    for option in reversed((
        click.argument("suite_name", metavar="SUITE"),
        click.option("--methods", callback=split, help="Rows to run, by comma [default: all of the suite]."),
        click.option("--seeds", callback=_numbers, help="Seeds, by comma [default: the suite's]."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. train.steps=50."),
        click.option("--limit", type=click.IntRange(min=1), help="Only the first N prompts; marks the run partial."),
        runs_option,
        plugin_option,
    )):  # fmt: skip
        command = option(command)
    return command


@app.command()
@suite_options
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [default: one a core].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--fresh", is_flag=True, help="Discard what these cells have and start over.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--publish/--no-publish", default=True, show_default=True, help="Write to MLflow when done.")
@tracking_option
def run(**options: Any) -> None:
    """Train, generate, evaluate and rank a suite. Running again resumes or reuses.

    SUITE is a shipped suite (see `mutoscope list`) or a YAML file.

    \b
    mutoscope run quick
    mutoscope run quick --methods base,tqd --limit 4
    mutoscope run quick --set dataset.name=folder --set dataset.path=clips --methods supervised-logitnormal
    """
    from harness.commands.run import Request, run_suite

    sys.exit(run_suite(Request(**options)))


@app.command()
@suite_options
def plan(**options: Any) -> None:
    """Show the cells of a run, their keys, what is done and an estimate (= run --dry-run)."""
    from harness.commands.run import Request, run_suite

    sys.exit(run_suite(Request(**options, dry_run=True)))


@app.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--metrics", callback=split, help="Metrics or families, by comma [default: all that are ready].")
@click.option(
    "--mode",
    type=click.Choice(["custom", "standard"]),
    help="VBench protocol: standard = its own prompts, leaderboard numbers; custom = any clips [default].",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Folder of metric weights [default: the cache].")
@click.option("--unofficial-weights", is_flag=True, help="Accept weight files that are not the published ones.")
@click.option("--device", help="auto, cpu, cuda or cuda:N, for metrics that run networks [default: auto].")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Option of the metrics, e.g. backend=official.")
@click.option("--shard", callback=shard, metavar="I/N", help="Only the I-th of N parts; a run without it merges them.")
@click.option("--prompts", type=click.Path(path_type=Path), help="metadata.csv, metadata.jsonl or a JSON map.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to keep the scores [default: under --runs].")
@runs_option
@plugin_option
def evaluate(**options: Any) -> None:
    """Score every clip of a folder, whatever made it.

    Prompts come from metadata.csv, metadata.jsonl or a JSON map (file name to prompt) in the folder, or from --prompts;
    never from file names. A damaged clip is named and the rest is scored.

    \b
    mutoscope evaluate my_clips/
    mutoscope evaluate my_clips/ --metrics flow/magnitude,vbench/temporal_flickering
    mutoscope evaluate my_clips/ --metrics vbench --mode custom
    mutoscope evaluate my_samples/ --metrics vbench --mode standard --shard 1/2
    """
    from harness.commands.evaluate import Request, evaluate_folder
    from harness.config import parse_sets

    chosen = {"protocol": options.pop("mode"), "weights": options.pop("weights"), "device": options.pop("device")}
    chosen["unofficial_weights"] = options.pop("unofficial_weights") or None
    chosen = {key: str(value) if isinstance(value, Path) else value for key, value in chosen.items() if value}
    sys.exit(evaluate_folder(Request(options=chosen | parse_sets(options.pop("sets")), **options)))


@app.command()
@click.argument("suite", required=False)
@runs_option
@click.option("--markdown", is_flag=True, help="Markdown instead of a terminal table.")
@click.option("--parts", is_flag=True, help="Also the parts of each metric.")
@click.option("--picture", type=click.Path(path_type=Path), help="Save a PNG: prompts down, rows across, filmstrips.")
def board(suite: str | None, runs: Path, markdown: bool, parts: bool, picture: Path | None) -> None:
    """Show the leaderboard of a suite [default: the newest]."""
    from harness.commands.results import show_board

    show_board(suite, runs, markdown, parts, picture)


@app.command()
@click.argument("rows", nargs=-1, required=True)
@click.option("--suite", help="Suite, or suite@digest [default: the newest].")
@runs_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the page and tables [default: in the suite's]."
)
@click.option("--inline", is_flag=True, help="One self-contained page, to send; otherwise clips lie beside it.")
@click.option("--top", type=click.IntRange(min=0), default=8, show_default=True, help="Prompts to list here.")
def compare(rows: Sequence[str], suite: str | None, runs: Path, out: Path | None, inline: bool, top: int) -> None:
    """Hold rows of a leaderboard against the first one named: paired differences, and the clips side by side.

    Prints every metric's difference with its interval and p, then the prompts on which the rows disagree most, and
    writes compare.html (players on one clock: step, loop, speed, difference of two clips) and two CSV tables.

    \b
    mutoscope compare base tqd
    mutoscope compare dmd dmd+tr avd --suite quick --inline --out to_send/
    """
    from harness.commands.results import compare_rows

    compare_rows(rows, suite, runs, out, inline, top)


@app.command()
@click.argument("suite", required=False)
@runs_option
@click.option("--site", type=click.Path(path_type=Path), help="Folder for a static site that opens from disk.")
@click.option("--csv", type=click.Path(path_type=Path), help="Every number, one line per row and metric.")
@click.option("--markdown", type=click.Path(path_type=Path), help="The tables and what to be wary of.")
@click.option("--latex", type=click.Path(path_type=Path), help="A booktabs table of the complete rows.")
@plugin_option
def export(suite: str | None, runs: Path, site: Path | None, plugins: Sequence[str], **files: Path | None) -> None:
    """Write a leaderboard as files to send [default: the newest suite].

    \b
    mutoscope export quick --site site/
    mutoscope export quick --latex table.tex --csv scores.csv
    """
    from harness import registry
    from harness.commands.results import export_suite

    for plugin in plugins:
        registry.load_plugin(plugin)
    export_suite(suite, runs, site, files)


@app.command()
@click.argument("suite", required=False)
@runs_option
@tracking_option
def publish(suite: str | None, runs: Path, tracking_uri: str | None) -> None:
    """Write run directories to MLflow [default: every suite]. Publishing again changes nothing."""
    from harness.commands.results import publish_suites

    publish_suites(suite, runs, tracking_uri)


@app.command()
@runs_option
@click.option("--port", type=int, default=None, help="Port [default: 5000, or the next free one].")
@click.option("--host", default="127.0.0.1", show_default=True)
def serve(runs: Path, port: int | None, host: str) -> None:
    """Browse the results in MLflow on this machine; prints links that open on the leaderboards."""
    from harness.commands.results import serve_runs

    serve_runs(runs, host, port)


@app.command(name="list")
@plugin_option
def list_(plugins: Sequence[str]) -> None:
    """List suites, methods, metrics, backbones, datasets and trackers."""
    from harness.commands.describe import list_all

    list_all(plugins)


@app.command()
@click.argument("name")
@click.argument("rows", metavar="[ROW]...", nargs=-1)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="An option of the method, or of the suite.")
@click.option("--equations", is_flag=True, help="The equations a method is made of.")
@plugin_option
def describe(name: str, rows: Sequence[str], sets: Sequence[str], equations: bool, plugins: Sequence[str]) -> None:
    """Explain a suite, method, metric, backbone, dataset or tracker: what it is, its options, what it needs.

    For a row of a suite (without ROW: for every row of a suite file), and for a method, also what it computes: the
    parts in use, in the order they act, with formula, options and source.

    \b
    mutoscope describe tqd --equations
    mutoscope describe quick avd lcm
    mutoscope describe my_suite.yaml
    mutoscope describe dmd --set rollout=data --set time_law=tqd_beta
    """
    from harness.commands.describe import Request, describe_name

    describe_name(Request(name, rows, sets, equations, plugins))


for group in (weights, workers, vbench, embedded, data, audit, arena, import_, new, check, doctor):
    app.add_command(group)


def main() -> None:
    """Entry point: a UserError is two lines and exit code 2; anything else unexpected keeps its traceback (1)."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        click.echo(f"error: {error.problem}", err=True)
        if error.remedy:
            click.echo(f"  {error.remedy}", err=True)
        sys.exit(USAGE)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
