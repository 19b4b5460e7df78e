"""Plots of a leaderboard as SVG text: quality against cost with its Pareto front, and all metrics at once as a radar.

Colours are CSS variables of the page that shows them, so one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from harness.stats import Estimate
from leaderboards.rank import Leaderboard, pareto
from leaderboards.read import Column, Entry

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 64, 24, 18, 46
MIDDLE = 330, 195  # of the radar, with room for names at its sides
COSTS = {"nfe": "network evaluations a clip", "generate_s": "seconds to generate", "train_s": "seconds to train"}


def hue(board: Leaderboard, label: str) -> str:
    """A row's colour, the same in every plot: evenly spaced hues in the board's alphabetical order."""
    names = sorted(entry.label for entry in board.entries)
    return f"hsl({(names.index(label) * 360 / max(1, len(names)) + 210) % 360:.0f} 62% var(--plot-light))"


def pareto_plot(board: Leaderboard, column: Column, cost: str) -> str:
    """Mean with its interval against cost (logarithmic), the Pareto front as a staircase; "" without two points."""
    rows = [e for e in board.entries if cost in e.cost and e.cost[cost] > 0 and _estimate(board, column, e).n]
    if len(rows) < 2:
        return ""
    costs = [math.log10(entry.cost[cost]) for entry in rows]
    ends = [x for e in rows for x in (_estimate(board, column, e).low, _estimate(board, column, e).high)]
    means = [_estimate(board, column, e).mean for e in rows]
    x = _scale(min(costs), max(costs), LEFT + 14, WIDTH - RIGHT - 150)
    y = _scale(*_bounds([*means, *(v for v in ends if math.isfinite(v))]), HEIGHT - BOTTOM, TOP)
    parts = [*_axes(column, cost, x, y)]
    front = [entry for label in pareto(board, column, cost) for entry in rows if entry.label == label]
    parts.append(_staircase([(x(math.log10(e.cost[cost])), y(_estimate(board, column, e).mean)) for e in front]))
    taken: list[tuple[float, float]] = []
    for entry, at in sorted(zip(rows, costs, strict=True), key=lambda pair: y(_estimate(board, column, pair[0]).mean)):
        parts.append(_point(board, column, entry, x(at), y, taken))
    title = f"{column.key} against {COSTS[cost]}"
    return _svg(WIDTH, HEIGHT, title, "".join(parts))


def radar_plot(board: Leaderboard, columns: Sequence[Column]) -> str:
    """Ranked metrics as spokes, each scaled from the worst row (centre ring) to the best (rim); "" below three."""
    usable = [c for c in columns if c.higher_is_better is not None and _differs(board, c)]
    rows = [e for e in board.entries if e.complete and all(_estimate(board, c, e).n for c in usable)]
    if len(usable) < 3 or len(rows) < 2:
        return ""
    rim, hub = 150, 30
    angles = [2 * math.pi * i / len(usable) - math.pi / 2 for i in range(len(usable))]
    parts = []
    for ring in (hub, (hub + rim) / 2, rim):
        parts.append(_polygon([_polar(ring, a) for a in angles], "none", "var(--line)", 1))
    for angle, column in zip(angles, usable, strict=True):
        (x, y), (tx, ty) = _polar(rim, angle), _polar(rim + 16, angle)
        anchor = "middle" if abs(tx - MIDDLE[0]) < 12 else "start" if tx > MIDDLE[0] else "end"
        low, high = _ends(board, column)
        name = escape(column.key.split("/")[-1].replace("_", " "))
        parts.append(f'<line x1="{MIDDLE[0]}" y1="{MIDDLE[1]}" x2="{x:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(
            f'<text x="{tx:.1f}" y="{ty + 4:.1f}" text-anchor="{anchor}">{name}'
            f"<title>{escape(column.key)}: centre {low:.4g}, rim {high:.4g}</title></text>"
        )
    for entry in rows:
        points = []
        for angle, column in zip(angles, usable, strict=True):
            low, high = _ends(board, column)
            share = (_estimate(board, column, entry).mean - low) / (high - low)
            points.append(_polar(hub + share * (rim - hub), angle))
        colour = hue(board, entry.label)
        shape = _polygon(points, colour, colour, 2)
        parts.append(
            f'<g class="series" data-row="{escape(entry.label)}">{shape}<title>{escape(entry.label)}</title></g>'
        )
    return _svg(2 * MIDDLE[0], 2 * MIDDLE[1], "ranked metrics, each from the worst row to the best", "".join(parts))


def line_plot(values: Sequence[tuple[float, float]], title: str) -> str:
    """A curve with its two end values, e.g. a loss over steps; "" without two finite points."""
    points = [(x, y) for x, y in values if math.isfinite(x) and math.isfinite(y)]
    if len(points) < 2:
        return ""
    xs, ys = zip(*points, strict=True)
    x, y = _scale(min(xs), max(xs), 52, 400), _scale(*_bounds(ys), 110, 12)
    low, high = _bounds(ys)
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    marks = "".join(
        f'<text x="46" y="{y(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        f'<line x1="52" x2="400" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="var(--line)"/>'
        for v in np.linspace(low, high, 3)
    )
    ends = f'<text x="52" y="128">{xs[0]:g}</text><text x="400" y="128" text-anchor="end">{xs[-1]:g}</text>'
    curve = f'<polyline points="{path}" fill="none" stroke="var(--accent)" stroke-width="1.6"/>'
    return _svg(410, 134, title, marks + ends + curve)


def _estimate(board: Leaderboard, column: Column, entry: Entry) -> Estimate:
    return board.values[entry.label, column.key].estimate


def _differs(board: Leaderboard, column: Column) -> bool:
    low, high = _ends(board, column)
    return math.isfinite(low) and high != low


def _ends(board: Leaderboard, column: Column) -> tuple[float, float]:
    """Worst and best mean of the complete rows."""
    means = [_estimate(board, column, e).mean for e in board.entries if e.complete and _estimate(board, column, e).n]
    if not means:
        return math.nan, math.nan
    return (min(means), max(means)) if column.higher_is_better else (max(means), min(means))


class _scale:  # noqa: N801
    """A linear map from [low, high] to [start, end]."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad


