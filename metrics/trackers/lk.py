"""The tracker `lk`: pyramidal Lucas-Kanade, held to what each point looked like in its query's frame (no weights)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.api import Options, Tracker, register_tracker
from metrics.trackers.patches import Patches, smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.tracking import Tracked

Side = Annotated[int, Field(ge=3)]
AT_ONCE = 8192  # points, for memory: about 20 KB each
STOP = (3, 20, 0.03)  # OpenCV's TermCriteria: at most 20 steps, or one of less than 0.03 px


class LucasKanadeOptions(Options):
    """All of them decide tracks."""

    windows: tuple[Side, ...] = Field(
        (7, 15), min_length=1, description="sides of the patches that are matched, pixels; a later one for what is lost"
    )
    levels: int = Field(4, ge=1, description="pyramid levels, the full size included")
    tolerance: float = Field(0.5, gt=0, description="distance from where tracking back arrives, pixels, that is lost")
    patch: int = Field(
        9, ge=0, description="side of the query's patch that a point must look like, pixels; 0: none, and no return"
    )


@register_tracker
class LucasKanade(Tracker):
    """Pyramidal Lucas-Kanade, held to the patch of the query's frame: no weights, any clip; never TRAJAN-comparable.

    From frame to frame a point is matched there and back, with every window until one misses by less than `tolerance`;
    where all miss, it goes on with the velocity it had. Around that place its patch of the query's frame is aligned: if
    it looks the same there, the point is visible, and is there; so positions do not drift, what is covered does not
    follow its cover, and what comes back near where it was expected is found. Both ways from the query's frame.
    """

    name = "lk"
    version = 2  # 1: no patch
    Config = LucasKanadeOptions
    config: LucasKanadeOptions

    def follow(self, video: NDArray[np.uint8], queries: NDArray[np.float32]) -> Tracked:
        import cv2

        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video])
        soft = [smooth(frame) for frame in video] if self.config.patch else []
        tracks = np.zeros((len(queries), len(video), 2), np.float32)
        visible = np.zeros((len(queries), len(video)), np.bool_)
        for first in range(0, len(queries), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            when = queries[part, 0].astype(np.int64)
            for step, start in ((1, when), (-1, len(video) - 1 - when)):
                ways = tracks[part, ::step], visible[part, ::step]
                self._sweep(grey[::step], soft[::step], start, queries[part, 1:], *ways)
        return tracks, visible

    def _sweep(
        self,
        grey: NDArray[np.uint8],
        soft: Sequence[NDArray[np.float32]],
        when: NDArray[np.int64],
        places: NDArray[np.float32],
        tracks: NDArray[np.float32],
        visible: NDArray[np.bool_],
    ) -> None:
        """Fill in all frames from each point's own on: one call of the matcher a frame pair, whenever points begin."""
        velocity, seen = np.zeros_like(places), when.copy()
        patches = Patches(len(places), self.config.patch) if soft else None
        for now in range(len(grey)):
            born, known = np.flatnonzero(when == now), np.flatnonzero(when <= now)
            tracks[born, now], visible[born, now] = places[born], _inside(places[born], grey[now])
            if patches:
                patches.learn(soft[now], born, places[born])
            if now + 1 == len(grey):
                return
            expected = tracks[:, now] + velocity
            held = known[visible[known, now]]
            arrived, sound = self._match(grey[now], grey[now + 1], tracks[held, now])
            found, there = held[sound], arrived[sound]
            if patches:
                guesses = expected.copy()
                guesses[found] = there
                found = known[_inside(guesses[known], grey[now])]
                there, alike = patches.find(soft[now + 1], found, guesses[found])
                alike &= _inside(there, grey[now])
                found, there = found[alike], there[alike]
            expected[found] = there
            since = seen[found]
            pace = (there - tracks[found, since]) / (now + 1 - since)[:, None]
            first = (since == when[found])[:, None]
            velocity[found] = np.where(first, pace, (velocity[found] + pace) / 2) if patches else pace
            seen[found] = now + 1
            tracks[known, now + 1] = expected[known]
            visible[found, now + 1] = True

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
