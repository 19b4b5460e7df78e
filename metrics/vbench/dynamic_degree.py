"""VBench dynamic_degree (vbench 0.1.5, dynamic_degree.py): RAFT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Score, register_metric
from metrics.vbench.dimension import Dimension, NetworkExtractor, shared
from metrics.vbench.per_frame import arithmetic

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.vbench.networks.raft import Flow, Frame

RATE = 8.0  # frames a second that are compared
THRESHOLD = 6 / 256  # displacement per pair, in shorter sides
FASTEST = 0.05  # of a pair's pixels, whose mean speed stands for it
LEAST_SIDE, MEANINGFUL_SIDE = 57, 121  # pixels; padded to multiples of 8, RAFT's levels hold something, and divide


@register_metric
class DynamicDegree(Dimension):
    """1 if enough frame pairs hold fast pixels, else 0; a set's mean is its share of dynamic clips.

    Of every `max(1, round(fps / 8))`-th frame, n in all, at least `round(n / 4)` pairs of neighbours move their fastest
    5 % of pixels by more than 6/256 of the shorter side. Two kept frames always pass, as `round(0.5)` pairs are asked
    for; one never does. Pairs are looked at only until the answer is certain.

    The same answers as the official package; speeds agree within 1e-5 px on a CPU. Its pinned OpenCV 4 ignores bt709
    tags, which we respect: other flow, the same answers there (six clips).
    """

    name = "vbench/dynamic_degree"
    dimension = "dynamic_degree"

    def native_extractors(self) -> Sequence[Extractor]:
        return (shared(MovingPairs, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        return dynamic_degree(features.of(self.native_extractors()[0]))


def dynamic_degree(tally: NDArray[Any]) -> Score:
    """A clip's score from what `MovingPairs` found."""
    if not len(tally):
        return Score(None, note=f"RAFT needs frames of at least {LEAST_SIDE} px")
    dynamic, *counts, meaningful = tally.tolist()
    parts = dict(zip(("moving_pairs", "needed_pairs", "pairs", "pairs_computed"), counts, strict=True))
    return Score(float(dynamic), parts, "" if meaningful else too_small("moving"))


def too_small(what: str) -> str:
    """The note on frames in which VBench divides by zero; it then compares NaN, and no pair counts as moving."""
    return f"frames below {MEANINGFUL_SIDE} px: VBench's RAFT gives no flow, and no pair counts as {what}"


@dataclass
class Tally:
    """Pairs found moving so far, and whether that settles the question. `check_move`, decided as early as can be."""

    needed: int
    pairs: int
    seen: int = 0
    moving: int = 0

    @property
    def answer(self) -> bool | None:
        """None while it is open. Without a pair nothing moves, however few are needed."""
        if self.pairs == 0 or self.moving + self.pairs - self.seen < self.needed:
            return False
        return True if self.moving >= self.needed else None

    def add(self, moves: bool) -> None:
        self.seen += 1
        self.moving += moves


def stride(fps: float) -> int:
    """Every how many frames one is kept: about 8 a second. Python's rounding: 12 and 20 fps keep every second."""
    return max(1, round(fps / RATE))


class FlowExtractor(NetworkExtractor):
    """What extractors that ask RAFT about frame pairs have in common."""

    fastest: float  # share of pixels

    def begin(self, info: ClipInfo) -> None:
        """Take the clip's size in, and load RAFT if it is not there."""
        from metrics.vbench.networks.raft import load

        self.side = min(info.height, info.width)
        self.network: Flow = load(self.paths[0], self.device)

    def speed(self, first: Frame, second: Frame) -> float:
        """Mean displacement of the fastest pixels, in pixels of the clip."""
        return fastest(self.network.flow(first, second), self.fastest)


def fastest(flow: Tensor, share: float) -> float:
    """Mean length of the longest vectors of a flow `[2, h, w]`, in the bits of the official get_score.

    NaN counts as shortest, as numpy sorts it; it comes out where it is among the longest nevertheless.
    """
    u, v = flow
    lengths = (u.square() + v.square()).sqrt().flatten().nan_to_num(nan=-1.0, posinf=float("inf"))
    top = lengths.topk(int(lengths.numel() * share)).values.cpu().numpy()
    top[top < 0] = np.nan
    return float(np.mean(top))


class MovingPairs(FlowExtractor):
    """`[dynamic, pairs moving, needed, in the clip, computed, whether RAFT has flow at this size]`, float64."""

    name = "vbench/raft_moving_pairs"
    fastest = FASTEST

    def start(self, info: ClipInfo) -> None:
        self.begin(info)
        self.step = stride(info.fps)
        kept = -(-info.frames // self.step)
        self.tally = Tally(needed=round(4 * (kept / 16.0)), pairs=kept - 1)
        self._previous: Frame | None = None

    def push(self, chunk: FrameChunk) -> bool:
        if self.tally.answer is not None or self.side < LEAST_SIDE:
            return True
        with arithmetic(self.device, self.precision):
            for image in chunk.on(self.device)[-chunk.first % self.step :: self.step]:
                self._look(self.network.encode(image))
                if self.tally.answer is not None:
                    return True
        return False

    def _look(self, frame: Frame) -> None:
        if self._previous is not None:
            self.tally.add(self.speed(self._previous, frame) > 6.0 * (self.side / 256.0))
        self._previous = frame

    def finish(self) -> NDArray[Any]:
        self._previous, tally = None, self.tally
        if tally.answer is None:
            return np.zeros(0)
        meaningful = self.side >= MEANINGFUL_SIDE
        return np.array(
            [tally.answer, tally.moving, tally.needed, max(tally.pairs, 0), tally.seen, meaningful], np.float64
        )
