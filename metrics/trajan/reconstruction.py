"""The extractor behind all TRAJAN numbers: tracks a clip, lets the network reconstruct tracks it was not shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import ClipInfo, Extractor, FrameChunk, Tracker, derive_seed
from harness.features import sha256_file
from harness.tracking import make_tracker
from metrics.trajan.noise import Stream
from metrics.trajan.protocol import SIDE, Episode, draw_queries, make_episode, normalise, resize
from metrics.trajan.scoring import MOTION, NUMBERS, RESOLUTIONS, RULES, Resolution, Rule, is_occluded, numbers
from metrics.trajan.scoring import stillness as stillness_of
from metrics.trajan.sizes import Sizes

if TYPE_CHECKING:
    from metrics.trajan.model import TrackAutoEncoder


class Reconstruction(Extractor):
    """All numbers of a clip, under both occlusion rules and at both resolutions: float64, read with `read`.

    Every random draw is seeded from the decoded frames, so equal clips have equal numbers whatever they are called.
    """

    name = "trajan/reconstruction"

    def __init__(
        self,
        path: Path,
        sizes: Sizes,
        stream: Stream,
        tracker: Tracker,
        side: int,
        points: tuple[int, int],
        device: str,
    ) -> None:
        """
        Args:
            side: pixels of the square to which frames are brought before they are tracked.
            points: how many support and how many target tracks.
        """
        self.path, self.sizes, self.stream, self.tracker = path, sizes, stream, tracker
        self.side, self.points, self._device = side, points, device
        self._network: TrackAutoEncoder | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "weights": sha256_file(self.path),
            "sizes": asdict(self.sizes),
            "noise": self.stream,
            "tracker": dict(self.tracker.identity),
            "side": self.side,
            "points": list(self.points),
        }

    def start(self, info: ClipInfo) -> None:
        self.height, self.width = info.height, info.width
        self._content, self._frames = hashlib.sha256(), list[NDArray[np.uint8]]()

    def push(self, chunk: FrameChunk) -> bool:
        self._content.update(chunk.frames.tobytes())
        self._frames.append(resize(chunk.frames, self.side))
        return False

    def finish(self) -> NDArray[np.float64]:
        frames, self._frames = np.concatenate(self._frames), []
        if len(frames) < 2:
            return np.zeros(0)
        rng = np.random.default_rng(derive_seed("trajan", self._content.hexdigest(), self.height, self.width))
        queries = draw_queries(len(frames), sum(self.points), rng, self.side)
        tracks, visible = self.tracker.track(frames, queries)
        tracks = normalise(tracks, self.height, self.width, self.side)
        episode = make_episode(tracks, visible, self.sizes.frames, *self.points, rng)
        found = self.scores(episode)
        motion = stillness_of(tracks, visible)
        return np.concatenate([found.ravel(), [motion[name] for name in MOTION]])

    def scores(self, episode: Episode) -> NDArray[np.float64]:
        """`[rules, resolutions, numbers]`."""
        tracks, visible, certain = predict(self.network, episode)
        sizes: dict[Resolution, tuple[int, int]] = {"native": (self.height, self.width), "256": (SIDE, SIDE)}
        rows = []
        for rule in RULES:
            occluded = is_occluded(visible, certain, rule)
            rows.append([list(numbers(episode, tracks, occluded, *sizes[r]).values()) for r in RESOLUTIONS])
        return np.array(rows)

    @property
    def network(self) -> TrackAutoEncoder:
        """Loaded when the first clip needs it."""
        if self._network is None:
            import torch

            from metrics.trajan.checkpoint import load

            device = ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device
            self._network = load(self.path, self.sizes, self.stream).to(device)
        return self._network

    def close(self) -> None:
        """Let go of the tracker's process and the network; both come back when they are needed."""
        self.tracker.close()
        self._network = None


def predict(
    network: TrackAutoEncoder, episode: Episode
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Tracks `[Q, T, 2]`, visible and certain logits `[Q, T]` of an episode's targets."""
    import torch

    device = next(network.parameters()).device
    given = (episode.support, episode.support_visible, np.array(episode.boundary), episode.queries)
    with torch.inference_mode():
        out = network(*(torch.as_tensor(array)[None].to(device) for array in given))
    tracks, visible, certain = (a[0].cpu().numpy() for a in (out.tracks, out.visible_logits, out.certain_logits))
    return tracks, visible, certain


def read(found: NDArray[np.float64], rule: Rule, resolution: Resolution) -> dict[str, float]:
    """What `Reconstruction` found, by the names in `NUMBERS` and `MOTION`; {} of a clip of one frame."""
    if not len(found):
        return {}
    scores = found[: -len(MOTION)].reshape(len(RULES), len(RESOLUTIONS), len(NUMBERS))
    row = scores[RULES.index(rule), RESOLUTIONS.index(resolution)]
    return dict(zip((*NUMBERS, *MOTION), (*row.tolist(), *found[-len(MOTION) :].tolist()), strict=True))


@cache
def shared(
    path: Path, sizes: Sizes, stream: Stream, tracker: str, side: int, points: tuple[int, int], device: str
) -> Reconstruction:
    """The one extractor of a configuration in this process; `tracker` is its options as JSON."""
    import json

    return Reconstruction(path, sizes, stream, make_tracker(json.loads(tracker)), side, points, device)
