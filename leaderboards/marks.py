"""A row's mark: one of seven colours and one of five shapes, the same in every table and plot.

The colours are variables of the page (`--hue0` to `--hue6` in `web/page.css`), after Paul Tol's "bright" scheme
(Introduction to Colour Schemes, SRON/EPS/TN/09-002, 2021), which people of every colour vision can tell apart; the
shape tells rows of one colour apart.
"""

from __future__ import annotations

from dataclasses import dataclass

HUES = ("#4477aa", "#cc3b53", "#228833", "#b89b12", "#2fa3cf", "#aa3377", "#7a7f87")  # as on a light page
SHAPES = (
    "M{a} 0A{a} {a} 0 1 1 -{a} 0A{a} {a} 0 1 1 {a} 0Z",  # circle
    "M-{b} -{b}H{b}V{b}H-{b}Z",  # square
    "M0 -{c}L{c} 0L0 {c}L-{c} 0Z",  # diamond
    "M0 -{c}L{c} {b}H-{c}Z",  # triangle
    "M0 {c}L{c} -{b}H-{c}Z",  # triangle on its point
)
SHADES = ((0, 0.0), (255, 0.45), (0, 0.4), (255, 0.7), (0, 0.65))  # towards black or white, and how far, by shape
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 5")  # of lines, by shape


@dataclass(frozen=True)
class Mark:
    """Of the row with this number, counted from 0 in alphabetical order."""

    number: int

    @property
    def colour(self) -> str:
        return f"var(--hue{self.number % len(HUES)})"

    @property
    def shade(self) -> str:
        """Where there are no shapes, `#rrggbb`: lighter or darker instead."""
        white, share = SHADES[self._shape]
        hue = bytes.fromhex(HUES[self.number % len(HUES)][1:])
        return "#" + bytes(round(value + (white - value) * share) for value in hue).hex()

    @property
    def dash(self) -> str:
        return DASHES[self._shape]

    @property
    def _shape(self) -> int:
        return self.number // len(HUES) % len(SHAPES)

    def path(self, radius: float) -> str:
        """The shape around (0, 0), as the `d` of an SVG path."""
        return SHAPES[self._shape].format(a=f"{radius:g}", b=f"{0.86 * radius:.3g}", c=f"{1.2 * radius:.3g}")

    def icon(self) -> str:
        """As a picture within a line of text."""
        return (
            f'<svg class="mark" viewBox="-7 -7 14 14" aria-hidden="true"><path d="{self.path(5)}" '
            f'fill="{self.colour}"/></svg>'
        )


def marks(labels: list[str]) -> dict[str, Mark]:
    """Of every row, whatever order the rows come in."""
    return {label: Mark(number) for number, label in enumerate(sorted(labels))}
