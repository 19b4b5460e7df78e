"""The site's first page: the table, what to be wary of, plots, who beats whom, metrics, prompts."""

from __future__ import annotations

from html import escape

from leaderboards.notes import notes
from leaderboards.page import short
from leaderboards.plots import COSTS
from leaderboards.radar import radar_plot
from leaderboards.site.parts import Parts
from leaderboards.site.shell import Site, facts, page, prompt_link, protocol
from leaderboards.site.table import board_table

POINTED = 3  # rows that stand out in the radar at first
FEW = 8  # rows: all of them do


def front(site: Site, parts: Parts) -> str:
    board = site.board
    description = board.suite.get("description")
    sections = [
        f'<p class="lead">{escape(description)}</p>' if description else "",
        board_table(site),
        _wary(site),
        f'<div class="cards">{_quality(parts)}{_radar(site)}</div>',
        _wins(parts),
        _metrics(site),
        _prompts(site),
    ]
    return page(site, board.suite["title"] or board.name, protocol(site), "".join(sections))


def _wary(site: Site) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in notes(site.board))
    return (
        f'<section class="card"><h2>Before you believe it</h2><ul class="notes">{lines}</ul></section>' if lines else ""
    )


def _quality(parts: Parts) -> str:
    """One picture at a time; those after the first are fetched from the folder when they are chosen."""
    if not parts.plots:
        return ""
    metrics = "".join(
        f'<option value="{escape(key)}">{escape(key)}</option>' for key in dict.fromkeys(c.key for c, _ in parts.plots)
    )
    costs = "".join(
        f'<option value="{key}">{name}</option>'
        for key, name in COSTS.items()
        if any(cost == key for _, cost in parts.plots)
    )
    places = "".join(
        f'<div data-metric="{escape(column.key)}" data-cost="{cost}" data-part="{name}"{" hidden" if number else ""}>'
        f"{parts.first if not number else ''}</div>"
        for number, ((column, cost), name) in enumerate(parts.plots.items())
    )
    return (
        '<section class="card"><h2>Quality against cost</h2><div class="bar">'
        f'<select id="metric" aria-label="metric">{metrics}</select> against '
        f'<select id="cost" aria-label="cost">{costs}</select></div><div id="pareto">{places}</div>'
        '<p class="dim">The dashed line is the Pareto front of the means, thin lines are 95 % intervals. Rows of one '
        "and the same cost stand side by side, best first.</p></section>"
    )


def _radar(site: Site) -> str:
    picture = radar_plot(site.board, site.board.columns)
    if not picture:
        return ""
    rows = [entry.label for entry in site.board.entries if entry.complete]
    keys = "".join(
        f'<button class="key" data-row="{escape(label)}" '
        f'aria-pressed="{"true" if len(rows) > FEW and number < POINTED else "false"}">'
        f"{site.marks[label].icon()}{escape(label)}</button>"
        for number, label in enumerate(rows)
    )
    return (
        '<section class="card"><h2>All ranked metrics</h2>'
        f'<div id="radar" style="--fade:{min(0.3, 8 / len(rows)):.2g}">{picture}</div>'
        f'<div class="keys" role="group" aria-label="rows to point out">{keys}</div>'
        '<p class="dim">Each spoke runs from the worst row (inner ring) to the best (rim): order and proportion '
        "between rows, not whether a difference is more than chance. Choose rows to point them out.</p></section>"
    )


def _wins(parts: Parts) -> str:
    """How often each row beats each other one, prompt by prompt; drawn when a metric is chosen."""
    if not parts.wins:
        return ""
    names = "".join(f'<option value="{name}">{escape(column.key)}</option>' for column, name in parts.wins.items())
    return (
        '<section class="card"><h2>Who beats whom</h2><div class="bar"><label>on <select id="duel">'
        f'{names}</select></label></div><div id="wins" class="scroll"></div><p id="won" class="dim" role="status"></p>'
        '<p class="dim">Percentage of prompts on which the row at the left scores better than the one above, ties '
        "counting half; blue is better, red worse, bold or full colour where the paired difference is significant "
        "(Holm).</p></section>"
    )


def _metrics(site: Site) -> str:
    items = ""
    for column in site.board.columns:
        first, *rest = site.about.get(column.name, "").split("\n\n")
        more = "\n\n".join(rest)
        warning = site.warnings.get(column.name, "")
        items += (
            f'<dt title="{escape(column.key)}">{escape(short(column))} {column.arrow}'
            f"<small>{escape(column.key)}</small></dt><dd>{escape(' '.join(first.split()))}"
            + (f"<p><sup>*</sup> {escape(warning)}</p>" if warning else "")
            + f"<p class='dim'>{escape(facts(column))}</p>"
            + (f"<details><summary>how it is computed</summary><p>{escape(more)}</p></details>" if more else "")
            + "</dd>"
        )
    return f'<section class="card"><h2>Metrics</h2><dl class="about">{items}</dl></section>'


def _prompts(site: Site) -> str:
    items = "".join(
        f'<li><a href="{prompt_link(clip)}">{escape(prompt or clip)}</a></li>' for clip, prompt in site.prompts.items()
    )
    return f'<section class="card"><h2>Prompts</h2><ol class="prompts">{items}</ol></section>' if items else ""
