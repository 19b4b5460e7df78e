"""Feature extraction with one decoding for all extractors of a clip, against one decoding each, in the same run.

    uv run python benchmarks/bench_shared_decode.py [CLIP ...] [--metrics A,B,C] [--set KEY=VALUE] [--repeat 3]

Without clips, one of 81 frames at 480x832 is made. The metrics are those that need no fetched weights; with weights at
hand, `--metrics vbench --set weights=DIR`. Nothing is cached. What sharing saves is the decoding of all but one
extractor (and one upload each on a GPU), so the ratio says how much of the work decoding is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from harness import registry, video
from harness.api import Clip, Extractor
from harness.config import parse_sets
from harness.features import FeatureStore, extract_key
from harness.plugins import metric_items

METRICS = "vbench/temporal_flickering,trajan-shapes,cdfvd-shapes"


def make_clip(folder: Path) -> Path:
    """Drifting smooth noise."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 832, 3), dtype=np.uint8)
    still = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    path = folder / "81x480x832.mp4"
    video.write(path, np.stack([np.roll(still, 3 * index, axis=1) for index in range(81)]), 16)
    return path


def extractors_of(names: Sequence[str], options: dict[str, object]) -> list[Extractor]:
    """Different extractors of the metrics, in order."""
    found: dict[str, Extractor] = {}
    for item in metric_items([{"name": name, **options} for name in names])[0]:
        kind = registry.metrics.get(item.pop("name"))
        for extractor in kind(kind.Config(**item)).extractors():
            found.setdefault(extract_key(extractor), extractor)
    return list(found.values())


def clock(clip: Clip, groups: Sequence[Sequence[Extractor]]) -> tuple[float, list[bytes]]:
    """CPU seconds of one pass per group, which a busy machine does not lengthen, and the results."""
    began, results = time.process_time(), []
    for group in groups:
        with FeatureStore().open(clip, group) as features:
            results += [features.of(extractor).tobytes() for extractor in group]
    return time.process_time() - began, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    extractors = extractors_of(arguments.metrics.split(","), parse_sets(arguments.sets))
    print("extractors:", ", ".join(extractor.name for extractor in extractors))
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.clips or [make_clip(Path(folder))]:
            clip = Clip(path.stem, path, "0" * 64)
            together, apart = [extractors], [[extractor] for extractor in extractors]
            assert clock(clip, together)[1] == clock(clip, apart)[1], "sharing changed a result"  # and warms up
            times = [(clock(clip, together)[0], clock(clip, apart)[0]) for _ in range(arguments.repeat)]
            shared, alone = (statistics.median(pair[kind] for pair in times) for kind in (0, 1))
            began = time.process_time()
            frames = len(video.read(path).frames)
            decode = time.process_time() - began
            print(
                f"{path.name}: {frames} frames, CPU: one decoding {shared:.2f} s, one each {alone:.2f} s, "
                f"ratio {alone / shared:.2f}; a decoding alone takes {decode:.2f} s"
            )


if __name__ == "__main__":
    main()
