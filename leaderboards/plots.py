"""Quality against cost with its Pareto front, and curves of training, as SVG text.

Colours are CSS variables of the page that shows them, so one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from harness.stats import Estimate
from leaderboards.marks import Mark, marks
from leaderboards.page import signed
from leaderboards.rank import Leaderboard, pareto
from leaderboards.read import Column, Entry

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 430, 64, 16, 30, 48
NAMED = 24  # rows: with more, only those of the front are named beside their marks
SPREAD = 90.0  # pixels that rows of one and the same cost take side by side, at most
LETTER, LINE = 6.4, 14.0  # pixels of a letter's width (12 px type) and of a line
COSTS = {"nfe": "network evaluations a clip", "generate_s": "seconds to generate", "train_s": "seconds to train"}


@dataclass(frozen=True)
class Scale:
    """A linear map from [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


@dataclass(frozen=True)
class Point:
    """A row in the plot."""

    entry: Entry
    estimate: Estimate
    mark: Mark
    cost: float
    unit: str  # of the cost, in words
    x: float
    y: float
    shift: float  # from its true cost, where several rows have the same

    @property
    def label(self) -> str:
        return self.entry.label


def pareto_plot(board: Leaderboard, column: Column, cost: str) -> str:
    """Mean with its interval against cost (logarithmic), the Pareto front as a staircase; "" without two points.

    Rows of exactly one cost stand side by side around it, best first. Beyond 24 rows only those of the front are named.
    """
    rows = [e for e in board.entries if e.cost.get(cost, 0) > 0 and estimate_of(board, column, e).n]
    if len(rows) < 2:
        return ""
    costs = [math.log10(entry.cost[cost]) for entry in rows]
    estimates = [estimate_of(board, column, entry) for entry in rows]
    ends = [v for e in estimates for v in (e.mean, e.low, e.high) if math.isfinite(v)]
    room = 8 + LETTER * max(len(e.label) for e in rows)
    x = Scale(min(costs), max(costs), LEFT + 16 + SPREAD / 2, WIDTH - RIGHT - SPREAD / 2 - min(room, 190))
    y = Scale(*_bounds(ends), HEIGHT - BOTTOM, TOP)
    points = _points(board, column, cost, rows, x, y)
    front = [point for label in pareto(board, column, cost) for point in points if point.label == label]
    named = points if len(points) <= NAMED else front
    names = _names(points, named)
    shown = "".join(_draw(point, y, names.get(point.label)) for point in reversed(points))
    stairs = _staircase([(p.x - p.shift, p.y) for p in front])
    return svg(
        WIDTH, HEIGHT, f"{column.key} against {COSTS[cost]}", f"{_axes(column, cost, x, y)}{stairs}{shown}", "pareto"
    )


def line_plot(values: Sequence[tuple[float, float]], title: str) -> str:
    """A curve with its two end values, e.g. a loss over steps; "" without two finite points."""
    points = [(x, y) for x, y in values if math.isfinite(x) and math.isfinite(y)]
    if len(points) < 2:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = _bounds(ys)
    x, y = Scale(min(xs), max(xs), 52, 400), Scale(low, high, 108, 10)
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    grid = "".join(
        f'<text x="46" y="{y(v) + 4:.1f}" text-anchor="end">{signed(f"{v:.3g}")}</text>'
        f'<line x1="52" x2="400" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="var(--line)"/>'
        for v in np.linspace(low, high, 3)
    )
    ends = f'<text x="52" y="128">{xs[0]:g}</text><text x="400" y="128" text-anchor="end">step {xs[-1]:g}</text>'
    curve = f'<polyline points="{path}" fill="none" stroke="var(--accent)" stroke-width="1.6" stroke-linejoin="round"/>'
    return svg(410, 134, title, grid + ends + curve)


def estimate_of(board: Leaderboard, column: Column, entry: Entry) -> Estimate:
    return board.values[entry.label, column.key].estimate


def svg(width: int, height: int, title: str, body: str, style: str = "") -> str:
    return (
        f'<svg class="plot {style}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{body}</svg>'
    )


# ---- where things stand ------------------------------------------------------------------------------------------


def _points(board: Leaderboard, column: Column, cost: str, rows: Sequence[Entry], x: Scale, y: Scale) -> list[Point]:
    """Best first."""
    sign = 1 if column.higher_is_better else -1
    ordered = sorted(rows, key=lambda e: -sign * estimate_of(board, column, e).mean)
    alike: dict[str, list[Entry]] = {}
    for entry in ordered:
        alike.setdefault(f"{entry.cost[cost]:.4g}", []).append(entry)
    known = marks([entry.label for entry in board.entries])
    out = []
    for entry in ordered:
        peers = alike[f"{entry.cost[cost]:.4g}"]
        step = min(11.0, SPREAD / max(1, len(peers) - 1))
        shift = step * (peers.index(entry) - (len(peers) - 1) / 2)
        e = estimate_of(board, column, entry)
        at = x(math.log10(entry.cost[cost])) + shift
        out.append(Point(entry, e, known[entry.label], entry.cost[cost], COSTS[cost], at, y(e.mean), shift))
    return out


def _names(points: Sequence[Point], named: Sequence[Point]) -> Mapping[str, tuple[float, float, str]]:
    """Where names go, `(x, y, anchor)`: rows of one cost in a column at their right, in the order of their marks;
    others at the nearest free place, right or left. None where all are taken (hovering tells the name)."""
    taken = [(p.x - 6, p.y - 6, p.x + 6, p.y + 6) for p in points]
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(f"{point.x - point.shift:.1f}", []).append(point)
    out = {}
    for peers in groups.values():
        mine = sorted((point for point in peers if point in named), key=lambda point: point.y)
        right, left = max(p.x for p in peers) + 11, min(p.x for p in peers) - 11
        for point, y in zip(mine, _apart([point.y for point in mine]), strict=True):
            wide = LETTER * len(point.label)
            steps = sorted(range(-14, 15), key=abs) if len(mine) == 1 else [0]
            places = [
                (x, y + LINE / 2 * step, anchor) for x, anchor in ((right, "start"), (left, "end")) for step in steps
            ]
            for x, at, anchor in places:
                start = x if anchor == "start" else x - wide
                box = (start, at - LINE / 2 + 0.1, start + wide, at + LINE / 2 - 0.1)
                if _fits(box, taken):
                    taken.append(box)
                    out[point.label] = (x, at, anchor)
                    break
    return out


def _apart(wanted: Sequence[float]) -> list[float]:
    """Heights in the same order, a line apart at least, as near to the wanted ones as that allows (least squares)."""
    blocks: list[list[float]] = []  # of neighbours that touch: sum of wanted starts, count
    for number, y in enumerate(wanted):
        blocks.append([y - LINE * number, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    return [start + LINE * number for number, start in enumerate(starts)]


def _fits(box: tuple[float, float, float, float], taken: Sequence[tuple[float, float, float, float]]) -> bool:
    inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= TOP - 8 and box[3] <= HEIGHT - BOTTOM + 4
    return inside and not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad


# ---- how they are drawn ------------------------------------------------------------------------------------------


def _axes(column: Column, cost: str, x: Scale, y: Scale) -> str:
    parts = []
    values = _round_steps(y.low, y.high)
    digits = max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-9)) if len(values) > 1 else 3
    for value in values:
        at = y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="var(--line)"/>')
        text = signed(f"{value:.{digits}f}")
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    floor = HEIGHT - BOTTOM
    for value in _ticks(x.low, x.high):
        at = x(math.log10(value))
        parts.append(f'<path d="M{at:.1f} {floor}v5" stroke="var(--strong)"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{floor + 20}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<path d="M{LEFT} {floor}H{WIDTH - RIGHT}" stroke="var(--strong)"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{COSTS[cost]}</text>')
    parts.append(f'<text x="8" y="14">{escape(column.key)} {column.arrow}</text>')
    return "".join(parts)


def _round_steps(low: float, high: float) -> list[float]:
    """Four to nine round numbers within [low, high]."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * power for m in (1, 2, 5, 10) if (high - low) / (m * power) <= 8)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within the range of log10 values; the ends where there are fewer than two."""
    found = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low - 0.02 <= math.log10(m * 10.0**e) <= high + 0.02
    ]
    return found if len(found) > 1 else sorted({float(f"{10**low:.3g}"), float(f"{10**high:.3g}")})


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


