"""TRAJAN's evaluation of one clip as pure functions on arrays: colabs/trajan_demo.ipynb of google-deepmind/tapnet, the
only published code of the metric.

Tracks are (x, y). A tracker's pixel p is the one whose centre is at p; the network's positions are (p + 0.5) / side.
The colab draws without a seed; here every draw comes from a generator that the caller seeds from the clip's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

SIDE = 256  # pixels of the square to which frames are brought before they are tracked

Tracks = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Episode:
    """What the network is given of one clip, padded to its number of frames T, and what it should answer.

    support `[S, T, 2]` and targets `[Q, T, 2]` in [0, 1], zero in padding; support_visible `[S, T]` and target_visible
    `[Q, T]`; queries float32 `[Q, 3]` (t, x, y); boundary: the clip's number of frames, also where T is less.
    """

    support: Tracks
    support_visible: Flags
    queries: Tracks
    targets: Tracks
    target_visible: Flags
    boundary: int

    @property
    def frames(self) -> int:
        """How many of the T frames are the clip's."""
        return min(self.boundary, self.targets.shape[1])


def resize(frames: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """`[F, H, W, 3]` -> `[F, side, side, 3]`, the aspect ratio not kept: Pillow's Lanczos, as mediapy.resize_video."""
    from PIL import Image

    method = Image.Resampling.LANCZOS
    resized = [np.asarray(Image.fromarray(frame).resize((side, side), method)) for frame in frames]
    return np.stack(resized) if resized else np.zeros((0, side, side, 3), np.uint8)


def draw_queries(frames: int, count: int, rng: np.random.Generator, side: int = SIDE) -> Tracks:
    """Whole (t, x, y) anywhere in the clip, float32 `[count, 3]`; sample_random_points of the colab.

    The colab can draw t = frames, one past the end; not here.
    """
    when = rng.integers(0, frames, count)
    return np.stack([when, *rng.integers(0, side, (2, count))], -1).astype(np.float32)


def normalise(tracks: Tracks, height: int, width: int, side: int = SIDE) -> Tracks:
    """Tracks in pixels of the square to [0, 1] of the clip, as the colab: scaled to the clip's pixels, plus one half,
    over its size. (A clip of another size than the square thereby moves by less than half a pixel of the square.)"""
    size = np.array([width, height])
    return ((tracks * (size / side) + 0.5) / size).astype(np.float32)


def fit(array: NDArray[Any], length: int) -> NDArray[Any]:
    """The first `length` frames of `[N, F, ...]`; zeros after the last one."""
    array = array[:, :length]
    return np.pad(array, [(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)])


def make_episode(
    tracks: Tracks, visible: Flags, length: int, support: int, targets: int, rng: np.random.Generator
) -> Episode:
    """Split tracks at random, and ask for each target from a random frame in which it is visible.

    ProcessTracksForTrackAutoencoder of the colab: the last of the shuffled tracks are support, the first targets; one
    that is never visible is asked for from frame 0.

    Args:
        tracks: `[N, F, 2]` in [0, 1]. visible: `[N, F]`.
        length: frames of the network; a longer clip loses its end.

    Raises:
        UserError: there are fewer than support + targets tracks.
    """
    count, frames = visible.shape
    if count < support + targets:
        raise UserError(f"{count} tracks are too few for {support} support and {targets} target tracks", "track more")
    order = rng.permutation(count)
    shown, asked = order[count - support :], order[:targets]
    tracks, visible = fit(tracks, length).astype(np.float32), fit(visible, length)
    when = np.array([draw_frame(row, rng) for row in visible[asked]], np.int64)
    places = tracks[asked, when]
    return Episode(
        support=tracks[shown],
        support_visible=visible[shown],
        queries=np.concatenate([when[:, None].astype(np.float32), places], 1),
        targets=tracks[asked],
        target_visible=visible[asked],
        boundary=frames,
    )


def draw_frame(visible: Flags, rng: np.random.Generator) -> int:
    """A random frame of those that are visible; 0 if none is."""
    seen = np.flatnonzero(visible)
    return int(rng.choice(seen)) if len(seen) else 0
