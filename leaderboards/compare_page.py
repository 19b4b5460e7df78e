"""`compare.html`: a forest plot of the paired differences, and every prompt's clips side by side on one clock."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from harness.store import Json
from leaderboards.compare import Comparison, Gap, PromptRow
from leaderboards.page import NONE, SMALL, asset, controls, frame, interval_bar, places, put, short, signed, slug, video
from leaderboards.read import Column

INLINE_LIMIT = 64 * 2**20  # bytes of video in a self-contained page; browsers get slow beyond
MANY = 4  # rows: with so many a phone shows them two by two
VERDICTS = {True: ("better", "good"), False: ("worse", "bad"), None: ("not shown to differ", "dim")}


def write_page(found: Comparison, folder: Path, inline: bool = False) -> Path:
    """`compare.html` in a folder: with copies of the clips in `media/` beside it, or, inline, all in one file.

    An inline page leaves out the prompts that agree most once its clips exceed 64 MiB, and says so.
    """
    cards, used, left = [], 0, 0
    clips = {label: {row["id"]: row for row in run.clips()} for label, run in found.runs.items()}
    digits = _digits(found)
    for prompt in found.prompts:
        files = {label: _file(found, clips[label], label, prompt) for label in found.labels}
        used += sum(path.stat().st_size for path in files.values() if path and inline)
        if used > INLINE_LIMIT:
            left += 1
            continue
        media = {label: _address(path, label, folder, inline) for label, path in files.items()}
        cards.append(_card(found, prompt, media, digits))
    page = folder / "compare.html"
    note = f"{left} prompts that agree most are left out to keep this page small." if left else ""
    put(page, _page(found, "".join(cards), note))
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
    copy = folder / "media" / slug(label) / path.name
    put(copy, path.read_bytes())
    return quote(copy.relative_to(folder).as_posix())


def _digits(found: Comparison) -> dict[str, int]:
    """Decimals of a prompt's scores, by metric."""
    return {
        column.key: places([prompt.scores[label][column.key] for prompt in found.prompts for label in found.labels])
        for column in found.columns
        if column.per_clip
    }


# ---- the differences ---------------------------------------------------------------------------------------------


