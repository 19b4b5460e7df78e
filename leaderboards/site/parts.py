"""What the first page shows only when asked: a plot for every metric and cost, a win matrix for every metric.

Each is a small script of its own, because a page that opens from disk may not read other files but can run them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leaderboards.page import put
from leaderboards.plots import pareto_plot
from leaderboards.rank import Contest, Leaderboard, wins
from leaderboards.read import Column

COSTS = ("nfe", "generate_s")
SIGNIFICANT = 0.05  # Holm-adjusted p


@dataclass(frozen=True)
class Parts:
    """Addresses of the scripts from the site's root; `first` is the plot that the page has inside."""

    first: str
    plots: Mapping[tuple[Column, str], str]
    wins: Mapping[Column, str]


def write_parts(board: Leaderboard, folder: Path) -> Parts:
    """The scripts in `plots/` and `wins/` of a folder."""
    first, plots, matrices = "", dict[tuple[Column, str], str](), dict[Column, str]()
    for number, column in enumerate(board.columns):
        for cost in COSTS if column.higher_is_better is not None else ():
            if picture := pareto_plot(board, column, cost):
                first = first or picture
                plots[column, cost] = _script(folder, f"plots/{number}-{cost}.js", picture)
        contest = board.contests.get(column.key)
        if contest and len(contest.labels) > 1 and column.per_clip:
            order = [entry.label for entry in board.entries if entry.label in contest.labels]
            matrix = win_matrix(contest, bool(column.higher_is_better), order)
            matrices[column] = _script(folder, f"wins/{number}.js", matrix)
    return Parts(first, plots, matrices)


def win_matrix(contest: Contest, higher_is_better: bool, order: Sequence[str]) -> dict[str, object]:
    """Labels in an order; percent of prompts won and Holm-adjusted p, row after row, -1 where nothing can be said."""
    places = [contest.labels.index(label) for label in order]
    share = wins(contest, higher_is_better)[np.ix_(places, places)]
    known = np.isfinite(share)
    percent = np.where(known, np.round(100 * np.nan_to_num(share)), -1).astype(int)
    p = np.where(known, contest.adjusted[np.ix_(places, places)], -1.0)
    return {
        "labels": list(order),
        "won": percent.ravel().tolist(),
        "p": [float(f"{value:.2g}") for value in p.ravel()],
        "significant": SIGNIFICANT,
    }


def _script(folder: Path, name: str, value: object) -> str:
    put(folder / name, f"part({json.dumps(name)}, {json.dumps(value, separators=(',', ':'))});\n")
    return name
