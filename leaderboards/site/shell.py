"""What the pages of the site share: what they know, the frame around them, and texts of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from urllib.parse import quote

from harness.stats import Estimate
from harness.store import Json, RunDir
from leaderboards.marks import Mark, marks
from leaderboards.page import SMALL, controls, frame, places, slug
from leaderboards.rank import Leaderboard
from leaderboards.read import Column, Entry, seed_of
from leaderboards.show import decimals


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

    @cached_property
    def marks(self) -> Mapping[str, Mark]:
        return marks([entry.label for entry in self.board.entries])

    @cached_property
    def warnings(self) -> Mapping[str, str]:
        """What a metric itself says must be known of its numbers, by name."""
        return {spec["name"]: spec["warning"] for spec in self.board.suite["metrics"] if spec.get("warning")}

    @cached_property
    def digits(self) -> Mapping[str, int]:
        """Decimals of means, by column key."""
        return {column.key: decimals(self.board, column) for column in self.board.columns}

    @cached_property
    def reach(self) -> Mapping[str, tuple[float, float]]:
        """The least and the largest number of any row and its interval, by column key."""
        out = {}
        for column in self.board.columns:
            found = [estimate(self, entry, column) for entry in self.board.entries]
            ends = [v for e in found if e.n for v in (e.low, e.mean, e.high) if math.isfinite(v)]
            out[column.key] = (min(ends), max(ends)) if ends else (0.0, 1.0)
        return out

    @cached_property
    def score_places(self) -> Mapping[str, int]:
        """Decimals of a clip's scores, by column id."""
        values: dict[str, list[float]] = {}
        for (_, column, _), row in self.scores.items():
            if row["value"] is not None:
                values.setdefault(column, []).append(row["value"])
        return {column: places(found) for column, found in values.items()}


def row_link(label: str) -> str:
    return f"rows/{quote(slug(label))}.html"


def prompt_link(clip: str) -> str:
    return f"prompts/{quote(slug(clip))}.html"


def page(site: Site, title: str, under: str, body: str, up: str = "") -> str:
    """A whole page; those below the first have the player and the way back.

    Args:
        under: HTML below the title.
        up: the way to the site's root, "" or "../".
    """
    styles = "".join(f'<link rel="stylesheet" href="{up}{name}.css">' for name in ("page", "site"))
    names = ("player", "tips") if up else ("site", "wins", "tips")
    scripts = "".join(f'<script src="{up}{name}.js"></script>' for name in names)
    home = f'<a class="home" href="{up}index.html">{escape(site.board.suite["title"] or site.board.name)}</a>'
    top = (
        f"<header><div>{home if up else ''}<h1>{escape(title)}</h1><small>{under}</small></div>"
        f"{controls(site.clip['frames']) if up else ''}</header>"
    )
    card = 16 if site.clip["width"] <= SMALL else 24
    return frame(title, styles, site.clip, f"{top}<main>{body}</main>{scripts}", card)


def protocol(site: Site) -> str:
    """`24 prompts × 1 seed · 17 frames of 64×64 at 8 fps · quick@83485afd`."""
    board, clip = site.board, site.clip
    seeds = len({seed for entry in board.entries for seed in entry.seeds})
    return (
        f"{board.suite['prompts']} prompts × {seeds} seed{'s' * (seeds != 1)} · {clip['frames']} frames of "
        f"{clip['width']}×{clip['height']} at {clip['fps']:g} fps · {escape(board.name)}"
    )


def summary(site: Site, column: Column) -> str:
    """The first paragraph of what a metric says of itself; a rater's question for those of the arena."""
    return " ".join(site.about.get(column.name, "").split("\n\n")[0].split())


def facts(column: Column) -> str:
    """Which way is better, range, unit and evaluator."""
    direction = {True: "higher is better", False: "lower is better", None: "descriptive, not ranked"}
    low, high = column.range
    unit = f" {column.unit}" if column.unit else ""
    per = "a value a clip" if column.per_clip else "one value for all clips of a seed"
    return f"{direction[column.higher_is_better]}, {low:g} to {high:g}{unit}, {per}; evaluator {column.fingerprint[:8]}"


def explain(site: Site, column: Column) -> str:
    """A metric in a few lines: shown on hover."""
    return "\n".join(
        filter(None, (column.key, summary(site, column), site.warnings.get(column.name, ""), facts(column)))
    )


def estimate(site: Site, entry: Entry, column: Column) -> Estimate:
    return site.board.values[entry.label, column.key].estimate


def score(site: Site, column: Column, row: Json) -> str:
    """A clip's score as a definition: the number, n/a or failed, with its note and parts on hover."""
    if row["error"]:
        return f'<dd class="bad" title="{escape(row["error"])}">failed</dd>'
    parts = ", ".join(f"{name} {value:.3g}" for name, value in row["parts"].items())
    text = "n/a" if row["value"] is None else f"{row['value']:.{site.score_places[column.id]}f}"
    told = "\n".join(filter(None, (row["note"], parts)))
    title = f' title="{escape(told)}"' if told else ""
    return f"<dd{title}>{text}</dd>" if row["value"] is not None else f'<dd{title} class="na">{text}</dd>'
