"""Where every thing and the camera are at every frame.

Paths (drift, zigzag, passing behind, morphing, the camera's) are travelled once per clip whatever its length; cycles
(bounce, orbit, pulse, flicker, spin) run in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.api import ClipSpec
from harness.data.world.casting import Thing
from harness.data.world.dice import fix
from harness.data.world.knobs import Knobs
from harness.data.world.layout import PULSE, ZIGZAG, Body
from harness.data.world.staging import Scene

PAN = 16.0  # units per clip
ZOOM = 1.5  # factor per clip
_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Pose:
    """One thing at one moment: centre and radius in units, its angle, its brightness, the share of `morph_to`."""

    x: float
    y: float
    radius: float
    cos: float
    sin: float
    gain: float
    blend: float


@dataclass(frozen=True)
class View:
    """The camera at one moment: what world point is at the centre, and the magnification."""

    x: float
    zoom: float


def clock(spec: ClipSpec, knobs: Knobs) -> list[tuple[float, float]]:
    """(progress through the clip, seconds) of every frame, after pace and freezing, before shuffling."""
    last = spec.frames - 1
    stop = (1 - knobs.frozen) * last
    ticks = []
    for frame in range(spec.frames):
        progress = knobs.start + knobs.pace * (min(frame, stop) / last if last else 0.0)
        ticks.append((progress, progress * last / spec.fps))
    return ticks


def poses(scene: Scene, ticks: list[tuple[float, float]]) -> list[list[Pose]]:
    """`[thing][frame]`."""
    pairs = zip(scene.cast.things, scene.bodies, strict=True)
    return [[_pose(thing, body, p, t) for p, t in ticks] for thing, body in pairs]


def views(camera: str, ticks: list[tuple[float, float]]) -> list[View]:
    """`[frame]`; the middle of the clip is at the world's centre with magnification 1."""
    sign = {"left": -1, "right": 1, "in": 1, "out": -1}.get(camera.split()[-1], 0)
    if camera.startswith("pan"):
        return [View(fix(sign * PAN * (p - 0.5)), 1.0) for p, _ in ticks]
    return [View(0.0, fix(math.exp(sign * math.log(ZOOM) * (p - 0.5)))) for p, _ in ticks]


def _pose(thing: Thing, body: Body, p: float, t: float) -> Pose:
    dx, dy = _offset(thing, body, p, t)
    cycle = 2 * math.pi * (body.rate * t + body.phase)
    radius = body.radius * (1 + PULSE * math.sin(cycle)) if thing.motion == "pulse" else body.radius
    gain = 0.76 + 0.26 * math.sin(cycle) if thing.motion == "flicker" else 1.0
    angle = 2 * math.pi * (body.tilt + (body.turn * body.rate * t if thing.motion == "spin" else 0.0))
    return Pose(
        x=fix(body.x + dx),
        y=fix(body.y + dy),
        radius=fix(radius),
        cos=fix(math.cos(angle)),
        sin=fix(math.sin(angle)),
        gain=fix(gain),
        blend=_ease((p - 0.2) / 0.6) if thing.motion == "morph" else 0.0,
    )


def _offset(thing: Thing, body: Body, p: float, t: float) -> tuple[float, float]:
    """From the middle of the envelope to the thing, in units."""
    along = body.span * (p - 0.5)
    if thing.direction is not None:
        step = _STEPS[thing.direction]
        return step[0] * along, step[1] * along
    if thing.motion == "occlude":
        return body.turn * along, 0.0
    if thing.motion == "zigzag":
        q = (body.rate * p + body.phase) % 1
        return body.turn * along, ZIGZAG * (4 * abs(q - 0.5) - 1)
    if thing.motion == "bounce":
        q = (body.rate * t + body.phase) % 1
        return 0.0, body.span * (0.5 - 4 * q * (1 - q))
    if thing.motion == "orbit":
        angle = 2 * math.pi * (body.turn * body.rate * t + body.phase)
        return body.span * math.cos(angle), body.span * math.sin(angle)
    return 0.0, 0.0


def _ease(s: float) -> float:
    s = min(1.0, max(0.0, s))
    return fix(s * s * (3 - 2 * s))
