"""From a scene to pixels. Only + - * / sqrt floor min max abs on float32: the same bits everywhere.

Image coordinates are continuous: pixel i covers [i, i + 1], its centre is at i + 0.5; y points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec
from harness.data.world.degrade import degrade, frame_order
from harness.data.world.knobs import Knobs
from harness.data.world.layout import SIDE
from harness.data.world.motion import Pose, View, clock, poses, views
from harness.data.world.shape import distance, shading, wave
from harness.data.world.staging import Scene

Planes = NDArray[np.float32]

_PAINT = {
    "red": (208, 58, 54),
    "green": (58, 166, 80),
    "blue": (64, 108, 216),
    "yellow": (226, 192, 62),
    "purple": (158, 76, 190),
    "white": (224, 224, 224),
}
_GROUND = {"dark": (46.0, 17.0), "grey": (94.0, 22.0)}  # base level and swing of the background
_RAMP = 2.5  # width of a soft edge, units
_HALO, _DEPTH = 7.0, 0.4  # width in units and strength of the soft shadow around a thing
_MARGIN = 1.25  # patch half width over a thing's radius


@dataclass(frozen=True)
class Patch:
    """A thing's window in the padded canvas: top-left corners `[F]`, coverage `[F, S, S]`, paint `[F, 3, S, S]`."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    alpha: Planes
    halo: Planes
    paint: Planes


def render(scene: Scene, spec: ClipSpec | None = None, knobs: Knobs | None = None) -> NDArray[np.uint8]:
    """Frames uint8 `[F, H, W, 3]` RGB."""
    spec, knobs = spec or ClipSpec(), knobs or Knobs()
    ticks = clock(spec, knobs)
    eyes = views(scene.cast.camera, ticks)
    patches = draw_patches(scene, spec, poses(scene, ticks), eyes)
    pad = max(patch.alpha.shape[-1] for patch in patches)
    canvas = _ground(scene, spec, eyes, pad)
    for i in draw_order(scene):
        _blend(canvas, patches[i], pad)
    inner = canvas[:, :, pad : pad + spec.height, pad : pad + spec.width]
    frames = np.floor(np.minimum(np.maximum(inner, 0), 255) + np.float32(0.5)).astype(np.uint8)
    frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))
    return degrade(frames[frame_order(scene, spec, knobs)], scene, knobs)


def draw_order(scene: Scene) -> list[int]:
    """Indices of things from far to near."""
    return sorted(range(len(scene.bodies)), key=lambda i: scene.cast.things[i].behind is None)


def draw_patches(scene: Scene, spec: ClipSpec, moves: list[list[Pose]], eyes: list[View]) -> list[Patch]:
    """One patch per thing, in caption order."""
    return [_patch(scene, i, spec, moves[i], eyes) for i in range(len(moves))]


def project(x: float, y: float, eye: View, spec: ClipSpec) -> tuple[float, float]:
    """Image coordinates of a world point."""
    scale = min(spec.height, spec.width) / SIDE * eye.zoom
    return spec.width / 2 + scale * (x - eye.x), spec.height / 2 + scale * y


def _patch(scene: Scene, i: int, spec: ClipSpec, moves: list[Pose], eyes: list[View]) -> Patch:
    thing = scene.cast.things[i]
    unit = min(spec.height, spec.width) / SIDE
    centres = [project(p.x, p.y, eye, spec) for p, eye in zip(moves, eyes, strict=True)]
    radii = [p.radius * eye.zoom * unit for p, eye in zip(moves, eyes, strict=True)]
    ramp, halo = max(1.2, _RAMP * unit), max(1.2, _HALO * unit)
    half = int(_MARGIN * max(radii) + halo / 2) + 2
    left = np.array([min(max(int(x // 1) - half, -2 * half), spec.width) for x, _ in centres])
    top = np.array([min(max(int(y // 1) - half, -2 * half), spec.height) for _, y in centres])
    steps: Planes = np.arange(2 * half, dtype=np.float32) + np.float32(0.5)
    dx: Planes = steps[None, None, :] + _column(left - np.array([x for x, _ in centres]))
    dy: Planes = steps[None, :, None] + _column(top - np.array([y for _, y in centres]))
    radius, shrink = _column(radii), _column([1 / r for r in radii])
    cos, sin = _column([p.cos for p in moves]), _column([p.sin for p in moves])
    x, y = (cos * dx + sin * dy) * shrink, (cos * dy - sin * dx) * shrink
    d = distance(thing.shape, x, y)
    if thing.morph_to is not None:
        blend = _column([p.blend for p in moves])
        d = d * (1 - blend) + distance(thing.morph_to, x, y) * blend
    d = d * radius
    light = shading(thing.texture, x, y, dx * shrink, dy * shrink) * _column([p.gain for p in moves])
    paint = np.array(_PAINT[thing.colour], np.float32)[None, :, None, None] * light[:, None]
    return Patch(top, left, _cover(d, ramp), _cover(d, halo), paint)


def _cover(d: Planes, ramp: float) -> Planes:
    """Coverage in [0, 1] of a pixel at signed distance d (pixels): a linear edge `ramp` pixels wide."""
    return np.minimum(np.maximum(np.float32(0.5) - d / np.float32(ramp), np.float32(0)), np.float32(1))


def _column(values: object) -> Planes:
    return np.asarray(values, dtype=np.float64).astype(np.float32)[:, None, None]


def _ground(scene: Scene, spec: ClipSpec, eyes: list[View], pad: int) -> Planes:
    """The background on a canvas `[F, 3, H + 2 pad, W + 2 pad]`; drawn once when the camera is still."""
    unit = min(spec.height, spec.width) / SIDE
    still = all(eye == eyes[0] for eye in eyes)
    shown = eyes[:1] if still else eyes
    scale = _column([1 / (unit * eye.zoom) for eye in shown])
    x = (np.arange(spec.width, dtype=np.float32) + np.float32(0.5 - spec.width / 2)) * scale
    x = x + _column([eye.x for eye in shown])
    y = ((np.arange(spec.height, dtype=np.float32) + np.float32(0.5 - spec.height / 2)) * scale).transpose(0, 2, 1)
    level = np.zeros((len(shown), spec.height, spec.width), np.float32)
    for r in scene.ripples:
        phase = x * np.float32(r.kx) + np.float32(r.phase) + y * np.float32(r.ky)
        level += wave(phase) * np.float32(r.gain)
    base, swing = _GROUND[scene.cast.tone]
    canvas = np.zeros((spec.frames, 3, spec.height + 2 * pad, spec.width + 2 * pad), np.float32)
    for k in range(3):
        plane = level * np.float32(swing) + np.float32(base + scene.tint[k])
        canvas[:, k, pad : pad + spec.height, pad : pad + spec.width] = plane
    return canvas


def _blend(canvas: Planes, patch: Patch, pad: int) -> None:
    """Paint a thing, and its shadow under it, over the canvas in place."""
    size = patch.alpha.shape[-1]
    keep = (1 - patch.halo * np.float32(_DEPTH)) * (1 - patch.alpha)
    light = patch.paint * patch.alpha[:, None]
    for f, (top, left) in enumerate(zip(patch.top + pad, patch.left + pad, strict=True)):
        window = canvas[f, :, top : top + size, left : left + size]
        window *= keep[f]
        window += light[f]