def _axes(column: Column, cost: str, x: _scale, y: _scale) -> list[str]:
    parts = []
    for value in np.linspace(y.low, y.high, 5):
        at = y(float(value))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in _ticks(x.low, x.high):
        parts.append(
            f'<text x="{x(math.log10(value)):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value:g}</text>'
        )
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{COSTS[cost]}</text>')
    parts.append(f'<text x="{LEFT}" y="12">{escape(column.key)} {column.arrow}</text>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within the range of log10 values; the ends where there are fewer than two."""
    found = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low - 0.02 <= math.log10(m * 10.0**e) <= high + 0.02
    ]
    return found if len(found) > 1 else [round(10**low, 3), round(10**high, 3)]


def _staircase(points: Sequence[tuple[float, float]]) -> str:
    """From each point of the front level to the cost of the next, then up to it."""
    if not points:
        return ""
    path = [points[0]]
    for x, y in points[1:]:
        path += [(x, path[-1][1]), (x, y)]
    path.append((WIDTH - RIGHT, path[-1][1]))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    return f'<polyline class="front" points="{line}" fill="none" stroke="var(--accent)" stroke-dasharray="5 4"/>'


def _point(
    board: Leaderboard, column: Column, entry: Entry, x: float, y: _scale, taken: list[tuple[float, float]]
) -> str:
    """A dot with its interval and its name, which moves down until no other name is there."""
    e, colour = _estimate(board, column, entry), hue(board, entry.label)
    at = y(e.mean)
    down = at + 4
    while any(abs(down - other) < 12 and abs(x - place) < 90 for place, other in taken):
        down += 12
    taken.append((x, down))
    bar = ""
    if math.isfinite(e.low):
        ends = f'y1="{y(e.low):.1f}" y2="{y(e.high):.1f}"'
        bar = f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{colour}" opacity=".45"/>'
    lead = f'<line x1="{x:.1f}" x2="{x + 9:.1f}" y1="{at:.1f}" y2="{down - 4:.1f}" stroke="{colour}" opacity=".45"/>'
    half = f" ±{(e.high - e.low) / 2:.2g}" if math.isfinite(e.low) else ""
    fill = colour if entry.complete else "none"
    return (
        f'<g class="series" data-row="{escape(entry.label)}">{bar}{lead}<circle cx="{x:.1f}" cy="{at:.1f}" r="5" '
        f'fill="{fill}" stroke="{colour}"/><text x="{x + 11:.1f}" y="{down:.1f}">{escape(entry.label)}</text>'
        f"<title>{escape(entry.label)}: {e.mean:.4g}{half}</title></g>"
    )


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return MIDDLE[0] + radius * math.cos(angle), MIDDLE[1] + radius * math.sin(angle)


def _polygon(points: Sequence[tuple[float, float]], fill: str, stroke: str, width: float) -> str:
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{line}" fill="{fill}" fill-opacity=".07" stroke="{stroke}" stroke-width="{width}"/>'


def _svg(width: int, height: int, title: str, body: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )
