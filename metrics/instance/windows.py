"""The two-second windows over which the repository's judge looks at a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import UserError

SECONDS = 2.0  # of a window; one begins every second


@dataclass(frozen=True)
class Window:
    """Frames `first` to `first + frames - 1`."""

    first: int
    frames: int


def windows(frames: int, fps: float) -> tuple[Window, ...]:
    """[i, i+2) s for i = 0 .. floor(duration) - 2; () for a video of less than two seconds.

    What is left after the last whole second is never looked at. Instance_detector/split.py (`split_video`) and test.py
    (`compute_anomaly`) of VBench-2.0; compared with ffmpeg's cuts for 14 pairs of length and rate.

    Raises:
        UserError: there is no frame, or no rate.
    """
    if frames < 1:
        raise UserError("the video has no frames", "write it again")
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"the video plays at {fps} frames a second", "write it again with its rate")
    count = max(0, math.floor(frames / fps) - 1)
    length = math.ceil(SECONDS * fps)
    return tuple(Window(math.ceil(second * fps), length) for second in range(count))
