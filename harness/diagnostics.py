"""Pictures of a finished training, as PNG files and one page beside the run: curves for all, and the method's own.

matplotlib is imported inside functions only, and never through pyplot: no global figure, no display, equal bytes for
equal input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.stats import smooth
from harness.store import atomic, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Log = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]

STYLE = "harness.house"  # the style sheet beside this file
PIXELS = 100  # CSS pixels an inch, for equal letters in all pictures
WIDE = 20.0  # a positive curve whose median spans this factor is drawn on a log scale
PAGE_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#d8dce2,#3a3f47);--dim:light-dark(#5f6b7a,#9aa5b1)}
body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:0 1.5rem 3rem}
header{padding:1rem 0 .6rem;border-bottom:1px solid var(--line)}
h1{font-size:1.15rem;margin:0;font-weight:600}
header p,figcaption{color:var(--dim);margin:.25rem 0 0;max-width:56rem}
figure{margin:1.8rem 0 0}
h2{font-size:1rem;font-weight:600;margin:0 0 .5rem}
img{display:block;max-width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:6px}
"""


def draw(folder: Path, title: str, log: Log, extra: Mapping[str, Figure]) -> None:
    """Write `folder/<slug>.png` for the curves of `log` and for every figure of `extra`, and `folder/index.html`.

    Args:
        folder: made if absent; pictures of an earlier drawing that are not drawn again are removed.
        title: what the page is called.
        log: rows of `train/metrics.jsonl`: step, role, loss, gnorm, evals; `skipped` marks a step not taken.
        extra: the method's own figures by title. A figure's label (`set_label`) becomes its caption.
    """
    from matplotlib.style import context

    with context(STYLE, after_reset=True):
        figures = {**curves(log), **extra}
        names = slugs(figures)
        for name, figure in zip(names, figures.values(), strict=True):
            save(figure, folder / name)
    for stale in set(folder.glob("*.png")) - {folder / name for name in names}:
        stale.unlink()
    shown = [
        Picture(name, heading, str(figure.get_label()), round(PIXELS * figure.get_figwidth()))
        for name, (heading, figure) in zip(names, figures.items(), strict=True)
    ]
    write_text(folder / "index.html", page(title, summary(log), shown))


def save(figure: Figure, path: Path) -> None:
    """One PNG, atomically; it says its caption and nothing of when or by what it was made."""
    caption = str(figure.get_label())
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None, **({"Description": caption} if caption else {})})


def slugs(titles: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """File names of titles, in order: `"Gate & ratio"` to `gate-ratio.png`, the second of a name `gate-ratio-2.png`."""
    taken: dict[str, int] = {}
    names = []
    for title in titles:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"
        taken[slug] = taken.get(slug, 0) + 1
        names.append(f"{slug}-{taken[slug]}.png" if taken[slug] > 1 else f"{slug}.png")
    return names


# ---- curves ------------------------------------------------------------------------------------------------------


def curves(log: Log) -> dict[str, Figure]:
    """Loss and gradient norm of each role over steps, and the loss over network evaluations where they are counted."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    roles = list(dict.fromkeys(row.get("role", "student") for row in log))
    if not roles:
        return {}
    counted = any("evals" in row for row in log)
    figure = Figure(figsize=(11.6 if counted else 9.6, 0.8 + 2.4 * len(roles)))
    axes = figure.subplots(len(roles), 3 if counted else 2, squeeze=False)
    for number, (role, line) in enumerate(zip(roles, axes, strict=True)):
        rows = [row for row in log if row.get("role", "student") == role]
        steps = np.array([row["step"] for row in rows], dtype=np.float64)
        skipped = np.array([bool(row.get("skipped")) for row in rows])
        panels = [("loss", steps, "step"), ("gnorm", steps, "step")]
        if counted:
            panels.append(("loss", column(rows, "evals"), "network evaluations of all roles"))
        for ax, (key, x, unit) in zip(line, panels, strict=True):
            trace(ax, x, column(rows, key), skipped, f"C{number}")
            ax.set_title(f"{role.capitalize()}: " + ("gradient norm" if key == "gnorm" else "loss"))
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.xaxis.set_major_formatter(thousands)
            ax.set_xlabel(unit if number == len(roles) - 1 else "")
    figure.suptitle("Loss and gradient norm: " + ", ".join(roles), x=0.01, ha="left")
    missed = sum(bool(row.get("skipped")) for row in log)
    figure.set_label(
        "Dots are single updates, lines their running median. Gradient norms are those before clipping."
        + (f" Red ticks on the axis: {missed} updates skipped because a number was not finite." if missed else "")
    )
    return {"Training curves": figure}


def thousands(x: float, _: object = None) -> str:
    """A tick label: 800, 2.5k, 1.5M."""
    if abs(x) < 1e3:
        return f"{x:g}"
    return f"{x / 1e6:g}M" if abs(x) >= 1e6 else f"{x / 1e3:g}k"


def column(rows: Log, key: str) -> Array:
    """One logged number of every row, NaN where it is absent or was not finite."""
    return np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows], dtype=np.float64)


def trace(ax: Axes, x: Array, y: Array, skipped: NDArray[np.bool_], colour: str) -> None:
    """Raw points faint, their trend as a line, skipped steps as red ticks on the axis."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.any():
        trend = smooth(y[known])
        size = 4 if known.sum() > 100 else 6
        ax.plot(x[known], y[known], ".", color=colour, alpha=0.35, markersize=size, markeredgewidth=0)
        ax.plot(x[known], trend, color=colour)
        if (y[known] > 0).all() and trend.max() > WIDE * trend.min():
            log_scale(ax)
    else:
        ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", color="#5F6B7A")
    lost = x[skipped & np.isfinite(x)]
    if len(lost):
        place = np.full(len(lost), 0.025)
        ax.plot(
            lost, place, "|", transform=ax.get_xaxis_transform(), color="#D1242F", markersize=9, markeredgewidth=1.5
        )


def log_scale(ax: Axes) -> None:
    """A log axis with plain numbers at 1, 2 and 5, or at the decades when there are many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


# ---- the page ----------------------------------------------------------------------------------------------------


def summary(log: Log) -> str:
    """One sentence: updates of each role, and what was skipped."""
    counts: dict[str, int] = {}
    for row in log:
        role = row.get("role", "student")
        counts[role] = counts.get(role, 0) + (not row.get("skipped"))
    missed = sum(bool(row.get("skipped")) for row in log)
    told = ", ".join(f"{count} updates of the {role}" for role, count in counts.items()) or "nothing was trained"
    return told[0].upper() + told[1:] + (f"; {missed} skipped" if missed else "") + "."


@dataclass(frozen=True)
class Picture:
    """An image file beside the page, and how wide it is shown, in CSS pixels."""

    file: str
    heading: str
    caption: str
    width: int


def page(title: str, told: str, pictures: Sequence[Picture]) -> str:
    """The HTML of `pictures`, with links relative to the page."""
    shown = "".join(
        f'<figure><h2>{escape(p.heading)}</h2><img src="{p.file}" width="{p.width}" '
        f'alt="{escape(f"{p.heading}. {p.caption}" if p.caption else p.heading)}">'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>\n"
        for p in pictures
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{PAGE_STYLE}</style>"
        f"<body><header><h1>{escape(title)}</h1><p>{escape(told)}</p></header>\n<main>\n{shown}</main></body></html>\n"
    )
