"""How methods draw: a figure in the house style, and the few things their pictures share.

    @house
    def figures(log):
        figure, (left, right) = panels(1, 2, "The loss falls", "What a reader should know.")
        trace(left, log, "kl")

A method returns such figures from `Method.diagnostics`; the training loop saves them. matplotlib is imported inside
functions only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.stats import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    *("GATE", "Log", "column", "house", "log_scale", "logged", "mark", "panels", "pearson", "shades", "trace"),
]

Log = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]
P = ParamSpec("P")
R = TypeVar("R")

GATE = "#5F6B7A"  # thresholds, theory and other lines that are not data
WIDE = 20.0  # a positive curve whose median spans this factor is drawn on a log scale


def house(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in the house style, whatever matplotlib is set to elsewhere."""

    @functools.wraps(function)
    def drawn(*args: P.args, **options: P.kwargs) -> R:
        from matplotlib.style import context

        with context("harness.house", after_reset=True):
            return function(*args, **options)

    return drawn


def panels(
    rows: int, columns: int, title: str, caption: str, size: tuple[float, float] = (9.6, 3.6), **grid: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `columns` axes in reading order.

    Args:
        title: what one sees, on the picture.
        caption: how to read it, under the picture on the page.
        size: of the whole figure, inches.
        grid: for `Figure.subplots`, e.g. `sharex=True`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    figure.suptitle(title, x=0.01, ha="left")
    figure.set_label(caption)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **grid).flat)


def column(log: Log, key: str, role: str = "student") -> tuple[Array, Array]:
    """Steps and finite values of one logged number of a role."""
    rows = [row for row in log if row.get("role", "student") == role and row.get(key) is not None]
    rows = [row for row in rows if math.isfinite(row[key])]
    return np.array([float(row["step"]) for row in rows]), np.array([float(row[key]) for row in rows])


def logged(log: Log, *keys: str, role: str = "student") -> bool:
    """Whether each of these numbers was logged at least once."""
    return all(len(column(log, key, role)[0]) for key in keys)


def trace(ax: Axes, log: Log, key: str, role: str = "student", dots: bool = True, **style: Any) -> None:
    """One logged number over steps: dots faint, their trend as a line; log scale when its range asks for it."""
    steps, values = column(log, key, role)
    if not len(steps):
        return
    trend = smooth(values)
    (drawn,) = ax.plot(steps, trend, **style)
    if dots:
        size = 4 if len(steps) > 100 else 6
        ax.plot(steps, values, ".", color=drawn.get_color(), alpha=0.35, markersize=size, markeredgewidth=0)
    shown = [(np.asarray(line.get_ydata(), dtype=np.float64), line.get_linestyle()) for line in ax.get_lines()]
    trends = np.concatenate([y for y, kind in shown if kind == "-"])
    if all((y > 0).all() for y, _ in shown) and trends.max() > WIDE * trends.min():
        log_scale(ax)


def log_scale(ax: Axes, which: Literal["x", "y"] = "y") -> None:
    """A log axis with plain numbers at 1, 2 and 5, or at the decades when there are many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_yscale if which == "y" else ax.set_xscale)("log")
    low, high = ax.get_ylim() if which == "y" else ax.get_xlim()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def mark(ax: Axes, at: float, text: str) -> None:
    """A dashed horizontal line with its name at the left end."""
    ax.axhline(at, color=GATE, linestyle=(0, (4, 3)), linewidth=1.2)
    ax.annotate(
        *(text, (0, at)), xycoords=ax.get_yaxis_transform(), xytext=(4, 3), textcoords="offset points",
        va="bottom", fontsize=8, color=GATE, bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours of an ordered family of lines, dark to light, all readable on white."""
    from matplotlib import colormaps

    return [tuple(colormaps["viridis"](x)) for x in np.linspace(0, 0.85, count)]


def pearson(x: Array, y: Array) -> float:
    """r = cov(x, y) / (std(x) std(y)) over the pairs that are finite; NaN when one does not vary."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = (values[both] - values[both].mean() if both.any() else values[both] for values in (x, y))
    norm = math.sqrt(float((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else math.nan
