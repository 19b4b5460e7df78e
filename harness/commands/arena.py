"""`mutoscope arena`: ask people which clips they prefer, and what they said."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import DONE
from harness.commands.groups import Commands
from harness.commands.options import runs_option, split
from harness.errors import UserError
from harness.store import read_json

if TYPE_CHECKING:
    from leaderboards.arena.store import StudyFile

PAIRS, PANEL, SEED = 30, 3, 0


@click.group(cls=Commands)
def arena() -> None:
    """Human preference: blind pairs of clips on a local web page, and what raters said.

    \b
    mutoscope arena serve quick --rows base,tqd,ltd
    mutoscope arena report quick
    mutoscope board quick                     the judgements are columns of the leaderboard, too
    """


@arena.command(name="serve")
@click.argument("suite", required=False)
@click.option("--rows", callback=split, help="Rows to compare, by comma [default: all of the suite].")
@click.option(
    "--question", "questions", multiple=True, metavar="[KEY=]TEXT",
    help="What to ask about every pair; may be given several times [default: overall preference, and motion].",
)  # fmt: skip
@click.option("--pairs", type=click.IntRange(min=1), help=f"Pairs of clips a rater is shown [default: {PAIRS}].")
@click.option(
    "--panel", type=click.IntRange(min=0), metavar="N",
    help=f"Raters that see the same pairs, before the next ones see others; 0: all see the same [default: {PANEL}].",
)  # fmt: skip
@click.option("--seed", type=int, help=f"Of the order of everything [default: {SEED}].")
@click.option("--rater", default="", metavar="NAME", help="Only this rater may answer [default: names are typed].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Other addresses get a token in their link.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port [default: 8760, or a free one].")
@runs_option
def serve(suite: str | None, runs: Path, rater: str, host: str, port: int | None, **wanted: Any) -> None:
    """Show raters blind pairs of clips of the same prompt and seed, until interrupted [default: the newest suite].

    What is compared is fixed when the study begins; without options a study that has begun goes on. Every answer is
    saved at once in arena/study.sqlite in the suite's folder. Raters that come again go on where they stopped.

    \b
    mutoscope arena serve quick --rows base,tqd --pairs 20
    mutoscope arena serve quick --question "motion=Which moves more naturally?" --host 0.0.0.0
    """
    from harness.commands.results import find_suite
    from leaderboards.arena.server import ArenaServer
    from leaderboards.arena.session import Session

    folder = find_suite(suite, runs)
    file = _study_file(folder, **wanted)
    server = ArenaServer(Session(file, folder, read_json(folder / "suite.json")["clip"], rater), host, port)
    rows, count = ", ".join(row.label for row in file.study.rows), len(file.raters())
    click.echo(f"{folder.name}: {rows}; {count} rater{'s' * (count != 1)} so far, saved in {file.path}")
    click.echo(f"arena  {server.link}")
    click.echo(f"Ctrl-C stops the page; then: mutoscope arena report {folder.name}")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        file.close()


@arena.command(name="report")
@click.argument("suite", required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@runs_option
def report(suite: str | None, runs: Path, as_json: bool) -> None:
    """Who beat whom, how sure that is, and how far raters agree [default: the newest suite]."""
    from rich.console import Console

    from harness.commands.results import find_suite
    from leaderboards.arena import report as reports
    from leaderboards.arena import show
    from leaderboards.arena.store import FILE, open_study

    folder = find_suite(suite, runs)
    file = open_study(folder / FILE, read_json(folder / "suite.json")["digest"])
    found = reports.report(file.study, file.judgements(), file.raters(), file.changed())
    if as_json:
        click.echo(json.dumps(show.as_json(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show.render(found, Console())
    sys.exit(DONE)


def _study_file(
    folder: Path, rows: Sequence[str], questions: Sequence[str], pairs: int | None, panel: int | None, seed: int | None
) -> StudyFile:
    """The study of a suite folder, begun if it is not there. UserError when it was begun with other options."""
    from leaderboards.arena import store
    from leaderboards.arena.session import check_clips
    from leaderboards.arena.study import QUESTIONS
    from leaderboards.arena.study import questions as parse

    path = folder / store.FILE
    if not path.is_file():
        from leaderboards.arena.design import design
        from leaderboards.rank import table

        settings = pairs or PAIRS, PANEL if panel is None else panel, SEED if seed is None else seed
        return store.create(path, design(table(folder), rows, parse(questions or QUESTIONS), *settings))
    file = store.open_study(path, read_json(folder / "suite.json")["digest"])
    known = file.study
    differing = {
        "--rows": rows and sorted(rows) != sorted(row.label for row in known.rows),
        "--question": questions and parse(questions) != known.questions,
        "--pairs": pairs is not None and pairs != known.pairs,
        "--panel": panel is not None and panel != known.panel,
        "--seed": seed is not None and seed != known.seed,
    }
    if any(differing.values()):
        names = ", ".join(name for name, differs in differing.items() if differs)
        file.close()
        raise UserError(
            f"{path}: a study has begun with another {names}",
            "leave it out to go on with that study, or move the folder arena away to begin a new one",
        )
    check_clips(known, folder)
    return file
