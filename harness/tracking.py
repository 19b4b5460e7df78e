"""Point trackers: plugins that follow given points through a clip, and how a metric gets one from its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.samples import Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tracked = tuple[NDArray[np.float32], NDArray[np.bool_]]

RUNTIME = frozenset({"device", "threads", "batch_size"})  # options that cannot change a track


class Tracker(ABC):
    """Follows points through a clip; callers use `track`, plugins define `follow`.

    Positions are (x, y) in pixels of the clip, x right, y down; (0, 0) is the centre of the top left pixel.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[Options]] = Options
    resolution: ClassVar[tuple[int, int] | None] = None  # (height, width) it resizes frames to; None: the clip's own
    runtime: ClassVar[frozenset[str]] = frozenset()  # options that cannot change a track, besides device and the like

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """Files whose bytes decide the tracks. Raises UserError, with the command that gets it, when one is missing,
        or when something else is not there that tracking needs: this is asked before anything runs."""
        return ()

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the tracks of a clip, as plain JSON: an extractor that tracks has this in its own."""
        from harness.cache import file_sha256

        dropped = RUNTIME | self.runtime
        options = self.config.model_dump(mode="json")
        return {
            "tracker": self.name,
            "version": self.version,
            "options": {key: value for key, value in options.items() if key not in dropped},
            "resolution": None if self.resolution is None else list(self.resolution),
            "weights": [file_sha256(path) for path in self.weights(self.config)],
        }

    def track(self, video: NDArray[np.uint8], queries: NDArray[np.floating[Any]]) -> Tracked:
        """Where each point is in every frame, and whether it can be seen there.

        Args:
            video: uint8 `[T, H, W, 3]` RGB.
            queries: `[N, 3]`, (t, x, y): point n is at (x, y) in frame t. Frames are whole numbers.

        Returns:
            Positions float32 `[N, T, 2]`, defined in every frame, and visibility bool `[N, T]`.

        Raises:
            UserError: the queries are not of this clip, or the tracker failed or answered with something else.
        """
        import numpy as np

        queries = check_queries(video, queries)
        frames = len(video)
        if not len(queries):
            return np.zeros((0, frames, 2), np.float32), np.zeros((0, frames), np.bool_)
        tracks, visible = self.follow(video, queries)
        shapes = (len(queries), frames, 2), (len(queries), frames)
        if (tracks.shape, visible.shape) != shapes or visible.dtype != np.bool_ or not np.isfinite(tracks).all():
            raise UserError(
                f'tracker "{self.name}" answered with tracks {tracks.shape} and visibility {visible.shape} '
                f"{visible.dtype}, or with positions that are not finite",
                f"expected {shapes[0]}, finite, and {shapes[1]} bool: report it to the plugin's authors",
            )
        return tracks.astype(np.float32, copy=False), visible

    @abstractmethod
    def follow(self, video: NDArray[np.uint8], queries: NDArray[np.float32]) -> Tracked:
        """What `track` promises, for queries that have been checked: float32, at least one, frames of this clip."""

    def close(self) -> None:
        """Let go of processes and networks."""


def check_queries(video: NDArray[np.uint8], queries: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Queries as float32. Raises UserError where video or queries are not what `Tracker.track` takes."""
    import numpy as np

    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[3] != 3 or not len(video):
        raise UserError(f"a tracker was given {video.dtype} {video.shape}", "frames are uint8 [T, H, W, 3], T > 0")
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != 3 or not np.isfinite(queries).all():
        raise UserError(f"queries {queries.shape} are not finite [N, 3]", "each is (t, x, y) in pixels")
    when = queries[:, 0]
    wrong = when[(when != np.round(when)) | (when < 0) | (when >= len(video))]
    if len(wrong):
        raise UserError(
            f"a query is in frame {wrong[0]:g} of a clip of {len(video)}", "frames are whole, from 0 to T - 1"
        )
    return queries


def find_tracker(spec: Mapping[str, Any], where: str = "tracker") -> tuple[type[Tracker], Any]:
    """The class that `{"name": ..., **options}` names, and its validated Config; nothing is loaded.

    Args:
        where: dotted path of the spec, for messages.
    """
    from harness.config import validate
    from harness.registry import trackers

    kind = trackers.get(str(spec.get("name", "")), f"{where}.name")
    return kind, validate(kind.Config, {key: value for key, value in spec.items() if key != "name"}, where)


def make_tracker(spec: Mapping[str, Any], where: str = "tracker") -> Tracker:
    """The tracker that `{"name": ..., **options}` describes; networks are loaded when the first clip comes."""
    kind, config = find_tracker(spec, where)
    tracker: Tracker = kind(config)
    return tracker
