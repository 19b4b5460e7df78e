"""Decode throughput: the project's decoder against cv2.VideoCapture on the same files, in the same run.

    python benchmarks/bench_decode.py [FILE ...] [--repeat 3]

Without files, three clips are made: the size of the quick suite, 256 px and 480 p. Both decoders deliver RGB uint8
frames; MB/s counts those. OpenCV decodes with as many threads as it likes, the project with one per process, so the
CPU column is the one that says what a decode costs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from harness import video

MADE = {"17x64x64": (17, 64, 64), "49x256x256": (49, 256, 256), "49x480x832": (49, 480, 832)}


def make_clips(folder: Path) -> list[Path]:
    """Drifting smooth noise, written with the project's encoder."""
    rng, paths = np.random.default_rng(0), []
    for name, (frames, height, width) in MADE.items():
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        still = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
        clip = np.stack([np.roll(still, 2 * index, axis=1) for index in range(frames)])
        paths.append(folder / f"{name}.mp4")
        video.write(paths[-1], clip, 8)
    return paths


def ours(path: Path) -> tuple[int, int]:
    """Frames and bytes delivered."""
    count = size = 0
    for frame in video.iterate(path):
        count, size = count + 1, size + frame.nbytes
    return count, size


def opencv(path: Path) -> tuple[int, int]:
    """Frames and bytes delivered."""
    capture, count, size = cv2.VideoCapture(str(path)), 0, 0
    while (answer := capture.read())[0]:
        rgb = cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB)
        count, size = count + 1, size + rgb.nbytes
    return count, size


def clock(decode: Callable[[Path], tuple[int, int]], path: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one pass."""
    wall, cpu = time.perf_counter(), time.process_time()
    decode(path)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(path: Path, repeat: int) -> str:
    """One row; the two decoders take turns, so that a busy machine is busy for both."""
    assert ours(path) == opencv(path), path  # also warms the file cache
    times = [(clock(ours, path), clock(opencv, path)) for _ in range(repeat)]
    frames, size = ours(path)
    wall, cpu = (statistics.median(mine[kind] for mine, _ in times) for kind in (0, 1))
    cv_wall, cv_cpu = (statistics.median(theirs[kind] for _, theirs in times) for kind in (0, 1))
    return (
        f"{path.stem[:20]:<20} {frames:>6} {frames / wall:>9.0f} {size / wall / 1e6:>9.0f}"
        f" {cv_wall / wall:>12.2f} {cv_cpu / cpu:>12.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="decode throughput")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'clip':<20} {'frames':>6} {'frames/s':>9} {'MB/s':>9} {'x cv2 (wall)':>12} {'x cv2 (CPU)':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.files or make_clips(Path(folder)):
            print(measure(path, arguments.repeat), flush=True)


if __name__ == "__main__":
    main()
