"""Motion measured by dense optical flow (DIS, OpenCV): no weights, any clip. The numbers are not VBench's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Features, Metric, Score, register_metric
from metrics.flow.dis import dis_flow

RATE = 8.0  # frames per second at which pairs are compared
THRESHOLD = 6 / 256  # displacement per pair, in shorter sides
TOP = 0.05  # fraction of pixels, the fastest, that stand for a pair


@register_metric
class Magnitude(Metric):
    """Mean optical-flow speed over all pixels and frame pairs, in shorter sides per second.

    0.1 means that the average pixel crosses a tenth of the frame's shorter side in a second, at any resolution and
    frame rate. Camera motion counts. It is a path length: jitter adds up.
    """

    name = "flow/magnitude"
    higher_is_better = None
    range = (0.0, 1000.0)
    unit = "shorter sides/s"
    features = ("flow/dis",)
    moves = {"freeze": "down", "shuffle": "up", "reverse": "same", "speed_up": "up", "teleport": "up", "jitter": "up"}

    def score(self, clip: Clip, features: Features) -> Score:
        if len(features.frames) < 2:
            return Score(None, note="a single frame has no motion")
        flow = features.get("flow/dis")
        speeds = np.hypot(flow[..., 0], flow[..., 1]).mean(axis=(1, 2), dtype=np.float64) * features.fps
        return Score(float(speeds.mean()), {"slowest_pair": float(speeds.min()), "fastest_pair": float(speeds.max())})


@register_metric
class DynamicDegree(Metric):
    """1 if enough frame pairs hold fast pixels, else 0; a set's mean is its share of dynamic clips.

    The rule of VBench's dynamic_degree (vbench 0.1.5, dynamic_degree.py): of every `max(1, round(fps / 8))`-th frame,
    n in all, at least `round(n / 4)` consecutive pairs move their top 5 % of pixels by more than 6/256 of the shorter
    side. Different here: DIS instead of RAFT flow, on frames of at most 256 px (RAFT: full size), so the numbers are
    not VBench's; and at least one pair is asked for, where the official rule passes any clip of two kept frames.
    """

    name = "flow/dynamic_degree"
    features = ("flow/dis",)
    moves = {"freeze": "down", "reverse": "same"}

    def score(self, clip: Clip, features: Features) -> Score:
        step = stride(features.fps)
        kept = features.frames[::step]
        if len(kept) < 2:
            return Score(None, note=f"{len(features.frames)} frames at {features.fps:g} fps leave no pair to compare")
        speeds = top_speed(features.get("flow/dis") if step == 1 else dis_flow(kept))
        moving, needed = int((speeds > THRESHOLD).sum()), pairs_needed(len(kept))
        parts = {
            "moving_pairs": moving,
            "needed_pairs": needed,
            "pairs": len(speeds),
            "median": float(np.median(speeds)),
        }
        return Score(float(moving >= needed), parts)


def stride(fps: float) -> int:
    """Every how many frames one is kept: about 8 a second (Python's rounding: 12 and 20 fps keep every second)."""
    return max(1, round(fps / RATE))


def pairs_needed(kept: int) -> int:
    """`round(4 n / 16)` for n kept frames, at least 1."""
    return max(1, round(4 * kept / 16))


def top_speed(flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean magnitude of the fastest 5 % of pixels of each pair; flow `[P, h, w, 2]` -> `[P]`."""
    speed = np.hypot(flow[..., 0], flow[..., 1]).reshape(len(flow), -1)
    count = max(1, int(speed.shape[1] * TOP))
    return np.partition(speed, -count, axis=1)[:, -count:].mean(axis=1, dtype=np.float64)
