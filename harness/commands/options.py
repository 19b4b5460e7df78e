"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.errors import UserError

runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="MUTOSCOPE_RUNS", show_default=True,
    help="Folder of run directories.",
)  # fmt: skip
plugin_option = click.option("--plugin", "plugins", multiple=True, help="Python file or module that registers plugins.")


def split(_: Any, __: Any, text: str | None) -> tuple[str, ...]:
    """Click callback: words by comma."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def shard(_: Any, __: Any, text: str | None) -> tuple[int, int] | None:
    """Click callback: I/N."""
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise UserError(f'--shard "{text}": expected I/N with I from 1 to N', "for example --shard 2/3")
    return int(number), int(of)
