"""How accurate a point tracker is where the truth is known: the table of metrics/trackers/README.md.

    python benchmarks/tracker_accuracy.py                                        # lk
    python benchmarks/tracker_accuracy.py --tracker bootstapir --set device=cuda
    python benchmarks/tracker_accuracy.py --speed                                # 4096 points, 81 frames, one thread

Means over seeds: 576 points in videos of moving textured discs (metrics/trackers/layers.py), and all points of rendered
clips of the embedded world, each asked for where it is first seen. Beside it, what standing still scores: every point
stays at its query, always visible. OA needs that baseline: most points are visible most of the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.api import ClipSpec, Tracker
from harness.config import parse_sets
from harness.data.shapes import Shapes, ShapesConfig
from harness.tracking import make_tracker
from metrics.trackers.accuracy import QueryMode, tapvid
from metrics.trackers.layers import Texture, draw_queries, layered

POINTS = 576
LAYERED: tuple[tuple[Texture, float, QueryMode], ...] = (
    ("noise", 0.5, "strided"), ("noise", 1.0, "first"), ("noise", 1.0, "strided"), ("noise", 2.0, "strided"),
    ("natural", 0.5, "strided"), ("natural", 1.0, "first"), ("natural", 1.0, "strided"), ("natural", 2.0, "strided"),
)  # fmt: skip
WORLD = (64, 256)  # sides of rendered clips
CLIPS = 12
NUMBERS = ("average_pts_within_thresh", "occlusion_accuracy", "average_jaccard")

Array = NDArray[np.float64]
Case = tuple[NDArray[np.uint8], Array, Array, NDArray[np.bool_]]  # video, queries (t, x, y), tracks, visible


def discs(texture: Texture, speed: float, mode: QueryMode, seeds: int) -> Iterator[Case]:
    for seed in range(seeds):
        clip, queries = layered(seed, texture, speed), draw_queries(seed, POINTS, mode)
        yield clip.video, queries, *clip.tracks(queries)


def world(side: int) -> Iterator[Case]:
    """Held-out clips; the world counts pixels from their corner, trackers from their centre."""
    clips = Shapes(ShapesConfig(size=CLIPS, seed=5, split="heldout"), ClipSpec(frames=17, height=side, width=side))
    for index in range(CLIPS):
        truth = clips.truth(index)
        seen = truth.visible.any(1)
        tracks, visible = truth.tracks[seen] - 0.5, truth.visible[seen]
        first = visible.argmax(1)
        yield clips.video(index), np.column_stack([first, tracks[np.arange(len(first)), first]]), tracks, visible


def still(video: NDArray[np.uint8], queries: Array) -> tuple[Array, NDArray[np.bool_]]:
    shape = len(queries), len(video)
    return np.broadcast_to(queries[:, None, 1:], (*shape, 2)), np.ones(shape, np.bool_)


def scores(
    cases: Iterator[Case], mode: QueryMode, *followers: Callable[..., tuple[NDArray[np.floating], NDArray[np.bool_]]]
) -> list[list[float]]:
    """The three numbers of each follower, means over cases."""
    rows: list[list[list[float]]] = [[] for _ in followers]
    for video, queries, tracks, visible in cases:
        for row, follow in zip(rows, followers, strict=True):
            found = tapvid(queries[:, 0], tracks, visible, *follow(video, queries), mode)
            row.append([float(found[name]) for name in NUMBERS])
    return [np.mean(row, axis=0).tolist() for row in rows]


def table(tracker: Tracker, seeds: int) -> None:
    print(f"| clip, queries | δ_avg | OA | AJ | standing still: δ_avg | OA | AJ |\n|{' --- |' * 7}")
    cases = [(f"{t}, {s:g} px/frame, {m}", discs(t, s, m, seeds), m) for t, s, m in LAYERED]
    cases += [(f"world, {side} px, first", world(side), "first") for side in WORLD]
    for name, clips, mode in cases:
        both = scores(clips, mode, tracker.track, still)
        print(f"| {name} | " + " | ".join(f"{number:.3f}" for row in both for number in row) + " |", flush=True)


def speed(tracker: Tracker, repeat: int) -> None:
    """Random queries in random frames, as TRAJAN's protocol draws them."""
    cv2.setNumThreads(1)
    rng, video = np.random.default_rng(0), layered(0, "noise", 1.0).video
    video = np.concatenate([video, video[-2:0:-1]])[:81]
    queries = np.column_stack([rng.integers(0, 81, 4096), rng.uniform(0, 255, (4096, 2))])
    for _ in range(repeat):
        began, busy = time.perf_counter(), time.process_time()
        _, visible = tracker.track(video, queries)
        print(
            f"{tracker.name}: 4096 points, 81 frames of 256x256, one thread: {time.perf_counter() - began:.1f} s, "
            f"{time.process_time() - busy:.1f} CPU-s; {visible.mean():.0%} visible"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tracker", default="lk")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of the tracker")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--speed", action="store_true", help="time it instead")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    tracker = make_tracker({"name": given.tracker, **parse_sets(given.set)})
    try:
        if given.speed:
            speed(tracker, given.repeat)
        else:
            table(tracker, given.seeds)
    finally:
        tracker.close()


if __name__ == "__main__":
    main()
