"""VBench's static filter (vbench 0.1.5, cli/static_filter.py): which clips temporal_flickering is measured on.

The official tool goes through `sorted(glob("*.mp4"))` and takes the first five static clips of a prompt, so the samples
of a prompt come in the order of their file names: 0, 1, 10, 11, ..., 19, 2, 20, ..., 24, 3, ..., 9. Which five are kept
depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipInfo, FrameChunk
from metrics.vbench.dynamic_degree import LEAST_SIDE, MEANINGFUL_SIDE, FlowExtractor
from metrics.vbench.per_frame import arithmetic

if TYPE_CHECKING:
    from metrics.vbench.networks.raft import Frame

KEPT = 5  # static samples of a prompt
FASTEST = 0.02  # of a pair's pixels, whose mean speed stands for it

T = TypeVar("T")


def official_order(samples: Iterable[tuple[int, T]]) -> list[T]:
    """Samples of one prompt in the order of the official file names `{prompt}-{number}.mp4`."""
    return [sample for _, sample in sorted(samples, key=lambda numbered: f"{numbered[0]}.mp4")]


def keep_static(samples: Sequence[T], is_static: Callable[[T], bool]) -> list[T]:
    """The first five static ones; those after the fifth are not looked at.

    Args:
        samples: of one prompt, in official order.
    """
    kept: list[T] = []
    for sample in samples:
        if len(kept) == KEPT:
            break
        if is_static(sample):
            kept.append(sample)
    return kept


def threshold(side: int) -> float:
    """Displacement in pixels above which a pair of neighbours moves, for the frame's shorter side."""
    return 3.0 * (side / 256.0)


def allowed(frames: int) -> int:
    """How many pairs of neighbours of a static clip may move."""
    return round(2 * (frames / 16.0))


def pairs_verdict(moving: int, seen: int, pairs: int, most: int) -> bool | None:
    """May the clip be static, for all that its pairs of neighbours say? None while that is open."""
    if moving > most:
        return False
    return True if moving + pairs - seen <= most else None


class StaticClip(FlowExtractor):
    """`[static, pairs moving, allowed, in the clip, computed, whether RAFT has flow at this size]`, float64.

    Static: at most `round(n / 8)` of the n - 1 pairs of neighbours move their fastest 2 % of pixels by more than 3/256
    of the shorter side, and between first and last frame, both ways, they move at most `2 round(n / 8)` times as far.

    Pairs are looked at in order, until the answer is certain; first and last come last, so that only the first and the
    previous frame are held. A clip of which too few pairs are left to change the answer jumps to its last frame.
    """

    name = "vbench/raft_static"
    fastest = FASTEST

    def start(self, info: ClipInfo) -> None:
        self.begin(info)
        self.last, self.most = info.frames - 1, allowed(info.frames)
        self.moving = self.seen = 0
        self.static: bool | None = None
        self._first: Frame | None = None
        self._previous: Frame | None = None

    def push(self, chunk: FrameChunk) -> bool:
        if self.side < LEAST_SIDE:
            return True
        with arithmetic(self.device, self.precision):
            for index, image in enumerate(chunk.on(self.device), chunk.first):
                if index in (0, self.last) or self._verdict() is None:
                    self._look(index, self.network.encode(image))
                if self.static is not None:
                    return True
        return False

    def _verdict(self) -> bool | None:
        return pairs_verdict(self.moving, self.seen, self.last, self.most)

    def _look(self, index: int, frame: Frame) -> None:
        limit = threshold(self.side)
        if self._first is None:
            self._first = frame
        elif self._previous is not None and self._verdict() is None:
            self.seen += 1
            self.moving += self.speed(self._previous, frame) > limit
        self._previous = frame
        if self._verdict() is False:
            self.static = False
        elif index == self.last:
            far = limit * self.most * 2
            self.static = not (self.speed(self._first, frame) > far or self.speed(frame, self._first) > far)

    def finish(self) -> NDArray[Any]:
        self._first = self._previous = None
        if self.static is None:
            return np.zeros(0)
        meaningful = self.side >= MEANINGFUL_SIDE
        return np.array([self.static, self.moving, self.most, self.last, self.seen, meaningful], np.float64)
