"""Ground truth of a rendered scene: who is visible where, and where points went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec
from harness.data.world.casting import Cast
from harness.data.world.degrade import frame_order
from harness.data.world.dice import Dice
from harness.data.world.knobs import Knobs
from harness.data.world.layout import SIDE
from harness.data.world.motion import Pose, View, clock, poses, views
from harness.data.world.rendering import draw_order, draw_patches, project
from harness.data.world.shape import distance
from harness.data.world.staging import POINTS, Scene

POINTS_PER_THING = 12
GROUND_POINTS = 12


@dataclass(frozen=True)
class Truth:
    """Things are in caption order, frames as shown (after freezing and shuffling); coordinates as in `render`."""

    masks: NDArray[np.bool_]  # [F, N, H, W] visible pixels
    boxes: NDArray[np.float64]  # [F, N, 4] x0, y0, x1, y1 of the visible pixels; NaN when there are none
    tracks: NDArray[np.float64]  # [P, F, 2] x, y
    visible: NDArray[np.bool_]  # [P, F]
    owner: NDArray[np.int64]  # [P] index of the thing a point is on, -1 for the background


def describe(cast: Cast) -> dict[str, Any]:
    """The truth in words, JSON-able: what `Row.meta` carries."""
    return {
        "objects": [asdict(thing) for thing in cast.things],
        "camera": cast.camera,
        "background": {"tone": cast.tone, "pattern": cast.pattern},
    }


def truth(scene: Scene, spec: ClipSpec | None = None, knobs: Knobs | None = None) -> Truth:
    """Masks, boxes and point tracks of the clip `render` would make with the same arguments."""
    spec, knobs = spec or ClipSpec(), knobs or Knobs()
    ticks = clock(spec, knobs)
    moves, eyes = poses(scene, ticks), views(scene.cast.camera, ticks)
    masks = _masks(scene, spec, moves, eyes)
    tracks, owner = [], []
    for i, thing in enumerate(scene.cast.things):
        for u, v in _points(thing.shape, scene.dice(POINTS)):
            tracks.append([project(*_carry(u, v, pose), eye, spec) for pose, eye in zip(moves[i], eyes, strict=True)])
            owner.append(i)
    dice, unit = scene.dice(POINTS), min(spec.height, spec.width) / SIDE
    for _ in range(GROUND_POINTS):
        x, y = (dice.between(-0.5, 0.5) * side / unit for side in (spec.width, spec.height))
        tracks.append([project(x, y, eye, spec) for eye in eyes])
        owner.append(-1)
    order = frame_order(scene, spec, knobs)
    paths, owners = np.array(tracks)[:, order], np.array(owner)
    masks = masks[order]
    return Truth(masks, _boxes(masks), paths, _seen(paths, owners, masks), owners)


def _masks(scene: Scene, spec: ClipSpec, moves: list[list[Pose]], eyes: list[View]) -> NDArray[np.bool_]:
    patches = draw_patches(scene, spec, moves, eyes)
    masks = np.zeros((spec.frames, len(patches), spec.height, spec.width), bool)
    for i in draw_order(scene):
        patch, size = patches[i], patches[i].alpha.shape[-1]
        for f in range(spec.frames):
            top, left = int(patch.top[f]), int(patch.left[f])
            y0, x0 = max(top, 0), max(left, 0)
            y1, x1 = min(top + size, spec.height), min(left + size, spec.width)
            if y0 < y1 and x0 < x1:
                own = patch.alpha[f, y0 - top : y1 - top, x0 - left : x1 - left] >= 0.5
                masks[f, :, y0:y1, x0:x1] &= ~own
                masks[f, i, y0:y1, x0:x1] = own
    return masks


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    boxes = np.full((*masks.shape[:2], 4), np.nan)
    for f, i in zip(*np.nonzero(masks.any((2, 3))), strict=True):
        ys, xs = np.nonzero(masks[f, i])
        boxes[f, i] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    return boxes


def _points(shape: str, dice: Dice) -> list[tuple[float, float]]:
    """Points well inside a shape, in radii, in sets that share its symmetry, so that their mean is its centroid."""
    fold = 3 if shape == "triangle" else 4
    cos, sin = (-0.5, 0.75**0.5) if fold == 3 else (0.0, 1.0)
    points: list[tuple[float, float]] = []
    while len(points) < POINTS_PER_THING:
        u, v = dice.between(-1, 1), dice.between(-1, 1)
        inside = distance(shape, np.array([u], np.float32), np.array([v], np.float32))[0]
        if inside > -0.12:
            continue
        for _ in range(fold):
            points.append((u, v))
            u, v = cos * u - sin * v, sin * u + cos * v
    return points


def _carry(u: float, v: float, pose: Pose) -> tuple[float, float]:
    """World position of the point (u, v) of a thing."""
    x = pose.x + pose.radius * (pose.cos * u - pose.sin * v)
    return x, pose.y + pose.radius * (pose.sin * u + pose.cos * v)


def _seen(tracks: NDArray[np.float64], owner: NDArray[np.int64], masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A point is visible when the pixel it falls on shows its owner."""
    frames, _, height, width = masks.shape
    shown = np.where(masks.any(1), masks.argmax(1), -1)  # [F, H, W] owner of each pixel
    column, row = np.floor(tracks[..., 0]).astype(int), np.floor(tracks[..., 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = shown[np.arange(frames)[None], np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return inside & (at == owner[:, None])
