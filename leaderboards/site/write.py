"""Writes the folder of a site."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from harness.store import Json, RunDir, atomic, write_text
from leaderboards import pictures
from leaderboards.rank import Leaderboard
from leaderboards.read import read_scores, seed_of
from leaderboards.site.front import front
from leaderboards.site.pages import prompt_page, row_page
from leaderboards.site.shell import Site, slug

WEB = Path(__file__).parents[1] / "web"
ASSETS = ("page.css", "site.css", "site.js", "player.js")


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
        write_text(folder / name, (WEB / name).read_text(encoding="utf-8"))
    for entry in board.entries:
        trained = pictures.page(entry.used[0]) if entry.used else ""
        name = f"{slug(entry.label)}.training.html"
        if trained:
            write_text(folder / "rows" / name, trained)
        write_text(folder / "rows" / f"{slug(entry.label)}.html", row_page(site, entry, quote(name) if trained else ""))
    for clip in site.prompts:
        write_text(folder / "prompts" / f"{slug(clip)}.html", prompt_page(site, clip))
    write_text(folder / "index.html", front(site))
    return folder / "index.html"


def _shown(board: Leaderboard) -> dict[str, RunDir]:
    """Of every row the run of the first seed that its numbers are made of."""
    return {entry.label: min(entry.used, key=seed_of) for entry in board.entries if entry.used}


def _copy(path: Path, folder: Path, label: str) -> str:
    """A clip's address in the site; copied unless the same bytes are there."""
    copy = folder / "media" / slug(label) / path.name
    if not copy.exists() or copy.read_bytes() != path.read_bytes():
        with atomic(copy) as temporary:
            shutil.copyfile(path, temporary)
    return quote(copy.relative_to(folder).as_posix())
