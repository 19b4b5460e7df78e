"""What the pages of the site share: the frame around them, file names, the player's controls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from harness.stats import Estimate
from harness.store import Json, RunDir
from leaderboards.rank import Leaderboard
from leaderboards.read import Column, Entry, seed_of

SMALL = 160  # pixels: clips this narrow are drawn pixel by pixel


@dataclass(frozen=True)
class Site:
    """What every page needs to know: `about` explains metrics by name, `media` has a clip's address from the site's
    root by (label, clip id), `scores` its score rows by (label, column id, clip id)."""

    board: Leaderboard
    folder: Path
    about: Mapping[str, str]
    runs: Mapping[str, RunDir]  # label -> the run whose clips are shown
    prompts: Mapping[str, str]  # clip id -> prompt, in the order of the pages
    media: Mapping[tuple[str, str], str]
    scores: Mapping[tuple[str, str, str], Json]

    @property
    def seed(self) -> int:
        return min(map(seed_of, self.runs.values()), default=0)

    @property
    def clip(self) -> Json:
        spec: Json = self.board.suite["clip"]
        return spec


def slug(text: str) -> str:
    """A file name for a row or clip; different texts keep different names as long as their letters differ."""
    return re.sub(r"[^A-Za-z0-9._+@-]+", "-", text).strip("-.") or "x"


def row_link(label: str) -> str:
    return f"rows/{quote(slug(label))}.html"


def prompt_link(clip: str) -> str:
    return f"prompts/{quote(slug(clip))}.html"


def page(site: Site, title: str, body: str, up: str = "", player: bool = False) -> str:
    """A whole page.

    Args:
        up: the way to the site's root, "" or "../".
        player: with the controls of the clips in the header.
    """
    small = " small" if site.clip["width"] <= SMALL else ""
    shape = f"--shape:{site.clip['width']}/{site.clip['height']};--card-width:24rem"
    scripts = "".join(f'<script src="{up}{name}.js"></script>' for name in (["player"] if player else ["site"]))
    here = f'<a href="{up}index.html">{escape(site.board.name)}</a>' if up else escape(site.board.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="{up}page.css">'
        f'<link rel="stylesheet" href="{up}site.css"></head>'
        f'<body class="page{small}" data-fps="{site.clip["fps"]:g}" data-frames="{site.clip["frames"]}" '
        f'style="{shape}">'
        f"<header><div><h1>{escape(title)}</h1><small>{here}</small></div>"
        f"{controls(site.clip['frames']) if player else ''}</header><main>{body}</main>{scripts}</body></html>\n"
    )


def controls(frames: int) -> str:
    """Buttons for `player.js`."""
    speeds = "".join(f"<option{' selected' if s == 1 else ''} value={s}>{s}×</option>" for s in (0.1, 0.25, 0.5, 1, 2))
    return (
        '<div class="controls"><button id="play">Pause</button>'
        '<button id="back" class="step" aria-label="one frame back">◂</button>'
        f'<input id="frame" type="range" min="0" max="{frames - 1}" value="0" aria-label="frame">'
        '<button id="forward" class="step" aria-label="one frame forward">▸</button><output id="where"></output>'
        f'<label>speed <select id="speed">{speeds}</select></label>'
        '<label><input id="loop" type="checkbox" checked> loop</label></div>'
    )


def video(address: str, label: str) -> str:
    """A player on the page's clock, or the note that there is no clip."""
    if not address:
        return '<p class="none">no clip</p>'
    return (
        f'<video data-src="{escape(address)}" data-row="{escape(label)}" aria-label="{escape(label)}" '
        'muted playsinline preload="auto"></video>'
    )


def explain(site: Site, column: Column) -> str:
    """What a metric is, which way is better, its range and evaluator: shown on hover and in the list of metrics."""
    direction = {True: "higher is better", False: "lower is better", None: "descriptive, not ranked"}
    low, high = column.range
    unit = f", {column.unit}" if column.unit else ""
    facts = f"{column.level} level, {direction[column.higher_is_better]}, range [{low:g}, {high:g}]{unit}"
    return f"{site.about.get(column.name, '')}\n{facts}; evaluator {column.fingerprint[:8]}".strip()


def estimate(site: Site, entry: Entry, column: Column) -> Estimate:
    return site.board.values[entry.label, column.key].estimate


def score(row: Json) -> str:
    """A clip's score as a definition: the number, n/a or failed, with its parts on hover."""
    if row["error"]:
        return f'<dd class="bad" title="{escape(row["error"])}">failed</dd>'
    parts = ", ".join(f"{name} {value:.3g}" for name, value in row["parts"].items())
    text = "n/a" if row["value"] is None else f"{row['value']:.3f}"
    return f'<dd title="{escape(row["note"] or parts)}">{text}</dd>'
