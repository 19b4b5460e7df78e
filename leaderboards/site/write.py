"""Writes the folder of a site."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from harness.store import Json, RunDir
from leaderboards import pictures
from leaderboards.page import asset, put, slug
from leaderboards.rank import Leaderboard
from leaderboards.read import read_scores, seed_of
from leaderboards.site.front import front
from leaderboards.site.pages import prompt_page, row_page
from leaderboards.site.parts import write_parts
from leaderboards.site.shell import Site

ASSETS = ("page.css", "site.css", "site.js", "wins.js", "tips.js", "player.js")


def write_site(board: Leaderboard, folder: Path, about: Mapping[str, str]) -> Path:
    """The site of one suite, over whatever an earlier export left in the folder; returns its index.html.

    Args:
        about: what each metric is, by name, for the explanations.
    """
    runs = _shown(board)
    clips = {label: run.clips() for label, run in runs.items()}
    media = {
        (label, row["id"]): _copy(run / row["file"], folder, label)
        for label, run in runs.items()
        for row in clips[label]
        if (run / row["file"]).exists()
    }
    prompts = {row["id"]: row["prompt"] for rows in clips.values() for row in rows}
    scores: dict[tuple[str, str, str], Json] = {
        (entry.label, key, clip): row
        for entry in board.entries
        if entry.label in runs
        for key, rows in read_scores(entry).items()
        for (clip, seed), row in rows.items()
        if seed == seed_of(runs[entry.label])
    }
    site = Site(board, folder, about, runs, dict(sorted(prompts.items())), media, scores)
    for name in ASSETS:
        put(folder / name, asset(name))
    for entry in board.entries:
        trained = pictures.page(entry.used[0]) if entry.used else ""
        name = f"{slug(entry.label)}.training.html"
        if trained:
            put(folder / "rows" / name, trained)
        put(folder / "rows" / f"{slug(entry.label)}.html", row_page(site, entry, quote(name) if trained else ""))
    for clip in site.prompts:
        put(folder / "prompts" / f"{slug(clip)}.html", prompt_page(site, clip))
    put(folder / "index.html", front(site, write_parts(board, folder)))
    return folder / "index.html"


def _shown(board: Leaderboard) -> dict[str, RunDir]:
    """Of every row the run of the first seed that its numbers are made of."""
    return {entry.label: min(entry.used, key=seed_of) for entry in board.entries if entry.used}


def _copy(path: Path, folder: Path, label: str) -> str:
    """A clip's address in the site; copied unless the same bytes are there."""
    copy = folder / "media" / slug(label) / path.name
    put(copy, path.read_bytes())
    return quote(copy.relative_to(folder).as_posix())
