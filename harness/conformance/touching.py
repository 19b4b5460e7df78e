"""Questions about what else enters a metric's value, and what it does to what it is handed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Metric
from harness.conformance.judging import MetricBench, WatchedFeatures, opened
from harness.conformance.report import NotApplicable, Question, demand
from harness.conformance.scoring import same
from harness.features import FeatureStore


def names(bench: MetricBench) -> str:
    """A value is a function of the clip, its prompt and ground truth; not of what it is called."""
    clips, footage = bench.footage.real, bench.footage
    usual = bench.answers(clips)
    variants = {
        "clip.path": [footage.elsewhere(clip) for clip in clips],
        "clip.id": [replace(clip, id=f"zz-{9 - number}") for number, clip in enumerate(clips)],
        "clip.seed": [replace(clip, seed=7) for clip in clips],
    }
    for what, changed in variants.items():
        found = bench.answers(changed)
        same(usual, found, f"the value depends on {what}: the same bytes get another one")
    return "file name, id and seed do not matter"


# ---- what it touches -------------------------------------------------------------------------------------------


class Witness(Extractor):
    """The frames as an extractor after the metric's own sees them."""

    name = "conformance/witness"

    def start(self, info: ClipInfo) -> None:
        self._seen: list[NDArray[np.uint8]] = []

    def push(self, chunk: FrameChunk) -> bool:
        self._seen.append(chunk.frames.copy())
        return False

    def finish(self) -> NDArray[np.uint8]:
        return np.concatenate(self._seen)


def inputs_untouched(bench: MetricBench) -> str:
    clip = bench.footage.real[0]
    true, meta, store = video.read(clip.path).frames, copy.deepcopy(dict(clip.meta)), FeatureStore()
    metric, witness = bench.fresh(), Witness()
    try:
        with opened(metric, clip, store, (witness,)) as features:
            _hand_over(metric, clip, features)
            pristine = np.array_equal(features.frames, true) and np.array_equal(features.of(witness), true)
        demand(pristine, "it changes its input frames in place; other metrics are handed the same ones: copy first")
        demand(dict(clip.meta) == meta, "it changes clip.meta in place; other metrics are handed the same: copy first")
    finally:
        metric.close()
    return "frames and ground truth stay as they were"


def _hand_over(metric: Metric, clip: Clip, features: Any) -> None:
    """One clip, as the metric's level takes it."""

    @contextmanager
    def open_clip(_: Clip) -> Iterator[Features]:
        yield features

    if metric.level == "set":
        metric.reset()
        metric.update(clip, features)
    elif metric.level == "samples":
        metric.score_samples([clip], open_clip)
    else:
        metric.score(clip, features)


def features_declared(bench: MetricBench) -> str:
    """Registered features that are asked for are named in `features`: their versions enter the fingerprint."""
    asked, store = set[str](), FeatureStore()
    metric = bench.fresh()
    for clip in bench.footage.real[:2]:
        with opened(metric, clip, store) as features:
            watched: Any = WatchedFeatures(features)
            _hand_over(metric, clip, watched)
            asked |= watched.asked
    metric.close()
    hidden = sorted(asked - set(bench.kind.features))
    demand(
        not hidden,
        f"it reads the feature {', '.join(hidden)}, which `features` does not name: a new version of it would change "
        "scores under the same fingerprint",
    )
    return f"reads {', '.join(sorted(asked))}" if asked else "reads no registered feature"


def on_the_gpu(bench: MetricBench) -> str:
    import torch

    if "device" not in bench.kind.Config.model_fields:
        raise NotApplicable("it has no option device")
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    host, device = (bench.answers(bench.footage.real, bench.fresh(device=name)) for name in ("cpu", "cuda"))
    same(host, device, "the CPU and the GPU give other values", 0.01)
    return "the CPU's values to 1 %"


QUESTIONS = (
    Question("features", features_declared, after=("answers",)),
    Question("names", names, after=("determinism",)),
    Question("inputs untouched", inputs_untouched, after=("answers",)),
    Question("GPU", on_the_gpu, after=("determinism",)),
)
