"""A metric of the family with a network that costs nothing, and clips on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import video
from harness.api import Clip
from harness.features import FeatureStore, sha256_file
from metrics.cdfvd.extract import Sampling, WindowExtractor
from metrics.cdfvd.metric import FrechetMetric, FrechetOptions
from tests.metrics.cdfvd import seeded

LENGTH = 6


class Coarse(WindowExtractor):
    """The window's mean picture at 2 x 2 pixels and what its frames differ by on average: 12 + 1 numbers."""

    name, size = "test-coarse", 13

    def load(self) -> nn.Module:
        return nn.Identity()

    def feature(self, network: nn.Module, frames: torch.Tensor) -> torch.Tensor:
        x = frames.float() / 255
        picture = nn.functional.adaptive_avg_pool2d(x.mean(0), 2).flatten()
        return torch.cat([picture, x.diff(dim=0).abs().mean()[None]])[None]


class Simple(FrechetMetric):
    """Distance between coarse pictures."""

    name = "test-simple"
    Config = FrechetOptions
    advised = 20

    @classmethod
    def reference_path(cls, config: Any) -> Path:
        return Path(config.reference)

    def make_extractor(self) -> Coarse:
        return Coarse(Path(__file__), Sampling(16, LENGTH, self.config.start, self.config.seed), "cpu")


def write_clips(folder: Path, count: int, frames: int = 8, seed: int = 0) -> list[Clip]:
    """So many coloured clips of 24 x 32 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for index in range(count):
        path = folder / f"{index:03d}.mp4"
        shade = np.random.default_rng(seed + index).uniform(0.3, 1, 3)
        video.write(path, (seeded.clip(frames, 24, 32, seed + index) * shade).astype(np.uint8), 8.0)
        clips.append(Clip(path.name, path, sha256_file(path)))
    return clips


def taken(config: FrechetOptions, clips: list[Clip]) -> Simple:
    """The metric after it has seen these clips."""
    metric, store = Simple(config), FeatureStore()
    for clip in clips:
        with store.open(clip, metric.extractors()) as features:
            metric.update(clip, features)
    return metric
