"""`compare.html`: a forest plot of the paired differences, and every prompt's clips side by side on one clock."""

from __future__ import annotations

import base64
import math
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from harness.store import Json, atomic, write_text
from leaderboards.compare import Comparison, Gap, PromptRow
from leaderboards.read import Column

WEB = Path(__file__).with_name("web")
SMALL = 160  # pixels: clips this narrow are drawn pixel by pixel
INLINE_LIMIT = 64 * 2**20  # bytes of video in a self-contained page; browsers get slow beyond


def write_page(found: Comparison, folder: Path, inline: bool = False) -> Path:
    """`compare.html` in a folder: with copies of the clips in `media/` beside it, or, inline, all in one file.

    An inline page leaves out the prompts that agree most once its clips exceed 64 MiB, and says so.
    """
    cards, used, left = [], 0, 0
    clips = {label: {row["id"]: row for row in run.clips()} for label, run in found.runs.items()}
    for prompt in found.prompts:
        files = {label: _file(found, clips[label], label, prompt) for label in found.labels}
        used += sum(path.stat().st_size for path in files.values() if path and inline)
        if used > INLINE_LIMIT:
            left += 1
            continue
        media = {label: _address(path, label, folder, inline) for label, path in files.items()}
        cards.append(_card(found, prompt, media))
    page = folder / "compare.html"
    note = f"{left} prompts that agree most are left out to keep this page small." if left else ""
    write_text(page, _page(found, "".join(cards), note))
    return page


def _file(found: Comparison, clips: Mapping[str, Json], label: str, prompt: PromptRow) -> Path | None:
    """The first of the prompt's samples."""
    row = clips.get(prompt.clips[0])
    path = found.runs[label] / row["file"] if row else None
    return path if path and path.exists() else None


def _address(path: Path | None, label: str, folder: Path, inline: bool) -> str:
    if path is None:
        return ""
    if inline:
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    copy = folder / "media" / label.replace("/", "-") / path.name
    if not copy.exists() or copy.stat().st_size != path.stat().st_size:
        with atomic(copy) as temporary:
            shutil.copyfile(path, temporary)
    return quote(copy.relative_to(folder).as_posix())


# ---- the differences ---------------------------------------------------------------------------------------------


def _summary(found: Comparison) -> str:
    head = "".join(
        f'<th scope="col"{" class=text" if name in {"row", "verdict"} else ""}>{name}</th>'
        for name in (
            "metric",
            "row",
            "mean",
            escape(found.labels[0]),
            "difference",
            "95 % interval",
            "p",
            "p (Holm)",
            "verdict",
        )
    )
    body = "".join(_gap_row(gap, [g for g in found.gaps if g.metric == gap.metric]) for gap in found.gaps)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _gap_row(gap: Gap, peers: list[Gap]) -> str:
    d, better = gap.difference, gap.better
    descriptive = gap.metric.higher_is_better is None
    verdict, style = {True: ("better", "good"), False: ("worse", "bad"), None: ("not shown to differ", "dim")}[better]
    if descriptive:
        verdict, style = "descriptive", "dim"
    p_holm = "" if math.isnan(gap.p_holm) else f"{gap.p_holm:.3g}"
    return (
        f'<tr><td title="{escape(gap.metric.unit)}">{escape(gap.metric.key)} {gap.metric.arrow}</td>'
        f'<td class="text">{escape(gap.row)}</td><td>{_digits(gap.mean)}</td><td>{_digits(gap.reference_mean)}</td>'
        f'<td title="over {d.n} pairs of clips, {d.prompts} prompts">{d.mean:+.3g}</td><td>{_interval(gap, peers)}</td>'
        f'<td>{"" if descriptive else f"{d.p:.3g}"}</td><td>{p_holm}</td><td class="text {style}">{verdict}</td></tr>'
    )


def _interval(gap: Gap, peers: list[Gap]) -> str:
    """A bar from low to high with a dot at the mean, on an axis shared by the rows of one metric; the line is zero."""
    d = gap.difference
    if not math.isfinite(d.low):
        return '<span class="dim">too few prompts</span>'
    ends = [abs(end) for g in peers for end in (g.difference.low, g.difference.high) if math.isfinite(end)]
    reach = 1.1 * max(*ends, 1e-12)
    low, mid, high = (88 + 80 * x / reach for x in (d.low, d.mean, d.high))
    colour = {True: "var(--good)", False: "var(--bad)", None: "var(--dim)"}[gap.better]
    return (
        f'<svg viewBox="0 0 176 18" role="img" aria-label="from {d.low:.3g} to {d.high:.3g}">'
        f"<title>{d.low:+.3g} to {d.high:+.3g}</title>"
        f'<line x1="88" x2="88" y1="0" y2="18" stroke="var(--line)" stroke-width="1.5"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="9" y2="9" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{mid:.1f}" cy="9" r="4.5" fill="{colour}"/></svg>'
    )


def _digits(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4g}"


# ---- the clips ---------------------------------------------------------------------------------------------------


