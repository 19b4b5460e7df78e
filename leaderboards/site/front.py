"""The site's first page: table, notes, plots, who beats whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from leaderboards import plots
from leaderboards.notes import notes
from leaderboards.rank import wins
from leaderboards.read import Column, Entry
from leaderboards.show import COSTS, LEGEND, decimals, headline, is_best
from leaderboards.site.shell import Site, estimate, explain, page, prompt_link, row_link


def front(site: Site) -> str:
    board = site.board
    title = board.suite["title"] or board.name
    sections = [
        f"<p>{escape(headline(board))}</p>",
        f'<p class="dim">{escape(board.suite["description"])}</p>' if board.suite.get("description") else "",
        _table(site),
        "<ul class='dim notes'>" + "".join(f"<li>{escape(line)}</li>" for line in (LEGEND, *notes(board))) + "</ul>",
        _plots(site),
        _wins(site),
        _metrics(site),
        _prompts(site),
    ]
    return page(site, title, "".join(sections))


# ---- the table ---------------------------------------------------------------------------------------------------


def _table(site: Site) -> str:
    columns = site.board.columns
    heads = [_head("row", "the method and its configuration", "text")]
    heads += [
        _head(f"{c.key.split('/')[-1].replace('_', ' ')} {c.arrow}", f"{c.key}\n{explain(site, c)}") for c in columns
    ]
    heads += [_head(name, f"{name}, mean per seed" if key.endswith("_s") else name) for key, name in COSTS]
    families = _families(columns)
    rows = "".join(_row(site, entry, columns) for entry in site.board.entries)
    return (
        '<p><label>find <input id="find" type="search" placeholder="a row\'s name"></label> '
        '<label><input id="complete" type="checkbox"> complete rows only</label></p>'
        f'<div class="scroll"><table id="board"><thead><tr><th></th>{families}<th colspan="{len(COSTS)}">cost</th></tr>'
        f"<tr>{''.join(heads)}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _families(columns: Sequence[Column]) -> str:
    """A heading over neighbouring metrics whose names begin alike."""
    out: list[tuple[str, int]] = []
    for column in columns:
        family = column.key.split("/")[0] if "/" in column.key else ""
        if out and out[-1][0] == family:
            out[-1] = (family, out[-1][1] + 1)
        else:
            out.append((family, 1))
    return "".join(f'<th colspan="{count}">{escape(name)}</th>' for name, count in out)


def _head(text: str, title: str, style: str = "") -> str:
    return (
        f'<th scope="col" class="{style}" title="{escape(title)}" aria-sort="none">'
        f'<button class="sort" title="{escape(title)}">{escape(text)}</button></th>'
    )


def _row(site: Site, entry: Entry, columns: Sequence[Column]) -> str:
    status = "" if entry.complete else ' <span class="tag">partial</span>'
    cells = "".join(_cell(site, entry, column) for column in columns)
    for key, _ in COSTS:
        value = entry.cost.get(key)
        cells += f'<td data-value="{value:.9g}">{value:.3g}</td>' if value is not None else '<td class="dim">-</td>'
    return (
        f'<tr data-complete="{int(entry.complete)}"><td class="text" data-value="{escape(entry.label)}">'
        f'<i class="dot" style="background:{plots.hue(site.board, entry.label)}"></i>'
        f'<a href="{row_link(entry.label)}">{escape(entry.label)}</a>{status}</td>{cells}</tr>'
    )


def _cell(site: Site, entry: Entry, column: Column) -> str:
    value, e = site.board.values[entry.label, column.key], estimate(site, entry, column)
    if not e.n:
        return f'<td class="dim">{"failed" if value.errors else "n/a" if value.na else "-"}</td>'
    digits = decimals(site.board, column)
    half = f'<span class="dim"> ±{(e.high - e.low) / 2:.{digits}f}</span>' if e.high > e.low else ""
    rank = f'<sup title="rank; equal ranks are not shown to differ">{value.rank}</sup>' if value.rank else ""
    said = [f"{e.n} clips of {e.prompts} prompts"]
    said += [
        f"{count} {name}"
        for name, count in (("n/a", value.na), ("failed", value.errors), ("missing", value.missing))
        if count
    ]
    said += ["saturated: nearly every clip is at the best end"] if value.saturated else []
    style = " ".join(
        name for name, on in (("best", is_best(site.board, column, entry)), ("saturated", value.saturated)) if on
    )
    return (
        f'<td class="{style}" data-value="{e.mean:.9g}" title="{escape("; ".join(said))}">'
        f"{e.mean:.{digits}f}{half}{rank}</td>"
    )


# ---- pictures ----------------------------------------------------------------------------------------------------


def _plots(site: Site) -> str:
    """Quality against cost, one picture at a time; beside it the radar."""
    board, pictures = site.board, list[str]()
    for column in board.columns:
        for cost in ("nfe", "generate_s"):
            if column.higher_is_better is not None and (svg := plots.pareto_plot(board, column, cost)):
                hidden = " hidden" if pictures else ""
                pictures.append(f'<div data-metric="{escape(column.key)}" data-cost="{cost}"{hidden}>{svg}</div>')
    radar = plots.radar_plot(board, board.columns)
    out = ""
    if pictures:
        ranked = [c for c in board.columns if f'data-metric="{escape(c.key)}"' in "".join(pictures)]
        metrics = "".join(f'<option value="{escape(c.key)}">{escape(c.key)}</option>' for c in ranked)
        costs = "".join(
            f'<option value="{key}">{name}</option>' for key, name in plots.COSTS.items() if key != "train_s"
        )
        out += (
            '<section class="card"><h2>Quality against cost</h2><p>'
            f'<select id="metric" aria-label="metric">{metrics}</select> against '
            f'<select id="cost" aria-label="cost">{costs}</select></p><div id="pareto">{"".join(pictures)}</div>'
            '<p class="dim">The dashed line is the Pareto front of the means; bars are intervals.</p></section>'
        )
    if radar:
        legend = "".join(
            f'<button class="key" data-row="{escape(e.label)}" aria-pressed="false">'
            f'<i class="dot" style="background:{plots.hue(board, e.label)}"></i>{escape(e.label)}</button>'
            for e in board.entries
            if e.complete
        )
        out += (
            f'<section class="card"><h2>All ranked metrics</h2>{radar}<p class="keys">{legend}</p>'
            '<p class="dim">Each spoke runs from the worst row (inner ring) to the best (rim): it shows order and '
            "proportion between rows, not whether a difference is more than chance.</p></section>"
        )
    return f'<div class="cards">{out}</div>'


def _wins(site: Site) -> str:
    """One table a metric: how often the row beats the column, prompt by prompt."""
    out = []
    for column in site.board.columns:
        contest = site.board.contests.get(column.key)
        if contest is None or len(contest.labels) < 2 or not column.per_clip:
            continue
        share = wins(contest, bool(column.higher_is_better))
        heads = "".join(f'<th scope="col"><span>{escape(label)}</span></th>' for label in contest.labels)
        rows = ""
        for i, label in enumerate(contest.labels):
            cells = "".join(
                _win(float(share[i, j]), float(contest.adjusted[i, j]), label, other)
                for j, other in enumerate(contest.labels)
            )
            rows += f'<tr><th scope="row" class="text">{escape(label)}</th>{cells}</tr>'
        out.append(
            f"<details><summary>{escape(column.key)}</summary><div class='scroll'><table class='wins'>"
            f"<thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
        )
    if not out:
        return ""
    return (
        '<section class="card"><h2>Who beats whom</h2><p class="dim">Percentage of prompts on which the row scores '
        "better than the column, ties counting half; bold where the paired difference is significant (Holm).</p>"
        f"{''.join(out)}</section>"
    )


def _win(share: float, p: float, row: str, column: str) -> str:
    if math.isnan(share):
        return '<td class="dim">·</td>'
    colour = "--good" if share > 0.5 else "--bad"
    strength = round(abs(share - 0.5) * 60)
    weight = ' class="best"' if p <= 0.05 else ""
    return (
        f'<td{weight} style="background:color-mix(in srgb, var({colour}) {strength}%, transparent)" '
        f'title="{escape(row)} beats {escape(column)} on {share:.0%} of prompts, p {p:.3g}">{share * 100:.0f}</td>'
    )


# ---- lists -------------------------------------------------------------------------------------------------------


def _metrics(site: Site) -> str:
    items = "".join(
        f"<dt>{escape(c.key)} {c.arrow}</dt><dd>{escape(explain(site, c))}</dd>" for c in site.board.columns
    )
    return f'<section class="card"><h2>Metrics</h2><dl class="about">{items}</dl></section>'


def _prompts(site: Site) -> str:
    items = "".join(
        f'<li><a href="{prompt_link(clip)}">{escape(prompt or clip)}</a></li>' for clip, prompt in site.prompts.items()
    )
    return f'<section class="card"><h2>Prompts</h2><ol class="prompts">{items}</ol></section>'