def _draw(point: Point, y: Scale, name: tuple[float, float, str] | None) -> str:
    """A mark with its interval and name; rows that are not ranked are hollow."""
    e, colour, label = point.estimate, point.mark.colour, escape(point.label)
    half = f" ±{(e.high - e.low) / 2:.2g}" if math.isfinite(e.low) else ""
    bar = lead = text = ""
    if math.isfinite(e.low):
        ends = f'y1="{y(e.low):.1f}" y2="{y(e.high):.1f}"'
        bar = f'<line class="bar" x1="{point.x:.1f}" x2="{point.x:.1f}" {ends} stroke="{colour}"/>'
    if name:
        away = abs(name[1] - point.y) > 1 or abs(name[0] - point.x) > 14
        gap = 3 if name[2] == "start" else -3
        path = f"M{point.x:.1f} {point.y:.1f}L{name[0] - gap:.1f} {name[1]:.1f}"
        lead = f'<path class="lead" d="{path}" stroke="{colour}"/>' if away else ""
        text = f'<text x="{name[0]:.1f}" y="{name[1] + 4:.1f}" text-anchor="{name[2]}">{label}</text>'
    fill = colour if point.entry.complete else "var(--card)"
    return (
        f'<g class="series" data-row="{label}"><title>{label}: {signed(f"{e.mean:.4g}")}{half}, {point.cost:.4g} '
        f"{point.unit}</title>{bar}{lead}<path class='dot' transform='translate({point.x:.1f} "
        f"{point.y:.1f})' d='{point.mark.path(5)}' fill='{fill}' stroke='{colour}'/>{text}</g>"
    )