def _card(found: Comparison, prompt: PromptRow, media: Mapping[str, str]) -> str:
    judged = [column for column in found.columns if column.per_clip]
    figures = [_figure(label, media[label], prompt, judged, found.labels[0]) for label in found.labels]
    reference = found.labels[0]
    figures += [
        f'<figure class="difference"><canvas data-row="{escape(label)}"></canvas>'
        f"<figcaption><b>|{escape(label)} − {escape(reference)}|</b></figcaption></figure>"
        for label in found.labels[1:]
        if media[label] and media[reference]
    ]
    first, second = (prompt.scores[label] for label in found.labels[:2])
    gaps = "".join(
        f' data-m{i}="{second[c.key] - first[c.key]:.9g}"'
        for i, c in enumerate(judged)
        if math.isfinite(second[c.key] - first[c.key])
    )
    return (
        f'<article data-prompt="{escape(prompt.text)}" data-disagreement="{prompt.disagreement:.9g}"{gaps}>'
        f'<h2>{escape(prompt.text)}<span title="how far the rows are apart here, 0 = alike">'
        f'{prompt.disagreement:.2f}</span></h2><div class="clips">{"".join(figures)}</div></article>'
    )


def _figure(label: str, media: str, prompt: PromptRow, judged: list[Column], reference: str) -> str:
    player = (
        f'<video data-src="{media}" data-row="{escape(label)}" muted playsinline preload="auto" '
        f'aria-label="{escape(label)}: {escape(prompt.text)}"></video>'
        if media
        else '<p class="none">no clip</p>'
    )
    lines = "".join(_line(column, prompt.scores[label], prompt.scores[reference]) for column in judged)
    return f"<figure>{player}<figcaption><b>{escape(label)}</b><dl>{lines}</dl></figcaption></figure>"


def _line(column: Column, own: Mapping[str, float], reference: Mapping[str, float]) -> str:
    gap = own[column.key] - reference[column.key]
    style = ""
    if column.higher_is_better is not None and math.isfinite(gap) and gap:
        style = ' class="good"' if (gap > 0) == column.higher_is_better else ' class="bad"'
    name = escape(column.key.split("/")[-1].replace("_", " "))
    return f'<dt title="{escape(column.key)}">{name}</dt><dd{style}>{_digits(own[column.key])}</dd>'


def _page(found: Comparison, cards: str, note: str) -> str:
    clip, reference = found.board.suite["clip"], found.labels[0]
    others = ", ".join(found.labels[1:])
    judged = [column for column in found.columns if column.per_clip]
    orders = (
        '<option value="disagreement|down">where they disagree most</option><option value="prompt|up">prompt</option>'
    )
    for i, column in enumerate(judged):
        key, row = escape(column.key), escape(found.labels[1])
        orders += f'<option value="m{i}|up">{key}: lowest {row} − {escape(reference)}</option>'
        orders += f'<option value="m{i}|down">{key}: highest {row} − {escape(reference)}</option>'
    speeds = "".join(f"<option{' selected' if s == 1 else ''} value={s}>{s}×</option>" for s in (0.1, 0.25, 0.5, 1, 2))
    title = f"{others} against {reference}"
    small = " small" if clip["width"] <= SMALL else ""
    width = min(60, 13 * len(found.labels) + 4)
    style, player, script = (
        (WEB / name).read_text(encoding="utf-8") for name in ("page.css", "player.js", "compare.js")
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head>
<body class="page{small}" data-fps="{clip["fps"]:g}" data-frames="{clip["frames"]}"
 style="--shape:{clip["width"]}/{clip["height"]};--card-width:{width}rem">
<header><div><h1>{escape(title)}</h1><small>{escape(found.board.name)}, clips of seed {found.seed}</small></div>
<div class="controls">
<button id="play">Pause</button><button id="back" class="step" aria-label="one frame back">◂</button>
<input id="frame" type="range" min="0" max="{clip["frames"] - 1}" value="0" aria-label="frame">
<button id="forward" class="step" aria-label="one frame forward">▸</button><output id="where"></output>
<label>speed <select id="speed">{speeds}</select></label><label><input id="loop" type="checkbox" checked> loop</label>
<label><input id="overlay" type="checkbox"> difference</label>
<label>× <input id="gain" type="number" value="3" min="1" max="20" style="width:3.2rem" aria-label="gain"></label>
</div></header>
<main>{_summary(found)}
<p class="dim">Differences are {escape(others)} minus {escape(reference)}, paired on the clips both have; intervals
and p resample prompts. Keys: <kbd>space</kbd> play, <kbd>←</kbd> <kbd>→</kbd> step, <kbd>d</kbd> difference,
<kbd>l</kbd> loop.
{escape(note)}</p>
<p><label>order <select id="order">{orders}</select></label>
<label>&ensp;find <input id="find" type="search" placeholder="words of the prompt"></label>
<span id="count" class="dim"></span></p>
<div id="prompts">{cards}</div></main>
<script>{player}{script}</script></body></html>
"""
