"""Commands that have commands of their own: `weights`, `workers`, `vbench`, `embedded`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.options import split
from harness.errors import UserError, did_you_mean


class Commands(click.Group):
    """Suggests the nearest command for a mistyped one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise UserError(f'no command is called "{args[0]}"', did_you_mean(args[0], self.commands))
        return super().resolve_command(ctx, args)


# ---- weights ---------------------------------------------------------------------------------------------------

purposes_option = click.option("--for", "purposes", callback=split, help="Only files these dimensions need, by comma.")
directory_option = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Folder of the files [default: Mutoscope's cache]."
)


@click.group(cls=Commands)
def weights() -> None:
    """Published weights of metrics: list, fetch, verify.

    \b
    mutoscope weights list vbench
    mutoscope weights fetch vbench --for subject_consistency,dynamic_degree
    mutoscope weights fetch vbench --from ~/.cache/vbench
    mutoscope weights verify vbench
    """


@weights.command(name="list")
@click.argument("group", required=False)
def weights_list(group: str | None) -> None:
    """Files with size, licence, what needs them, and whether they are here."""
    from harness.commands.weights import show

    sys.exit(show(group))


@weights.command(name="fetch")
@click.argument("group")
@purposes_option
@directory_option
@click.option("--from", "origin", type=click.Path(path_type=Path), help="Take what is right from this folder first.")
@click.option("--support", is_flag=True, help="Only the code and vocabularies that the official package needs.")
def weights_fetch(group: str, **options: Any) -> None:
    """Download what is missing: resumes, checks size and digest, asks no shell.

    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected; MUTOSCOPE_OFFLINE=1 never touches the network.
    """
    from harness.commands.weights import fetch

    sys.exit(fetch(group, **options))


@weights.command(name="verify")
@click.argument("group")
@purposes_option
@directory_option
def weights_verify(group: str, **options: Any) -> None:
    """Read every file again and hold it to its digest."""
    from harness.commands.weights import verify

    sys.exit(verify(group, **options))


@weights.command(name="seed")
@click.argument("group")
@purposes_option
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--seed", "number", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
def weights_seed(group: str, **options: Any) -> None:
    """Write random weights in the published formats, to try everything without a download.

    \b
    mutoscope weights seed vbench --dir seeded
    mutoscope evaluate my_clips/ --metrics vbench --mode custom --weights seeded --unofficial-weights
    """
    from harness.commands.weights import seed

    sys.exit(seed(group, **options))


# ---- workers ---------------------------------------------------------------------------------------------------


@click.group(cls=Commands)
def workers() -> None:
    """Official implementations, each in an environment of its own.

    \b
    mutoscope workers list
    mutoscope workers build vbench
    mutoscope evaluate my_clips/ --metrics vbench --set backend=official
    """


@workers.command(name="list")
def workers_list() -> None:
    """Environments, and whether they are built."""
    from harness.commands.workers import list_workers

    sys.exit(list_workers())


@workers.command(name="build")
@click.argument("name")
@click.argument("extras", nargs=-1)
def workers_build(name: str, extras: tuple[str, ...]) -> None:
    """Build an environment with uv, once; EXTRAS are optional layers, e.g. `pose` of vmbench."""
    from harness.commands.workers import build_worker

    sys.exit(build_worker(name, extras))


@workers.command(name="remove")
@click.argument("name")
def workers_remove(name: str) -> None:
    """Delete an environment."""
    from harness.commands.workers import remove_worker

    sys.exit(remove_worker(name))


# ---- vbench ----------------------------------------------------------------------------------------------------


@click.group(cls=Commands)
def vbench() -> None:
    """VBench's prompts, totals and result files.

    \b
    mutoscope vbench prompts --subset mini
    mutoscope vbench totals runs/evaluate/my_samples@1a2b3c4d
    mutoscope vbench export runs/evaluate/my_samples@1a2b3c4d --out submission.zip --zip
    mutoscope vbench import evaluation_results.zip --out imported/
    """


@vbench.command(name="prompts")
@click.option("--dimension", "dimensions", callback=split, help="Only prompts of these, by comma.")
@click.option(
    "--subset", type=click.Choice(["standard", "quality-only", "mini"]), default="standard", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="Save as .txt, .csv or .json (a row for every sample).")
def vbench_prompts(**options: Any) -> None:
    """List or save the official prompts."""
    from harness.commands.vbench import list_prompts

    sys.exit(list_prompts(**options))


@vbench.command(name="totals")
@click.argument("items", nargs=-1, required=True, metavar="FOLDER|FILE|NAME=SCORE...")
@click.option("--percent", is_flag=True, help="Typed numbers are per cent.")
def vbench_totals(items: tuple[str, ...], percent: bool) -> None:
    """Quality, Semantic and Total, with the sixteen scores they are made of.

    \b
    mutoscope vbench totals runs/evaluate/my_samples@1a2b3c4d
    mutoscope vbench totals evaluation_results.zip
    mutoscope vbench totals --percent subject_consistency=95.4 background_consistency=97.1 ...
    """
    from harness.commands.vbench import show_totals

    sys.exit(show_totals(items, percent))


@vbench.command(name="export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder, or the zip with --zip.")
@click.option("--name", help="Of the result files [default: the folder's].")
@click.option("--zip", "zipped", is_flag=True, help="The zip that VBench's leaderboard takes.")
@click.option("--incomplete", is_flag=True, help="Export although dimensions or clips are missing.")
def vbench_export(**options: Any) -> None:
    """Write scores as VBench's result files."""
    from harness.commands.vbench import export_folder

    sys.exit(export_folder(**options))


@vbench.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the rows.")
def vbench_import(file: Path, out: Path) -> None:
    """Read VBench's result file or zip; the rows are marked as imported."""
    from harness.commands.vbench import import_file

    sys.exit(import_file(file, out))


# ---- embedded --------------------------------------------------------------------------------------------------


@click.group(cls=Commands)
def embedded() -> None:
    """The small backbone that ships with Mutoscope."""


@embedded.command(name="train")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("wan_shapes"),
    show_default=True,
    help="The WanPipeline folder to write.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("wan_shapes.work"),
    show_default=True,
    help="Latents and snapshots, about 1 GB; the same folder resumes.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps [default: those of the shipped weights].")
@click.option("--clips", type=click.IntRange(min=1), help="Clips of the world to train on.")
@click.option("--batch", type=click.IntRange(min=1), help="Clips a step.")
@click.option("--seed", type=int, help="Seed of everything.")
def embedded_train(out: Path, work: Path, **recipe: int | None) -> None:
    """Train it again from nothing: world, codec, text encoder, transformer. Resumes where it was stopped.

    \b
    mutoscope embedded train --out my_backbone
    mutoscope run quick --set backbone.path=my_backbone
    """
    from harness.embedded.train import Recipe
    from harness.embedded.train import main as train

    train(Recipe(**{key: value for key, value in recipe.items() if value is not None}), out, work)
