"""Damage that a generator or a codec does, for training the reader on more than clean clips. NumPy only."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.fft import dctn, idctn

from metrics.shapes.colours import Array

CLEAN_SHARE = 0.2  # of the training clips, left as rendered
BLOCK = (4, 8, 8)  # frames, rows, columns of the codec's blocks


def augment(video: Array, rng: np.random.Generator) -> Array:
    """A damaged copy of a clip `[17, 64, 64, 3]` in [0, 1]: each kind of damage is drawn on its own."""
    if rng.random() < CLEAN_SHARE:
        return video
    kinds = ((_grade, 0.6), (_blur, 0.4), (_fade, 0.3), (_codec, 0.5), (_blotch, 0.3), (_noise, 0.4))
    for damage, share in kinds:
        if rng.random() < share:
            video = damage(video, rng)
    return np.clip(video, 0, 1).astype(np.float32)


def _grade(video: Array, rng: np.random.Generator) -> Array:
    """Gain, offset and saturation of the whole clip, and a slight cast."""
    grey = video.mean(-1, keepdims=True)
    tinted = (grey + (video - grey) * rng.uniform(0.65, 1.15)) * rng.uniform(0.96, 1.04, 3)
    return (tinted * rng.uniform(0.8, 1.15) + rng.uniform(-0.05, 0.05)).astype(np.float32)


def _blur(video: Array, rng: np.random.Generator) -> Array:
    sigma = rng.uniform(0.3, 1.3)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in video])


def _fade(video: Array, rng: np.random.Generator) -> Array:
    """Each frame takes on a share of its neighbours, as a low pass over time does."""
    share = np.float32(rng.uniform(0.05, 0.25))
    before, after = np.concatenate([video[:1], video[:-1]]), np.concatenate([video[1:], video[-1:]])
    return (1 - 2 * share) * video + share * (before + after)


def _codec(video: Array, rng: np.random.Generator) -> Array:
    """DCT of blocks of 4 frames x 8 x 8 pixels, quantised or cut off; the first frame is repeated to make 20."""
    f, h, w = BLOCK
    padded = np.concatenate([np.repeat(video[:1], -len(video) % f, 0), video])
    n, rows, columns, _ = padded.shape
    blocks = padded.reshape(n // f, f, rows // h, h, columns // w, w, 3)
    waves = dctn(blocks, axes=(1, 3, 5), norm="ortho")
    depth, row, column = np.ix_(*(np.arange(k, dtype=np.float32) / k for k in BLOCK))
    rank = (depth + row + column)[None, :, None, :, None, :, None]  # fineness of a wave, 0 to 2.5
    if rng.random() < 0.5:
        step = np.float32(rng.uniform(0.1, 1.0)) * (0.4 + rank)
        waves = np.rint(waves / step) * step
    else:
        waves = waves * (rank < rng.uniform(0.25, 0.7))
    coded = idctn(waves, axes=(1, 3, 5), norm="ortho")
    return coded.reshape(padded.shape)[-len(video) :].astype(np.float32)


def _blotch(video: Array, rng: np.random.Generator) -> Array:
    """Smooth coloured clouds that drift a little, like a generator's residue."""
    level = rng.uniform(0.01, 0.05)
    seeds = rng.normal(0, level, (len(video), 8, 8, 3)).astype(np.float32)
    seeds = 0.7 * seeds.mean(0, keepdims=True) * len(video) ** 0.5 + 0.7 * seeds
    return video + np.stack([cv2.resize(s, video.shape[2:0:-1], interpolation=cv2.INTER_CUBIC) for s in seeds])


def _noise(video: Array, rng: np.random.Generator) -> Array:
    return video + rng.normal(0, rng.uniform(0.005, 0.05), video.shape).astype(np.float32)
