"""The page of a suite's experiment in MLflow, in Markdown: what was compared, how to read it, the protocol."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

import yaml

from leaderboards.notes import notes
from leaderboards.rank import Leaderboard
from leaderboards.read import Column
from leaderboards.show import headline, markdown

LIMIT = 19_000  # characters; MLflow refuses experiment tags beyond 20,000
WORDS = {True: "higher is better", False: "lower is better", None: "descriptive, not ranked"}
ROWS = {"methods", "seeds", "title", "description"}  # of a suite's file: not the protocol
CUT = "\n...\n```\n\nThe rest is in suite.json of every row.\n"


def about(board: Leaderboard, links: Mapping[str, str], explained: Mapping[str, str], others: int = 0) -> str:
    """Links, description, table with what to be wary of, metrics, protocol; cut at the end if it is too long.

    Args:
        links: name -> address.
        explained: metric name -> what it says of itself; its first paragraph is taken.
        others: rows of the experiment that are not on this board; with any, the page says nothing of single rows, so
            that all folders that publish to the experiment write the same one.
    """
    shown = " | ".join(f"[{name}]({link})" for name, link in links.items())
    table = elsewhere(others) if others else _table(board)
    metrics = "\n".join(_metric(column, explained.get(column.name, "")) for column in board.columns)
    kept = {key: value for key, value in board.suite["resolved"].items() if not others or key not in ROWS}
    protocol = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    head = "\n\n".join([shown, board.suite["description"].strip(), table, "### Metrics", metrics, "### Protocol"])
    text = f"{head}\n\n```yaml\n{protocol}```\n"
    if len(text) <= LIMIT:
        return text
    return text[:LIMIT] + CUT


def _table(board: Leaderboard) -> str:
    """The table if it leaves room for the rest; what to be wary of in any case."""
    text = markdown(board).strip()
    if len(text) <= LIMIT // 2:
        return text
    lines = [f"**{headline(board)}**", "", f"{len(board.entries)} rows: see the leaderboard.", ""]
    for line in notes(board):
        if sum(map(len, lines)) + len(line) > LIMIT // 2:
            return "\n".join([*lines, "- and more: `mutoscope board`"])
        lines.append(f"- {line}")
    return "\n".join(lines)


def elsewhere(others: int) -> str:
    """Why rows of one experiment may not have been ranked together."""
    rows = "1 row was" if others == 1 else f"{others} rows were"
    return (
        f"{rows} published from other folders. Ranks hold among the rows of one folder; to rank all of them together, "
        "put their run directories into one and publish that."
    )


def plain(text: str) -> str:
    """Words that are not Markdown, for Markdown: a prompt may hold brackets and stars."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|~])", r"\\\1", text)


def _metric(column: Column, told: str) -> str:
    """`range` is not said where it has no ends."""
    low, high = column.range
    ends = f", {low:g} to {high:g}" if abs(low) < 1e6 and abs(high) < 1e6 else ""
    unit = f" {column.unit}" if column.unit else ""
    said = textwrap.shorten(told.split("\n\n")[0], 240, placeholder=" ...")
    return f"- `{column.key}`: {WORDS[column.higher_is_better]}{ends}{unit}. {said}".rstrip()
