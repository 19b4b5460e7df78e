"""All ranked metrics at once: a radar as SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from leaderboards.marks import Mark, marks
from leaderboards.page import short
from leaderboards.plots import Scale, estimate_of, svg
from leaderboards.rank import Leaderboard
from leaderboards.read import Column, Entry

MIDDLE = 330, 205  # with room for names at its sides
HUB, RIM = 30, 155  # radii of the worst row and of the best
SPOKES = 24  # more would be no picture


def radar_plot(board: Leaderboard, columns: Sequence[Column]) -> str:
    """Ranked metrics as spokes, each scaled from the worst row (inner ring) to the best (rim); "" below three.

    Only metrics that differ between rows and have a value for every complete row take part.
    """
    rows = [entry for entry in board.entries if entry.complete]
    usable = [c for c in columns if c.higher_is_better is not None and _differs(board, c, rows)][:SPOKES]
    if len(usable) < 3:
        return ""
    angles = [2 * math.pi * i / len(usable) - math.pi / 2 for i in range(len(usable))]
    scales = [Scale(*_ends(board, column, rows), HUB, RIM) for column in usable]
    rings = "".join(_ring([_polar(radius, a) for a in angles]) for radius in (HUB, (HUB + RIM) / 2, RIM))
    spokes = "".join(_spoke(*parts) for parts in zip(usable, scales, angles, strict=True))
    known = marks([entry.label for entry in board.entries])
    shapes = ""
    for entry in reversed(rows):
        means = [estimate_of(board, column, entry).mean for column in usable]
        radii = [scale(mean) for scale, mean in zip(scales, means, strict=True)]
        shapes += _shape(entry.label, radii, angles, known[entry.label])
    title = "ranked metrics, each from the worst row to the best"
    return svg(2 * MIDDLE[0], 2 * MIDDLE[1], title, rings + spokes + shapes)


def _differs(board: Leaderboard, column: Column, rows: Sequence[Entry]) -> bool:
    if len(rows) < 2 or not all(estimate_of(board, column, entry).n for entry in rows):
        return False
    low, high = _ends(board, column, rows)
    return high != low


def _ends(board: Leaderboard, column: Column, rows: Sequence[Entry]) -> tuple[float, float]:
    """Worst and best mean."""
    means = [estimate_of(board, column, entry).mean for entry in rows]
    return (min(means), max(means)) if column.higher_is_better else (max(means), min(means))


def _spoke(column: Column, scale: Scale, angle: float) -> str:
    (x, y), (tx, ty) = _polar(RIM, angle), _polar(RIM + 16, angle)
    anchor = "middle" if abs(tx - MIDDLE[0]) < 12 else "start" if tx > MIDDLE[0] else "end"
    return (
        f'<line x1="{MIDDLE[0]}" y1="{MIDDLE[1]}" x2="{x:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        f'<text x="{tx:.1f}" y="{ty + 4:.1f}" text-anchor="{anchor}">{escape(short(column))}'
        f"<title>{escape(column.key)} {column.arrow}: inner ring {scale.low:.4g}, rim {scale.high:.4g}</title></text>"
    )


def _shape(label: str, radii: Sequence[float], angles: Sequence[float], mark: Mark) -> str:
    line = _line([_polar(radius, angle) for radius, angle in zip(radii, angles, strict=True)])
    return (
        f'<g class="series" data-row="{escape(label)}"><title>{escape(label)}</title><polygon points="{line}" '
        f'fill="{mark.colour}" fill-opacity=".06" stroke="{mark.colour}" stroke-width="2" '
        f'stroke-dasharray="{mark.dash}" stroke-linejoin="round"/></g>'
    )


def _ring(points: Sequence[tuple[float, float]]) -> str:
    return f'<polygon points="{_line(points)}" fill="none" stroke="var(--line)"/>'


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return MIDDLE[0] + radius * math.cos(angle), MIDDLE[1] + radius * math.sin(angle)
