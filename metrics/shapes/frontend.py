"""The reader's fixed first layer: what the network is shown of a clip. Nothing here is learned. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from metrics.shapes.colours import FRAMES, SIZE, Array, colour_masks

WINDOW = 40  # side of the square cut out around a colour's centre, in raster pixels
MOMENTS = 14
PATH_GAIN, STEP_GAIN = 6.0, 24.0  # bring the path about its mean, and its steps, to the scale of the other moments
LAGS = (1, 4)  # frames between which the background's motion is measured
CAMERA = 4 * len(LAGS)


@dataclass(frozen=True)
class Views:
    """What is shown of one clip, float32.

    crops `[6, 17, 3, 40, 40]`: per colour and frame a window around the colour's centre: its mask, the other colours'
    masks, brightness over the background's. moments `[6, 17, 14]`: area, centre, spread, brightness and path per frame.
    camera `[17, 8]`: the background's shift and growth per frame.
    """

    crops: Array
    moments: Array
    camera: Array


def views(video: Array) -> Views:
    """Views of a clip `[17, 64, 64, 3]` in [0, 1]."""
    masks = colour_masks(video)
    grey = video.mean(-1)
    objects = masks.max(0)
    light = grey - np.median(grey)
    moments = np.stack([_moments(m, light) for m in masks])
    centres = np.rint((moments[..., 1:3] + 1) * (SIZE - 1) / 2).astype(int)
    others = [np.delete(masks, k, 0).max(0) for k in range(len(masks))]
    crops = np.stack([_crop(np.stack([masks[k], others[k], light], 1), centres[k]) for k in range(len(masks))])
    return Views(crops, moments, camera_features(grey, objects))


def _moments(mask: Array, light: Array) -> Array:
    """`[17, 14]` of one colour's mask `[17, 64, 64]`, frame by frame.

    Area, x, y, sd x, sd y, correlation, peak, brightness, log area, certainty of the centre; then x and y about
    their means over the clip, and their steps since the frame before. Lengths in half frames. A prior of two pixels
    at the middle of the frame keeps the centre defined where the colour is absent.
    """
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    weight = mask * mask
    mass = weight.sum((1, 2))
    total = mass + 2
    column, row = weight.sum(1), weight.sum(2)  # over y -> profile in x; over x -> profile in y
    x, y = column @ axis / total, row @ axis / total
    var_x = (column * (axis - x[:, None]) ** 2).sum(1) / total
    var_y = (row * (axis - y[:, None]) ** 2).sum(1) / total
    cov = np.einsum("fyx,fy,fx->f", weight, axis - y[:, None], axis - x[:, None], optimize=True) / total
    bright = (weight * light).sum((1, 2)) / total
    out = [mass / 200, x, y, np.sqrt(var_x), np.sqrt(var_y), cov / (np.sqrt(var_x * var_y) + 1e-3)]
    out += [mask.max((1, 2)), bright, np.log1p(mass) / 5, mass / total]
    for place in (x, y):
        out += [PATH_GAIN * (place - place.mean()), STEP_GAIN * np.diff(place, prepend=place[:1])]
    return np.stack(out, -1).astype(np.float32)


def _crop(planes: Array, centres: np.ndarray) -> Array:
    """Windows `[17, C, 40, 40]` of planes `[17, C, 64, 64]` around centres `[17, 2]` (x, y), zero outside the frame."""
    half = WINDOW // 2
    padded = np.pad(planes, ((0, 0), (0, 0), (half, half), (half, half)))
    return np.stack([p[:, y : y + WINDOW, x : x + WINDOW] for p, (x, y) in zip(padded, centres, strict=True)])


def camera_features(grey: Array, objects: Array) -> Array:
    """`[17, 8]`: for each lag the background's (u, v, growth, offset) between frames t and t + lag; zero past the end.

    Least squares on brightness constancy, g_t + g_x (u + s x) + g_y (v + s y) = o, where no object is (Lucas and
    Kanade 1981 with one window, the whole background). Units: pixels per frame, with x, y in [-1, 1].
    """
    smooth = np.stack([cv2.GaussianBlur(g, (0, 0), 1.5) for g in grey])
    spread = float(np.std(smooth)) + 1e-3
    smooth = smooth / spread
    cover = np.stack([cv2.dilate(o, np.ones((7, 7), np.uint8)) for o in objects])
    free = np.clip(1 - 3 * cover, 0, 1)
    free[:, :2], free[:, -2:], free[:, :, :2], free[:, :, -2:] = 0, 0, 0, 0
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    out = np.zeros((FRAMES, CAMERA), np.float32)
    for k, lag in enumerate(LAGS):
        middle = (smooth[:-lag] + smooth[lag:]) / 2
        gy, gx = np.gradient(middle, axis=(1, 2))
        columns = np.stack([gx, gy, gx * axis + gy * axis[:, None], np.ones_like(gx)], -1)
        weight = (free[:-lag] * free[lag:])[..., None]
        normal = np.einsum("fyxi,fyxj->fij", columns * weight, columns, optimize=True) + 1e-2 * np.eye(4)
        right = -np.einsum("fyxi,fyx->fi", columns * weight, smooth[lag:] - smooth[:-lag], optimize=True)
        out[: FRAMES - lag, 4 * k : 4 * k + 4] = np.linalg.solve(normal, right[..., None])[..., 0] / lag
    return np.clip(out, -8, 8)
