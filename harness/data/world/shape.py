"""The look of things in their own coordinates, where the radius is 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

_HALF_ROOT3 = np.float32(0.8660254)
_TEXTURE = np.float32(0.14)  # relative swing of the brightness
_BEVEL = np.float32(0.07)  # light comes from the upper left


def distance(shape: str, x: Planes, y: Planes) -> Planes:
    """Signed distance to the outline in radii (a bound of it at corners), negative inside."""
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.84)
    if shape == "triangle":  # normals (0, 1) and (+-sqrt 3 / 2, -1 / 2), all 0.62 from the centroid
        slant = np.abs(x) * _HALF_ROOT3 - y * np.float32(0.5)
        return np.maximum(slant, y) - np.float32(0.62)
    if shape == "cross":
        x, y = np.abs(x), np.abs(y)
        return np.maximum(np.minimum(x, y) - np.float32(0.33), np.maximum(x, y) - np.float32(1.06))
    rho = np.sqrt(x * x + y * y)
    if shape == "ring":
        return np.abs(rho - np.float32(0.76)) - np.float32(0.28)
    return rho - np.float32(0.98)


def wave(phase: Planes) -> Planes:
    """A smooth wave of period 1 and range [-1, 1], made of parabolas: sine within 6 %."""
    z = (phase - np.floor(phase)) * np.float32(2) - np.float32(1)
    return z * (np.abs(z) - np.float32(1)) * np.float32(4)


def shading(texture: str, x: Planes, y: Planes, right: Planes, down: Planes) -> Planes:
    """Brightness around 1: the texture turns with the thing (x, y), the bevel stays with the light (right, down)."""
    bevel = np.float32(1) - (right + down) * _BEVEL
    if texture == "striped":
        return bevel + wave(x * np.float32(1.25)) * _TEXTURE
    if texture == "dotted":
        dots = wave(x * np.float32(1.3) + np.float32(0.25)) + wave(y * np.float32(1.3) + np.float32(0.25))
        return bevel + (dots * np.abs(dots)) * (_TEXTURE * np.float32(0.4))
    if texture == "checked":
        return bevel + wave(x * np.float32(0.7)) * wave(y * np.float32(0.7)) * _TEXTURE
    return bevel
