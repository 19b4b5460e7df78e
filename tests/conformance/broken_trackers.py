"""Trackers that break one promise each: (class, the check that must fail, its words). The sound one is `lk`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api import UserError
from metrics.trackers.lk import LucasKanade, LucasKanadeOptions
from tests.conformance.breaking import breaker

BROKEN, breaks = breaker()
TURNS = count()

Video = NDArray[np.uint8]
Array = NDArray[np.float32]
Tracked = tuple[Array, NDArray[np.bool_]]


class Sound(LucasKanade):
    """Nothing wrong with it."""

    name = "toy/sound"


@breaks("declaration", "it has no docstring")
class Silent(Sound):
    __doc__ = None


@breaks("declaration", "resolution is (256,); (height, width)")
class HalfASize(Sound):
    """One side only."""

    resolution = (256,)  # type: ignore[assignment]


@breaks("declaration", "runtime names ['batches'], which its Config has not")
class UnknownRuntime(Sound):
    """A slip of the pen."""

    runtime = frozenset({"batches"})


class Batched(LucasKanadeOptions):
    """One option more."""

    batch_size: int = 3
    together: int = 0


@breaks("identity", "identity is the same with levels=1: other tracks would pass for these")
class Anonymous(Sound):
    """Leaves its options out."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**super().identity, "options": {}}


@breaks("identity", 'identity["version"] is None, not 2')
class Unversioned(Sound):
    """Leaves its version out."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {key: value for key, value in super().identity.items() if key != "version"}


@breaks("identity", "identity changes with batch_size, which is declared not to change tracks")
class Talkative(Sound):
    """Has the batch size in its identity."""

    Config = Batched

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**super().identity, "batch": self.config.model_dump()["batch_size"]}


@breaks("identity", "identity is not JSON")
class Unwritable(Sound):
    """An array among plain values."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**super().identity, "mean": np.zeros(3)}


@breaks("identity", "identity is another one in a second instance")
class Numbered(Sound):
    """Never the same twice."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**super().identity, "instance": next(TURNS)}


@breaks("answers", "answered with tracks (9, 12, 2)")
class Turned(Sound):
    """Frames first."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        return tracks.transpose(1, 0, 2), visible.T


@breaks("answers", "visibility (12, 9) float32")
class SoftlyVisible(Sound):
    """Probabilities instead of yes and no."""

    def follow(self, video: Video, queries: Array) -> Any:
        tracks, visible = super().follow(video, queries)
        return tracks, visible.astype(np.float32)


@breaks("determinism", "draws from (or seeds) the global generator of numpy.random")
class Seeding(Sound):
    """Seeds everybody's generator."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        np.random.seed(0)
        return super().follow(video, queries)


@breaks("determinism", "get other tracks the second time")
class Tired(Sound):
    """Drifts with every clip it sees."""

    seen = 0

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        self.seen += 1
        return tracks + np.float32(0.01 * self.seen), visible


@breaks("determinism", "another instance tracks otherwise after another clip")
class Remembering(Sound):
    """Its first clip decides for all."""

    first: float | None = None

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        if self.first is None:
            self.first = float(video.mean()) / 100
        return tracks + np.float32(self.first), visible


@breaks("inputs untouched", "it changes the frames it is given")
class InPlace(Sound):
    """Darkens the clip it was handed, after it has looked."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        found = super().follow(video, queries)
        if video.flags.writeable and video.base is None and len(video) == 9 and self.grown:
            video //= 2
        self.grown = True
        return found

    grown = False


@breaks("inputs untouched", "an answer changes when the tracker is asked again")
class OneBuffer(Sound):
    """Hands out its own memory."""

    memory: Tracked | None = None

    def follow(self, video: Video, queries: Array) -> Tracked:
        found = super().follow(video, queries)
        if self.memory is None or self.memory[1].shape != found[1].shape:
            self.memory = found
        for own, new in zip(self.memory, found, strict=True):
            own[...] = new
        return self.memory


@breaks("own place", "in their query's frame points are")
class Swapped(Sound):
    """Takes (t, y, x)."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        return super().follow(video, queries[:, [0, 2, 1]])


@breaks("own place", "in their query's frame only 0% of points are visible")
class Hidden(Sound):
    """Means occluded where it says visible."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        return tracks, ~visible


@breaks("both ways", "is not followed back to the first frame: off by 5.")
class ForwardOnly(Sound):
    """Before its query's frame a point stands still."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        early = np.arange(len(video)) < queries[:, :1]
        return np.where(early[..., None], queries[:, None, 1:], tracks), visible


@breaks("both ways", "is not followed forward to the last frame")
class Standing(Sound):
    """Follows nothing."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        shape = len(queries), len(video)
        return np.broadcast_to(queries[:, None, 1:], (*shape, 2)), np.ones(shape, np.bool_)


@breaks("outside the frame", "of points that have left the frame are called visible")
class Clinging(Sound):
    """What leaves stays at the border, in sight."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        return tracks.clip(0, np.array(video.shape[2:0:-1]) - 1, dtype=np.float32), np.ones_like(visible)


@breaks("points alone", "points get other tracks among fewer or in another order; give it an option `together`")
class Herd(Sound):
    """Pulls every point towards the middle of all."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        return tracks + np.float32(0.01) * (tracks.mean(0) - tracks), visible


class DeclaredHerd(Herd):
    """The same, and says so."""

    name = "toy/declared-herd"
    Config = Batched


@breaks("runtime options", "tracks change with batch_size=1, which is not in the identity")
class BatchCounts(Sound):
    """The batch size shifts everything a little."""

    Config = Batched

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        return tracks + np.float32(0.1 * self.config.model_dump()["batch_size"]), visible


@breaks("nothing to follow", "no queries are answered with")
class NoPoints(Sound):
    """Leaves out the frames where there are no points."""

    def track(self, video: Video, queries: NDArray[np.floating[Any]]) -> Tracked:
        if not len(queries):
            return np.zeros((0, 2), np.float32), np.zeros(0, np.bool_)
        return super().track(video, queries)


@breaks("nothing to follow", "crashes on clips of one frame: IndexError")
class TwoFrames(Sound):
    """Looks at the second frame without asking."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        assert video[1].any()
        return super().follow(video, queries)


@breaks("clips", "with black clips it gives positions that are not finite")
class Normalising(Sound):
    """Divides by the contrast."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        tracks, visible = super().follow(video, queries)
        with np.errstate(all="ignore"):
            return tracks * np.float32(np.divide(video.std(), video.std())), visible


@breaks("clips", "crashes on clips of 8x8: ValueError")
class Large(Sound):
    """Needs room and does not say so."""

    def follow(self, video: Video, queries: Array) -> Tracked:
        if min(video.shape[1:3]) < 16:
            raise ValueError("negative dimensions")
        return super().follow(video, queries)


class Polite(Sound):
    """Needs room and says so."""

    name = "toy/polite"

    def follow(self, video: Video, queries: Array) -> Tracked:
        if min(video.shape[1:3]) < 16:
            raise UserError("frames below 16x16 cannot be tracked", "give larger ones")
        return super().follow(video, queries)
