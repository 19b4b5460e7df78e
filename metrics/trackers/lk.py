"""The tracker `lk`: pyramidal Lucas-Kanade with a forward-backward check (OpenCV, no weights)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.api import Options, Tracker, register_tracker

if TYPE_CHECKING:
    from harness.tracking import Tracked

Side = Annotated[int, Field(ge=3)]
STOP = (3, 20, 0.03)  # OpenCV's TermCriteria: at most 20 steps, or one of less than 0.03 px


class LucasKanadeOptions(Options):
    """All of them decide tracks."""

    windows: tuple[Side, ...] = Field(
        (7, 15), min_length=1, description="sides of the patches that are matched, pixels; a later one for what is lost"
    )
    levels: int = Field(4, ge=1, description="pyramid levels, the full size included")
    tolerance: float = Field(0.5, gt=0, description="distance from where tracking back arrives, pixels, that is lost")


@register_tracker
class LucasKanade(Tracker):
    """Pyramidal Lucas-Kanade with forward-backward visibility: no weights, any clip; never TRAJAN-comparable.

    A point is visible until tracking a step and back misses by `tolerance` with every window, or it leaves the frame.
    From then on it is not visible, and goes on with the velocity it had: nothing is found again. Both ways from the
    query's frame. A small window stays true near edges, a larger one holds where there is little to see.
    """

    name = "lk"
    Config = LucasKanadeOptions
    config: LucasKanadeOptions

    def follow(self, video: NDArray[np.uint8], queries: NDArray[np.float32]) -> Tracked:
        import cv2

        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video])
        tracks = np.zeros((len(queries), len(video), 2), np.float32)
        visible = np.zeros((len(queries), len(video)), np.bool_)
        when = queries[:, 0].astype(np.int64)
        for step, start in ((1, when), (-1, len(video) - 1 - when)):
            self._sweep(grey[::step], start, queries[:, 1:], tracks[:, ::step], visible[:, ::step])
        return tracks, visible

    def _sweep(
        self,
        grey: NDArray[np.uint8],
        when: NDArray[np.int64],
        places: NDArray[np.float32],
        tracks: NDArray[np.float32],
        visible: NDArray[np.bool_],
    ) -> None:
        """Fill in all frames from each point's own on: one call of the matcher a frame pair, whenever points begin."""
        velocity = np.zeros_like(places)
        for now in range(len(grey)):
            born, known = when == now, when <= now
            tracks[born, now], visible[born, now] = places[born], _inside(places[born], grey[now])
            if now + 1 == len(grey):
                return
            here = tracks[:, now]
            held = np.flatnonzero(known & visible[:, now])
            arrived, sound = self._match(grey[now], grey[now + 1], here[held])
            held = held[sound]
            velocity[held] = arrived[sound] - here[held]
            tracks[known, now + 1] = (here + velocity)[known]
            visible[held, now + 1] = True

    def _match(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where points `[M, 2]` arrive, and whether they can be believed to."""
        arrived, sound = points.copy(), np.zeros(len(points), np.bool_)
        for window in self.config.windows:
            left = np.flatnonzero(~sound)
            if len(left):
                arrived[left], sound[left] = self._try(window, first, second, points[left])
        return arrived, sound & _inside(arrived, second)

    def _try(
        self, window: int, first: NDArray[np.uint8], second: NDArray[np.uint8], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """There and back with one window, all points in one call."""
        import cv2

        options = {"winSize": (window, window), "maxLevel": self.config.levels - 1, "criteria": STOP}
        flow: Any = partial(cv2.calcOpticalFlowPyrLK, **options)
        arrived, there, _ = flow(first, second, points, None)
        back, again, _ = flow(second, first, arrived, None)
        miss = np.hypot(*(back - points).T)
        return arrived, (there[:, 0] == 1) & (again[:, 0] == 1) & (miss < self.config.tolerance)


def _inside(points: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether points `[M, 2]` lie on a pixel of the frame."""
    height, width = frame.shape
    x, y = points.T
    return np.asarray((x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5))
