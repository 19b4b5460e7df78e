"""VBench's seven quality dimensions: our one pass against the official package, one dimension after the other.

    uv run mutoscope workers build vbench
    uv run python benchmarks/bench_vbench.py CLIPS [--weights DIR] [--threads 1] [--device cpu] [--fast]

Both engines see the same clips and weights in one run, on as many threads; loading networks and a first clip that
warms everything up are left out. Without --weights, seeded ones are written to a temporary folder: what a network costs
does not depend on their values, except where a decision stops early (dynamic_degree), which is listed by itself.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness import registry
from harness.api import Clip, Metric, Score
from harness.commands.evaluate import find_clips
from harness.features import FeatureStore
from metrics.vbench.aggregate import QUALITY
from metrics.vbench.seeded import write_all
from metrics.vbench.table import files


def main() -> None:
    arguments = parse()
    import torch

    torch.set_num_threads(arguments.threads)
    clips = find_clips(arguments.clips, None, False, Console())
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.weights or Path(folder)
        if arguments.weights is None:
            write_all(weights, [name for name in QUALITY if files(name)], seed=0)
        options = {"weights": str(weights), "unofficial_weights": True, "device": arguments.device}
        names = [f"vbench/{name}" for name in QUALITY]
        ours = {name: make(name, options | ({"precision": "fast"} if arguments.fast else {})) for name in names}
        whole, rows = timed(list(ours.values()), clips)
        print(f"{len(clips)} clips, {arguments.threads} threads, {arguments.device}")
        print(f"{'dimension':<24}{'official s':>12}{'ours s':>12}{'ratio':>8}{'max |diff|':>14}")
        total = 0.0
        for name, metric in ours.items():
            alone, _ = timed([metric], clips)
            official = make(name, options | {"backend": "official"})
            seconds, theirs = timed([official], clips)
            official.close()
            total += seconds
            worst = max(abs(a - b) for a, b in zip(values(rows, name), values(theirs, name), strict=True))
            short = name.split("/")[1]
            print(f"{short:<24}{seconds:>12.2f}{alone:>12.2f}{seconds / alone:>8.2f}{worst:>14.1e}", flush=True)
        print(f"{'one after the other':<24}{total:>12.2f}{whole:>12.2f}{total / whole:>8.2f}   (ours: all in one pass)")
        print(f"our peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def make(name: str, options: dict[str, object]) -> Metric:
    kind = registry.metrics.get(name)
    metric: Metric = kind(kind.Config(**options))
    return metric


Rows = dict[str, list[float | None]]


def timed(metrics: Sequence[Metric], clips: Sequence[Clip]) -> tuple[float, Rows]:
    """Seconds for all clips after one that warms up, and the scores."""
    score(metrics, clips[0], {})
    rows: Rows = {}
    began = time.perf_counter()
    for clip in clips:
        score(metrics, clip, rows)
    return time.perf_counter() - began, rows


def score(metrics: Sequence[Metric], clip: Clip, rows: Rows) -> None:
    store = FeatureStore()
    extractors = [extractor for metric in metrics for extractor in metric.extractors()]
    with store.open(clip, extractors) as features:
        for metric in metrics:
            if metric.level == "samples":
                found = metric.score_samples([clip], lambda other: store.open(other))[clip.id]
            else:
                found = metric.score(clip, features)
            rows.setdefault(metric.name, []).append(found.value if isinstance(found, Score) else found)


def values(rows: Rows, name: str) -> list[float]:
    return [float("nan") if value is None else value for value in rows[name]]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--weights", type=Path, help="folder in VBench's layout [default: seeded ones]")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fast", action="store_true", help="our fast mode instead of the exact one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