def _summary(found: Comparison) -> str:
    left = {"metric", "row", "verdict"}
    names = (
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
    head = "".join(f'<th scope="col"{" class=text" if name in left else ""}>{name}</th>' for name in names)
    body = ""
    for _, peers in groupby(found.gaps, lambda gap: gap.metric.key):
        body += f'<tbody class="metric">{_metric(list(peers))}</tbody>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{body}</table></div>'


def _metric(gaps: Sequence[Gap]) -> str:
    """The lines of one metric; its numbers have the same decimals and its intervals one axis around zero."""
    column = gaps[0].metric
    digits = places([abs(value) for gap in gaps for value in (gap.mean, gap.reference_mean)])
    ends = [abs(e) for g in gaps for e in (g.difference.low, g.difference.high) if math.isfinite(e)]
    reach = 1.05 * max(*ends, 1e-12, 0.0)
    name = f'<th scope="rowgroup" class="text" rowspan="{len(gaps)}" title="{escape(column.unit)}">{escape(column.key)}'
    return "".join(
        f"<tr>{f'{name} {column.arrow}</th>' if not number else ''}{_gap_cells(gap, digits, reach)}</tr>"
        for number, gap in enumerate(gaps)
    )


def _gap_cells(gap: Gap, digits: int, reach: float) -> str:
    d, descriptive = gap.difference, gap.metric.higher_is_better is None
    verdict, style = ("descriptive", "dim") if descriptive else VERDICTS[gap.better]
    interval = '<span class="dim">too few prompts</span>'
    if math.isfinite(d.low):
        interval = interval_bar(d.low, d.mean, d.high, (-reach, reach), style)
    return (
        f'<td class="text">{escape(gap.row)}</td><td>{signed(f"{gap.mean:.{digits}f}")}</td>'
        f"<td>{signed(f'{gap.reference_mean:.{digits}f}')}</td>"
        f'<td title="over {d.n} pairs of clips, {d.prompts} prompts">{signed(f"{d.mean:+.{digits}f}")}</td>'
        f"<td>{interval}</td><td>{NONE if descriptive else _p(d.p)}</td><td>{_p(gap.p_holm)}</td>"
        f'<td class="text {style}">{verdict}</td>'
    )


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


# ---- the clips ---------------------------------------------------------------------------------------------------


def _card(found: Comparison, prompt: PromptRow, media: Mapping[str, str], digits: Mapping[str, int]) -> str:
    judged = [column for column in found.columns if column.per_clip]
    figures = "".join(_figure(found, label, media, prompt, digits) for label in found.labels)
    first, second = (prompt.scores[label] for label in found.labels[:2])
    gaps = "".join(
        f' data-m{i}="{second[c.key] - first[c.key]:.9g}"'
        for i, c in enumerate(judged)
        if math.isfinite(second[c.key] - first[c.key])
    )
    many = " many" if len(found.labels) >= MANY else ""
    return (
        f'<article class="watch" data-prompt="{escape(prompt.text)}" data-disagreement="{prompt.disagreement:.9g}"'
        f'{gaps}><h2>{escape(prompt.text)}<span title="disagreement: how far the rows are apart here, 0 = alike">'
        f'{prompt.disagreement:.2f}</span></h2><div class="clips{many}">{figures}</div></article>'
    )


def _figure(
    found: Comparison, label: str, media: Mapping[str, str], prompt: PromptRow, digits: Mapping[str, int]
) -> str:
    """A clip, below it its difference from the first row's, and its scores."""
    reference, name = found.labels[0], escape(label)
    player = video(media[label], label, f"{label}: {prompt.text}")
    if label != reference and media[label] and media[reference]:
        title = f"the difference of {name} from {escape(reference)}"
        player += f'<canvas data-row="{name}" role="img" aria-label="{title}" title="{title}"></canvas>'
    own, other = prompt.scores[label], prompt.scores[reference]
    lines = "".join(
        _line(column, own[column.key], other[column.key], digits[column.key])
        for column in found.columns
        if column.per_clip
    )
    return f"<figure><b>{name}</b>{player}<figcaption><dl>{lines}</dl></figcaption></figure>"


def _line(column: Column, own: float, reference: float, digits: int) -> str:
    """A score, coloured where it is better or worse than the first row's."""
    style = ""
    if column.higher_is_better is not None and math.isfinite(own - reference) and own != reference:
        style = ' class="good"' if (own > reference) == column.higher_is_better else ' class="bad"'
    text = "n/a" if math.isnan(own) else signed(f"{own:.{digits}f}")
    return f'<dt title="{escape(column.key)}">{escape(short(column))}</dt><dd{style}>{text}</dd>'


def _orders(found: Comparison) -> str:
    out = [("disagreement|down", "where they disagree most"), ("prompt|up", "prompt")]
    reference, row = found.labels[:2]
    for i, column in enumerate(column for column in found.columns if column.per_clip):
        out += [(f"m{i}|{way}", f"{column.key}: {most} {row} − {reference}")
                for way, most in (("up", "lowest"), ("down", "highest"))]  # fmt: skip
    return "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in out)


def _page(found: Comparison, cards: str, note: str) -> str:
    clip, reference = found.board.suite["clip"], found.labels[0]
    others = ", ".join(found.labels[1:])
    title = f"{others} against {reference}"
    overlay = (
        '<label><input id="overlay" type="checkbox"> difference</label><label class="gain">× <input id="gain" '
        'type="number" value="3" min="1" max="20" aria-label="gain of the difference"></label>'
    )
    columns = min(len(found.labels), 6)
    keys = "".join(f" <kbd>{key}</kbd> {what}" for key, what in
                   (("space", "play,"), ("←", ""), ("→", "step,"), ("d", "difference,"), ("l", "loop")))  # fmt: skip
    body = (
        f"<header><div><h1>{escape(title)}</h1><small>{escape(found.board.name)} · clips of seed {found.seed}</small>"
        f"</div>{controls(clip['frames'], overlay)}</header><main>{_summary(found)}"
        f'<p class="dim">Differences are {escape(others)} minus {escape(reference)}, paired on the clips both have; '
        f"intervals and p resample prompts, and p (Holm) is corrected over all lines with a direction. {escape(note)}"
        f'</p><div class="bar"><label>order <select id="order">{_orders(found)}</select></label>'
        '<label>find <input id="find" type="search" placeholder="words of the prompt"></label>'
        f'<span id="count" class="dim" role="status"></span><span class="dim">Keys:{keys}</span></div>'
        f'<div id="prompts" style="--columns:{columns}">{cards}</div></main>'
        f"<script>{asset('player.js')}{asset('compare.js')}{asset('tips.js')}</script>"
    )
    styles = f"<style>{asset('page.css')}{asset('compare.css')}</style>"
    return frame(title, styles, clip, body, columns * (12 if clip["width"] <= SMALL else 15) + 3)
