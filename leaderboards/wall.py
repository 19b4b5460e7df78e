"""A wall of clips: one video in which the first clips of a run play together, large enough for any player."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import video
from harness.errors import UserError
from harness.store import RunDir

COLUMNS, ROWS = 4, 3
HEIGHT = 160  # pixels of a clip, about: small ones are enlarged by a whole factor, large ones made smaller
GAP = 4

Frames = NDArray[np.uint8]  # [T, H, W, 3]


def write_wall(run: RunDir, path: Path) -> int:
    """Write the wall of a run's first clips; how many are on it. Without a clip that can be read, no file and 0."""
    shown = []
    for row in run.clips()[: COLUMNS * ROWS]:
        try:
            shown.append(video.read(run / row["file"]))
        except UserError:
            continue  # its scores say that it cannot be read
    if shown:
        video.write(path, wall([_sized(clip.frames) for clip in shown]), shown[0].fps)
    return len(shown)


def wall(clips: list[Frames]) -> Frames:
    """Side by side on black, in rows of four; shorter clips stand still at their end, smaller ones sit top left."""
    length, height, width = (max(clip.shape[axis] for clip in clips) for axis in range(3))
    columns = min(COLUMNS, len(clips))
    lines = -(-len(clips) // columns)
    size = (lines * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    out = np.zeros((length, *(side + side % 2 for side in size), 3), np.uint8)  # H.264 wants even sides
    for number, clip in enumerate(clips):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        held = clip[np.minimum(np.arange(length), len(clip) - 1)]
        out[:, top : top + clip.shape[1], left : left + clip.shape[2]] = held
    return out


def _sized(frames: Frames) -> Frames:
    height, width = frames.shape[1:3]
    factor = HEIGHT // height if height <= HEIGHT else HEIGHT / height
    size, how = (round(width * factor), round(height * factor)), Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, how)) for frame in frames])
