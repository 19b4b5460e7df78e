"""`mutoscope new`: start a method or a metric of your own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.commands import DONE
from harness.commands.groups import Commands

out_option = click.option(
    "--out", type=click.Path(path_type=Path), help="Folder to write [default: NAME, or NAME-plugin]."
)


@click.group(cls=Commands)
def new() -> None:
    """Start a method or a metric of your own: a small package that works as it is, with one function to edit.

    \b
    mutoscope new method my-method
    mutoscope new metric my/score --level set
    """


@new.command(name="method")
@click.argument("name")
@click.option(
    "--from", "template", default="supervised", show_default=True, metavar="supervised|consistency|dmd|sampler-only",
    help="What it changes: the objective of fine-tuning, the distance of consistency distillation, the gradient of "
    "distribution matching, or only how clips are sampled.",
)  # fmt: skip
@out_option
def new_method(name: str, template: str, out: Path | None) -> None:
    """Write a package with a method called NAME: class, suite, test, README, entry point.

    \b
    mutoscope new method my-method
    mutoscope check my-method --plugin my-method/my_method.py
    mutoscope run quick --methods base,my-method --plugin my-method/my_method.py
    """
    sys.exit(_create("method", name, template, out))


@new.command(name="metric")
@click.argument("name")
@click.option("--level", default="clip", show_default=True, metavar="clip|set", help="Scores single clips, or a set.")
@out_option
def new_metric(name: str, level: str, out: Path | None) -> None:
    """Write a package with a metric called NAME: class, suite, test, README, entry point.

    \b
    mutoscope new metric my/score
    mutoscope check my/score --plugin my-score/my_score.py
    mutoscope evaluate my_clips/ --metrics my/score --plugin my-score/my_score.py
    """
    sys.exit(_create("metric", name, level, out))


def _create(kind: str, name: str, template: str, out: Path | None) -> int:
    """Write the package and say how to go on, in the words of its own README."""
    from harness import registry, scaffold

    taken = {"method": registry.methods, "metric": registry.metrics}[kind].names()
    package = scaffold.package(kind, name, template, taken)
    folder = out or Path(package.folder)
    scaffold.write(package, folder)
    click.echo(f"{folder / package.module}.py   edit {package.edit}() in it; everything else is in place\n")
    for line in package.commands:
        click.echo(_from_here(line, folder, package.module))
    return DONE


def _from_here(line: str, folder: Path, module: str) -> str:
    """A command of the package's README as it is typed in this folder, and by `uv run` if that is how we were started.

    In the package's own folder `uv run` would set up an environment for it, without the one that Mutoscope is in.
    """
    for name in (f"{module}.py", "suite.yaml"):
        line = line.replace(f" {name}", f" {folder / name}")
    line = line.replace("install -e .", f"install -e {folder}")
    if "UV" not in os.environ:  # which uv sets for what it runs
        return line
    return line.replace("mutoscope ", "uv run mutoscope ").replace("pip install", "uv pip install")
