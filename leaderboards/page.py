"""What the pages written here share: file names, the frame around a page, the player's controls, numbers as text."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from harness.errors import UserError
from harness.store import Json
from leaderboards.read import Column

WEB = Path(__file__).with_name("web")
SMALL = 160  # pixels: clips this narrow are drawn pixel by pixel
NAME_LENGTH = 80  # characters of a file name before its digest; file systems end at 255 bytes
SPEEDS = (0.1, 0.25, 0.5, 1, 2)
NONE = "–"  # where there is nothing to print
FIGURE_SPACE = "\u2007"  # as wide as a digit


def slug(text: str) -> str:
    """A file name for a row or clip: letters and digits of any script, `.`, `_`, `+`, `@` and `-`.

    A text that needed a change, or has capitals, gets the beginning of its digest, so that different texts have
    different names on file systems that ignore case, too.
    """
    plain = re.sub(r"[^\w.+@-]+", "-", text)[:NAME_LENGTH].strip("-.")
    if plain and plain == text and plain == plain.lower() and plain.isprintable():
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}-{digest}" if plain else f"x-{digest}"


def put(path: Path, content: str | bytes) -> None:
    """A file of a page; left alone where it is the same already. Pages can be made again, so no fsync: with
    thousands of clips that would take minutes on a busy disk.

    Raises:
        UserError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give a folder that can be written") from error


def asset(name: str) -> str:
    """The text of a file in `web/`."""
    return (WEB / name).read_text(encoding="utf-8")


def frame(title: str, head: str, clip: Json, body: str, card: float) -> str:
    """A whole page.

    Args:
        head: styles.
        clip: the suite's clip: width, height, frames, fps.
        body: header, main and scripts.
        card: least width of a card of clips, in rem.
    """
    small = " small" if clip["width"] <= SMALL else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark">{head}</head>'
        f'<body class="page{small}" data-fps="{clip["fps"]:g}" data-frames="{clip["frames"]}" '
        f'style="--shape:{clip["width"]}/{clip["height"]};--card-width:{card:g}rem">{body}</body></html>\n'
    )


def controls(frames: int, more: str = "") -> str:
    """Buttons for `player.js`, then others."""
    speeds = "".join(f"<option{' selected' if s == 1 else ''} value={s}>{s:g}×</option>" for s in SPEEDS)
    return (
        '<div class="controls" role="group" aria-label="player"><button id="play">Pause</button><span class="steps">'
        '<button id="back" class="step" aria-label="one frame back" title="one frame back, ←">◂</button>'
        f'<input id="frame" type="range" min="0" max="{frames - 1}" value="0" aria-label="frame">'
        '<button id="forward" class="step" aria-label="one frame forward" title="one frame forward, →">▸</button>'
        '</span><output id="where"></output>'
        f'<label>speed <select id="speed">{speeds}</select></label>'
        f'<label><input id="loop" type="checkbox" checked> loop</label>{more}</div>'
    )


def video(address: str, label: str, what: str) -> str:
    """A player on the page's clock, or the note that there is no clip."""
    if not address:
        return '<p class="none">no clip</p>'
    return (
        f'<video data-src="{escape(address)}" data-row="{escape(label)}" aria-label="{escape(what)}" '
        'muted playsinline preload="auto"></video>'
    )


def short(column: Column) -> str:
    """The last part of a metric's name, in words."""
    return column.key.split("/")[-1].replace("_", " ")


def signed(text: str) -> str:
    """With a true minus sign, as wide as a plus."""
    return text.replace("-", "−")


def places(values: Sequence[float]) -> int:
    """Decimals that show three or four digits of the largest value, for numbers that are read against each other."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    return 3 if largest == 0 else min(6, max(0, 3 - math.floor(math.log10(2 * largest))))


def interval_bar(low: float, mean: float, high: float, reach: tuple[float, float], style: str = "") -> str:
    """A bar from low to high with a dot at the mean on an axis `reach`, with a line at zero where that is inside it."""

    def at(value: float) -> float:
        return 8 + 160 * (value - reach[0]) / ((reach[1] - reach[0]) or 1.0)

    zero = f'<path class="zero" d="M{at(0):.1f} 0V18"/>' if reach[0] < 0 < reach[1] else ""
    return (
        f'<svg class="interval {style}" viewBox="0 0 176 18" role="img" aria-label="from {low:.3g} to {high:.3g}">'
        f"<title>{signed(f'{low:.4g} to {high:.4g}')}</title>{zero}"
        f'<path d="M{at(low):.1f} 9H{at(high):.1f}"/><circle cx="{at(mean):.1f}" cy="9" r="4.5"/></svg>'
    )
