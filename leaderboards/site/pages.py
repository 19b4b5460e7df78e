"""The site's pages of rows and prompts."""

from __future__ import annotations

from html import escape

import yaml

from harness.store import RunDir
from leaderboards import plots
from leaderboards.read import Entry
from leaderboards.show import COST_HEADS, cost_cells, decimals
from leaderboards.site.shell import Site, estimate, explain, page, prompt_link, row_link, score, video

CURVES = ("loss", "gnorm")  # of the training log, by role


def row_page(site: Site, entry: Entry, diagnostics: str) -> str:
    """Configuration, scores, cost, training curves and clips of one row.

    Args:
        diagnostics: address of the pictures of its training, "" without any.
    """
    run = site.runs.get(entry.label)
    marks = f'<p class="bad">marked: {escape(", ".join(entry.marks))}</p>' if entry.marks else ""
    more = f'<p><a href="{diagnostics}">Pictures of the training</a></p>' if diagnostics else ""
    config = yaml.safe_dump(dict(entry.config), sort_keys=False, allow_unicode=True)
    sections = [
        f"<p>{escape(entry.method)}, version {entry.version}, config {entry.config_digest[:8]}</p>{marks}",
        f'<div class="cards"><section class="card across"><h2>Scores</h2>{_scores(site, entry)}</section>',
        f'<section class="card"><h2>Cost</h2>{_cost(entry)}</section>',
        f'<section class="card"><h2>Configuration</h2><pre>{escape(config)}</pre></section>',
        f'<section class="card"><h2>Training</h2>{_curves(entry)}{more}</section></div>',
        f"<h2>Clips of seed {site.seed}</h2>" if run else "",
        f'<div id="prompts">{_clips(site, entry.label, run)}</div>' if run else "",
    ]
    return page(site, entry.label, "".join(sections), "../", player=True)


def prompt_page(site: Site, clip: str) -> str:
    """Every row's clip of one prompt, with its scores; neighbours are one click away."""
    ids = list(site.prompts)
    place = ids.index(clip)
    near = " · ".join(
        f'<a href="../{prompt_link(ids[i])}">{text}</a>'
        for i, text in ((place - 1, "previous"), (place + 1, "next"))
        if 0 <= i < len(ids)
    )
    figures = "".join(
        f"<figure>{video(_up(site.media.get((entry.label, clip), '')), entry.label)}<figcaption>"
        f'<b><a href="../{row_link(entry.label)}">{escape(entry.label)}</a></b>'
        f"{_numbers(site, entry.label, clip)}</figcaption></figure>"
        for entry in site.board.entries
        if entry.label in site.runs
    )
    title = site.prompts[clip] or clip
    body = f'<nav class="dim">{near}</nav><article class="wide"><div class="clips">{figures}</div></article>'
    return page(site, title, body, "../", player=True)


def _up(address: str) -> str:
    return f"../{address}" if address else ""


def _scores(site: Site, entry: Entry) -> str:
    rows = ""
    for column in site.board.columns:
        value, e = site.board.values[entry.label, column.key], estimate(site, entry, column)
        digits = decimals(site.board, column)
        interval = f"{e.low:.{digits}f} to {e.high:.{digits}f}" if e.high > e.low else ""
        mean = f"{e.mean:.{digits}f}" if e.n else "n/a"
        counts = (e.n, value.na or "", value.errors or "", value.missing or "")
        rows += (
            f'<tr><td class="text" title="{escape(explain(site, column))}">{escape(column.key)} {column.arrow}</td>'
            f"<td>{mean}</td><td>{interval}</td><td>{value.rank or ''}</td>"
            + "".join(f"<td>{count}</td>" for count in counts)
            + "</tr>"
        )
    heads = "".join(
        f"<th>{name}</th>" for name in ("metric", "mean", "95 % interval", "rank", "n", "n/a", "failed", "missing")
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cost(entry: Entry) -> str:
    rows = "".join(f"<tr><td>{h}</td><td>{c}</td></tr>" for h, c in zip(COST_HEADS, cost_cells(entry), strict=True))
    return f"<table><tbody>{rows}</tbody></table>"


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
            if svg := plots.line_plot(points, f"{role} {name}"):
                out += f"<figure class='curve'>{svg}<figcaption>{escape(role)} {name}</figcaption></figure>"
    return out or '<p class="dim">not trained</p>'


def _clips(site: Site, label: str, run: RunDir) -> str:
    out = ""
    for clip, prompt in site.prompts.items():
        out += (
            f'<article><h2><a href="../{prompt_link(clip)}">{escape(prompt or clip)}</a></h2>'
            f"<div class='clips'><figure>{video(_up(site.media.get((label, clip), '')), label)}"
            f"<figcaption>{_numbers(site, label, clip)}</figcaption></figure></div></article>"
        )
    return out


def _numbers(site: Site, label: str, clip: str) -> str:
    lines = "".join(
        f'<dt title="{escape(column.key)}">{escape(column.key.split("/")[-1].replace("_", " "))}</dt>{score(row)}'
        for column in site.board.columns
        if column.per_clip and (row := site.scores.get((label, column.id, clip))) is not None
    )
    return f"<dl>{lines}</dl>"
