"""Native scores of the recorded clips, and what the official package said of them (`record.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.api import Clip, Score
from harness.features import FeatureStore, sha256_file
from metrics.vbench.dimension import Dimension
from metrics.vbench.seeded import write_all
from tests.metrics.vbench.clips import SEED, SHOTS

OUTPUTS = Path(__file__).with_name("official_outputs.json")


@cache
def official(dimension: str) -> Mapping[str, float]:
    """The official score of every clip, as it stands in the package's rows."""
    values = json.loads(OUTPUTS.read_text(encoding="utf-8"))["dimensions"][dimension]["values"]
    return {name: row["video_results"] for name, row in values.items()}


def make(kind: type[Dimension], folder: Path, **options: Any) -> Dimension:
    """The metric on the CPU, with the weights on which the official scores were recorded."""
    write_all(folder, [kind.dimension], SEED, small=True)
    return kind(kind.Config(weights=str(folder), unofficial_weights=True, device="cpu", **options))


def score(metric: Dimension, path: Path) -> Score:
    """Of one recorded clip, named like its file."""
    style = SHOTS[path.stem].style if path.stem in SHOTS else "cubism"
    meta = {"auxiliary_info": {"appearance_style": {"appearance_style": style}}}
    clip = Clip(path.stem, path, sha256_file(path), meta=meta)
    with FeatureStore().open(clip, metric.extractors()) as features:
        return metric.score(clip, features)
