"""The site's pages of rows and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import yaml

from harness.store import RunDir
from leaderboards import plots
from leaderboards.page import NONE, interval_bar, short, signed, video
from leaderboards.read import Column, Entry
from leaderboards.show import COST_HEADS, COSTS, cost_cells
from leaderboards.site.shell import Site, estimate, explain, page, prompt_link, protocol, row_link, score
from leaderboards.site.table import ABSENT

CURVES = ("loss", "gnorm")  # of the training log, by role


def row_page(site: Site, entry: Entry, diagnostics: str) -> str:
    """Configuration, scores, cost, training curves and clips of one row.

    Args:
        diagnostics: address of the pictures of its training, "" without any.
    """
    run = site.runs.get(entry.label)
    marked = f'<p class="bad">marked: {escape(", ".join(entry.marks))}</p>' if entry.marks else ""
    partial = "" if entry.complete else '<p class="bad">Partial: not all clips or stages finished; not ranked.</p>'
    more = f'<p><a href="{diagnostics}">Pictures of the training</a></p>' if diagnostics else ""
    config = yaml.safe_dump(dict(entry.config), sort_keys=False, allow_unicode=True)
    sections = [
        f'{_neighbours(site, entry)}{marked}{partial}<div class="cards">',
        f'<section class="card across"><h2>Scores</h2>{_scores(site, entry)}</section>',
        f'<section class="card"><h2>Cost</h2>{_cost(entry)}</section>',
        f'<section class="card"><h2>Training</h2><div class="curves">{_curves(entry)}</div>{more}</section>',
        f'<section class="card"><h2>Configuration</h2><pre tabindex="0">{escape(config)}</pre></section></div>',
        f"<h2>Clips of seed {site.seed}</h2>" if run else "",
        f'<div id="prompts">{_clips(site, entry.label, run)}</div>' if run else "",
    ]
    under = f"{escape(entry.method)}, version {entry.version}, config {entry.config_digest[:8]} · {protocol(site)}"
    return page(site, entry.label, under, "".join(sections), "../")


def prompt_page(site: Site, clip: str) -> str:
    """Every row's clip of one prompt, with its scores; neighbours are one click away."""
    ids = list(site.prompts)
    links = _near([(prompt_link(key), site.prompts[key] or key) for key in ids], ids.index(clip))
    figures = "".join(
        f'<figure class="watch"><b>{site.marks[entry.label].icon()}<a href="../{row_link(entry.label)}">'
        f"{escape(entry.label)}</a></b>{video(_up(site.media.get((entry.label, clip), '')), entry.label, entry.label)}"
        f"<figcaption>{_numbers(site, entry.label, clip)}</figcaption></figure>"
        for entry in site.board.entries
        if entry.label in site.runs
    )
    title = site.prompts[clip] or clip
    body = f'{links}<article class="wide"><div class="clips">{figures}</div></article>'
    return page(site, title, f"prompt {ids.index(clip) + 1} of {len(ids)} · {protocol(site)}", body, "../")


def _near(pages: Sequence[tuple[str, str]], place: int) -> str:
    """Links to the neighbours in a list of (address, name)."""
    links = "".join(
        f'<a href="../{pages[i][0]}" rel="{rel}" title="{escape(pages[i][1])}">{text}</a>'
        for i, rel, text in ((place - 1, "prev", "← previous"), (place + 1, "next", "next →"))
        if 0 <= i < len(pages)
    )
    return f'<nav aria-label="neighbours">{links}</nav>'


def _neighbours(site: Site, entry: Entry) -> str:
    labels = [other.label for other in site.board.entries]
    return _near([(row_link(label), label) for label in labels], labels.index(entry.label))


def _up(address: str) -> str:
    return f"../{address}" if address else ""


def _scores(site: Site, entry: Entry) -> str:
    rows = "".join(_score_row(site, entry, column) for column in site.board.columns)
    names = ("mean", "95 % interval", "", "rank", "scores", "n/a", "failed", "missing")
    heads = '<th class="text">metric</th>' + "".join(f"<th>{name}</th>" for name in names)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _score_row(site: Site, entry: Entry, column: Column) -> str:
    value, e = site.board.values[entry.label, column.key], estimate(site, entry, column)
    digits = site.digits[column.key]
    head = f'<td class="text" title="{escape(explain(site, column))}">{escape(column.key)} {column.arrow}</td>'
    counts = "".join(f"<td>{count or NONE}</td>" for count in (e.n, value.na, value.errors, value.missing))
    if not e.n:
        return f"<tr>{head}<td>n/a</td><td></td><td></td><td>{NONE}</td>{counts}</tr>"
    interval = f"{e.low:.{digits}f} to {e.high:.{digits}f}" if e.high > e.low else NONE
    bar = interval_bar(e.low, e.mean, e.high, site.reach[column.key]) if e.high > e.low else ""
    mean = signed(f"{e.mean:.{digits}f}")
    mean = f'<u title="saturated: nearly every clip is at the best end">{mean}</u>' if value.saturated else mean
    return (
        f"<tr>{head}<td>{mean}</td><td>{signed(interval)}</td><td>{bar}</td><td>{value.rank or NONE}</td>{counts}</tr>"
    )


def _cost(entry: Entry) -> str:
    keys = ("", "", "", *(key for key, _ in COSTS))
    rows = ""
    for head, cell, key in zip(COST_HEADS, cost_cells(entry), keys, strict=True):
        text = f'<td class="none" title="{ABSENT[key]}">{NONE}</td>' if cell == "-" else f"<td>{escape(cell)}</td>"
        rows += f"<tr><td>{head}</td>{text}</tr>"
    return f'<table class="plain"><tbody>{rows}</tbody></table>'


def _curves(entry: Entry) -> str:
    """Loss and gradient norm of each role over steps, the first seed's."""
    log = entry.used[0].train_log() if entry.used else []
    out = ""
    for role in dict.fromkeys(row.get("role", "") for row in log):
        for name in CURVES:
            points = [
                (float(row["step"]), float(row[name]))
                for row in log
                if row.get("role", "") == role and isinstance(row.get(name), int | float)
            ]
            text = f"{role} {'gradient norm' if name == 'gnorm' else name}"
            if svg := plots.line_plot(points, text):
                out += f"<figure class='curve'>{svg}<figcaption>{escape(text)}</figcaption></figure>"
    return out or '<p class="dim">not trained here</p>'


def _clips(site: Site, label: str, run: RunDir) -> str:
    out = ""
    for clip, prompt in site.prompts.items():
        text = prompt or clip
        out += (
            f'<article class="watch"><h2><a href="../{prompt_link(clip)}">{escape(text)}</a></h2>'
            f"<figure>{video(_up(site.media.get((label, clip), '')), label, f'{label}: {text}')}"
            f"<figcaption>{_numbers(site, label, clip)}</figcaption></figure></article>"
        )
    return out


def _numbers(site: Site, label: str, clip: str) -> str:
    lines = "".join(
        f'<dt title="{escape(column.key)}">{escape(short(column))}</dt>{score(site, column, row)}'
        for column in site.board.columns
        if column.per_clip and (row := site.scores.get((label, column.id, clip))) is not None
    )
    return f"<dl>{lines}</dl>"
