"""Where things are and how far they go.

Lengths are in units: the shorter side of the frame is 64 units; the centre is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.data.world.casting import Cast, Thing
from harness.data.world.dice import Dice, fix

SIDE = 64.0
PULSE = 0.22  # relative swing of the radius
_RADIUS = {"small": (7.6, 8.6), "large": (11.0, 12.6)}
_ROOM = {"still": (32.0, 32.0), "pan": (25.0, 32.0), "zoom": (27.0, 27.0)}  # half sides of the area for envelopes
_REACH = 1.08  # half width of the widest shape over its radius
_TRIES = 24


@dataclass(frozen=True)
class Body:
    """The numbers of one thing. `span` is the length of a path, the height of a hop or the radius of an orbit."""

    x: float
    y: float
    radius: float
    span: float
    rate: float  # cycles per second, or cycles per clip for a zigzag
    phase: float  # in cycles
    turn: int  # +1 or -1: sense of a rotation, direction of a path
    tilt: float  # in turns


@dataclass(frozen=True)
class Ripple:
    """One plane wave of the background: `gain * wave(kx x + ky y + phase)`."""

    kx: float
    ky: float
    phase: float
    gain: float


# motion -> (slow span, fast span, slow rate, fast rate), each a range
_GAITS: dict[str, tuple[tuple[float, float], ...]] = {
    "still": ((0, 0), (0, 0), (0, 0), (0, 0)),
    "drift": ((15, 17), (20, 23), (0, 0), (0, 0)),
    "bounce": ((13.5, 15), (13.5, 15), (1.0, 1.1), (1.4, 1.6)),
    "orbit": ((7.0, 8.0), (7.0, 8.0), (0.30, 0.36), (0.48, 0.58)),
    "zigzag": ((16, 17), (16, 17), (1.5, 1.6), (2.0, 2.2)),
    "occlude": ((0, 0), (0, 0), (0, 0), (0, 0)),
    "pulse": ((0, 0), (0, 0), (0.8, 0.9), (1.15, 1.3)),
    "flicker": ((0, 0), (0, 0), (1.0, 1.1), (1.4, 1.6)),
    "spin": ((0, 0), (0, 0), (0.28, 0.33), (0.45, 0.55)),
    "morph": ((0, 0), (0, 0), (0, 0), (0, 0)),
}
ZIGZAG = 5.5  # half height of a zigzag


def lay_out(cast: Cast, dice: Dice) -> tuple[Body, ...]:
    """Bodies of all things, in order; the envelopes of their motions overlap as little as twice 24 tries allow."""
    loose = [_draw_body(dice, thing) for thing in cast.things]
    for i, thing in enumerate(cast.things):
        if thing.behind is not None:  # from beside the cover to its other side
            loose[i] = replace(loose[i], span=fix(2.1 * (loose[i].radius + loose[thing.behind].radius)))
    blocks = [i for i, thing in enumerate(cast.things) if thing.behind is None]
    sizes = [_envelope(i, cast, loose) for i in blocks]
    centres = dict(zip(blocks, _place(dice, sizes, cast.camera.split()[0]), strict=True))
    bodies = []
    for i, thing in enumerate(cast.things):
        x, y = centres[i if thing.behind is None else thing.behind]
        bodies.append(replace(loose[i], x=x, y=y))
    return tuple(bodies)


def ripples(cast: Cast, dice: Dice) -> tuple[Ripple, ...]:
    """Plane waves of the background; the strongest runs mostly along x, so that a pan is always visible."""
    turn = dice.between(-0.5, 0.5)  # slope of the wave vector
    if cast.pattern == "striped":
        slopes, gains = [(1.0, turn), (-turn, 1.0)], [0.8, 0.2]
    elif cast.pattern == "dotted":
        slopes, gains = [(1.0, turn), (-turn, 1.0)], [0.5, 0.5]
    else:
        slopes, gains = [(1.0, turn), (0.5, 0.9), (-0.6, 0.7), (0.2, -1.0)], [0.35, 0.25, 0.25, 0.15]
    waves = []
    length = dice.between(20, 28)  # units
    for (a, b), gain in zip(slopes, gains, strict=True):
        stretch = length * (dice.between(0.9, 1.4) if cast.pattern == "cloudy" else 1.0)
        norm = (a * a + b * b) ** 0.5 * stretch
        waves.append(Ripple(fix(a / norm), fix(b / norm), dice.between(0, 1), gain))
    return tuple(waves)


def _draw_body(dice: Dice, thing: Thing) -> Body:
    fast = int(thing.speed == "quickly")
    gait = _GAITS[thing.motion]
    return Body(
        x=0.0,
        y=0.0,
        radius=dice.between(*_RADIUS[thing.size]),
        span=dice.between(*gait[fast]),
        rate=dice.between(*gait[2 + fast]),
        phase=dice.between(0, 1),
        turn=dice.sign(),
        tilt=dice.between(-0.03, 0.03),
    )


def _envelope(i: int, cast: Cast, bodies: list[Body]) -> tuple[float, float]:
    """Half width and half height of all the places thing `i`, and what passes behind it, will be."""
    thing, body = cast.things[i], bodies[i]
    r = _REACH * body.radius * (1 + PULSE if thing.motion == "pulse" else 1)
    half = body.span / 2
    if any(t.behind == i for t in cast.things):
        passer = next(b for b, t in zip(bodies, cast.things, strict=True) if t.behind == i)
        return passer.span / 2 + passer.radius, r
    if thing.motion == "drift":
        return (r + half, r) if thing.direction in ("left", "right") else (r, r + half)
    if thing.motion == "bounce":
        return r, r + half
    if thing.motion == "orbit":
        return r + body.span, r + body.span
    if thing.motion == "zigzag":
        return r + half, r + ZIGZAG
    return r, r


def _place(dice: Dice, sizes: list[tuple[float, float]], move: str) -> list[tuple[float, float]]:
    """Centres of rectangles with the given half sides: anywhere first, then towards distinct corners."""
    wide, high = _ROOM[move]
    corners = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    best: tuple[float, list[tuple[float, float]]] = (float("inf"), [])
    for attempt in range(2 * _TRIES):
        if attempt < _TRIES:
            wish = [(dice.between(-1, 1), dice.between(-1, 1)) for _ in sizes]
        else:
            wish = [(a * dice.between(0.9, 1), b * dice.between(0.9, 1)) for a, b in dice.sample(corners, len(sizes))]
        centres = [
            (fix(a * max(0.0, wide - hx)), fix(b * max(0.0, high - hy)))
            for (a, b), (hx, hy) in zip(wish, sizes, strict=True)
        ]
        cost = _overlap(centres, sizes)
        if cost < best[0]:
            best = cost, centres
        if cost == 0:
            break
    return best[1]


def _overlap(centres: list[tuple[float, float]], sizes: list[tuple[float, float]]) -> float:
    total = 0.0
    for i in range(len(sizes)):
        for j in range(i):
            dx = sizes[i][0] + sizes[j][0] - abs(centres[i][0] - centres[j][0])
            dy = sizes[i][1] + sizes[j][1] - abs(centres[i][1] - centres[j][1])
            total += max(0.0, dx) * max(0.0, dy)
    return total
