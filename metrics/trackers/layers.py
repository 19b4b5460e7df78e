"""Videos whose every point's path is known exactly: textured discs that move over one another.

A layer moves by a similarity, written as complex numbers: its point u is at z(t) = centre(t) + turn(t) u, x + iy in
pixels. Tracks, occlusions and pixels follow from the same four functions, so the truth is exact but for rendering.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.trackers.accuracy import QueryMode

SIDE, FRAMES, LAYERS = 256, 48, 5
NOISE = 2.0  # grey levels, standard deviation, of every pixel and channel
STRIDE = 5  # frames between those that queries are in, TAP-Vid's strided mode

Texture = Literal["noise", "natural"]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Layer:
    """A disc of texture and how it moves; its radius is infinite for the background."""

    texture: NDArray[np.float32]  # [S, S, 3]; its middle is u = 0
    start: complex
    velocity: complex  # pixels a frame
    sway: complex  # pixels, amplitude
    spin: float  # radians a frame
    growth: float  # a frame, of the logarithm of its size
    radius: float

    def turn(self, t: NDArray[Any]) -> Complex:
        return np.asarray(np.exp((self.growth + 1j * self.spin) * (t - FRAMES / 2)))

    def centre(self, t: NDArray[Any]) -> Complex:
        return np.asarray(self.start + self.velocity * (t - FRAMES / 2) + self.sway * np.sin(2 * np.pi * t / FRAMES))

    def inverse(self, z: Complex, t: NDArray[Any]) -> Complex:
        """The layer's point that is at z at time t."""
        return np.asarray((z - self.centre(t)) / self.turn(t))

    def outside(self, u: Complex, t: NDArray[Any]) -> NDArray[np.float64]:
        """How many pixels the layer's point u is outside the disc; negative inside."""
        return np.asarray((np.abs(u) - self.radius) * np.abs(self.turn(t)))


@dataclass(frozen=True)
class Layered:
    """A rendered clip and its layers, background first."""

    video: NDArray[np.uint8]  # [T, H, W, 3]
    layers: tuple[Layer, ...]

    def top(self, z: Complex, t: NDArray[Any]) -> NDArray[np.int64]:
        """Which layer shows at z at time t (broadcast against each other)."""
        shown = np.zeros(np.broadcast_shapes(z.shape, t.shape), np.int64)
        for index, layer in enumerate(self.layers[1:], start=1):
            shown[layer.outside(layer.inverse(z, t), t) < 0] = index
        return shown

    def tracks(self, queries: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Of points `[N, 3]` (t, x, y): where each goes `[N, T, 2]`, and whether it shows inside the frame `[N, T]`."""
        when, start = queries[:, 0], queries[:, 1] + 1j * queries[:, 2]
        owner, t = self.top(start, when), np.arange(FRAMES)
        z = np.zeros((len(queries), FRAMES), np.complex128)
        for index, layer in enumerate(self.layers):
            own = owner == index
            z[own] = layer.centre(t) + layer.turn(t) * layer.inverse(start[own], when[own])[:, None]
        tracks = np.stack([z.real, z.imag], -1)
        inside = ((tracks >= -0.5) & (tracks < SIDE - 0.5)).all(-1)
        return tracks, inside & (self.top(z, t) == owner[:, None])


def layered(seed: int, texture: Texture = "noise", speed: float = 1.0) -> Layered:
    """A background and five layers, the later above the earlier, 48 frames of 256x256.

    Args:
        speed: pixels a frame that layers move at, on average; spin, growth and the background's motion go with it.
    """
    rng = np.random.default_rng([seed, round(speed * 1000), texture == "natural"])
    layers = [_layer(rng, texture, 0.6 * speed, np.inf)]
    layers += [_layer(rng, texture, speed * rng.uniform(0.6, 1.4), rng.uniform(28, 56)) for _ in range(LAYERS)]
    frames = np.stack([_frame(layers, t) for t in range(FRAMES)])
    frames += rng.normal(0, NOISE, frames.shape).astype(np.float32)
    return Layered(frames.round().clip(0, 255).astype(np.uint8), tuple(layers))


def draw_queries(seed: int, count: int, mode: QueryMode) -> NDArray[np.float64]:
    """Random points `[count, 3]` (t, x, y): of frame 0 in mode "first", of every fifth frame in mode "strided"."""
    rng = np.random.default_rng([seed, 1])
    when = np.zeros(count) if mode == "first" else rng.choice(np.arange(0, FRAMES, STRIDE), count)
    return np.column_stack([when, rng.uniform(0, SIDE - 1, (count, 2))])


def _layer(rng: np.random.Generator, texture: Texture, speed: float, radius: float) -> Layer:
    heading = rng.uniform(0, 2 * np.pi, 2)
    middle = complex(*(rng.uniform(0.2, 0.8, 2) * SIDE)) if np.isfinite(radius) else complex(SIDE / 2, SIDE / 2)
    return Layer(
        texture=_noise(rng) if texture == "noise" else _photograph(rng),
        start=middle,
        velocity=speed * np.exp(1j * heading[0]),
        sway=4 * speed * np.exp(1j * heading[1]),
        spin=speed * rng.uniform(-0.008, 0.008),
        growth=speed * rng.uniform(-0.003, 0.003),
        radius=radius,
    )


def _frame(layers: list[Layer], t: int) -> NDArray[np.float32]:
    import cv2

    y, x = np.mgrid[:SIDE, :SIDE]
    z, now = x + 1j * y, np.asarray(float(t))
    frame = np.zeros((SIDE, SIDE, 3), np.float32)
    for layer in layers:
        u = layer.inverse(z, now)
        at = [(part + (len(layer.texture) - 1) / 2).astype(np.float32) for part in (u.real, u.imag)]
        seen = cv2.remap(layer.texture, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        cover = np.clip(0.5 - layer.outside(u, now), 0, 1).astype(np.float32)[..., None]
        frame += cover * (seen - frame)
    return frame


def _noise(rng: np.random.Generator, size: int = 512) -> NDArray[np.float32]:
    """Coloured noise, blurred by 2 pixels, about a mean colour of its own."""
    import cv2

    smooth = cv2.GaussianBlur(rng.normal(size=(size, size, 3)).astype(np.float32), (0, 0), 2)
    return np.asarray(rng.uniform(80, 176, 3) + 40 * smooth / smooth.std(), np.float32)


def _photograph(rng: np.random.Generator, size: int = 360) -> NDArray[np.float32]:
    """A random crop, turned and mirrored, of one of scikit-learn's two photographs, 427x640."""
    picture = _photographs()[rng.integers(2)]
    top, left = (int(rng.integers(0, side - size)) for side in picture.shape[:2])
    crop = np.rot90(picture[top : top + size, left : left + size], int(rng.integers(4)))
    return np.ascontiguousarray(crop[:, ::-1] if rng.integers(2) else crop, np.float32)


@cache
def _photographs() -> tuple[NDArray[np.uint8], ...]:
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)
