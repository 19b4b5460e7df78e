"""ViCLIP and UMT at the published sizes: the official classes' numbers on seeded checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.api import Clip
from harness.features import FeatureStore, sha256_file
from metrics.vbench.human_action import HumanAction
from metrics.vbench.overall_consistency import OverallConsistency
from tests.metrics.vbench.clips import write
from tests.metrics.vbench.small import FULL_CLIPS, official, write_weights

pytestmark = pytest.mark.slow


def test_scores_are_the_official_ones(tmp_path: Path) -> None:
    options = {"weights": str(write_weights(tmp_path, full=True)), "unofficial_weights": True, "device": "cpu"}
    text, action = OverallConsistency(OverallConsistency.Config(**options)), HumanAction(HumanAction.Config(**options))
    recorded = official(full=True)
    for name, path in write(tmp_path, *FULL_CLIPS).items():
        clip = Clip(name, path, sha256_file(path))
        with FeatureStore().open(clip, [*text.extractors(), *action.extractors()]) as features:
            cosines = [text.score(Clip(name, path, clip.sha256, p), features).value for p in recorded["tokens"]]
            chances = features.of(*action.extractors())
        np.testing.assert_allclose(cosines, recorded["cosines"][name], rtol=0, atol=1e-6)
        np.testing.assert_allclose(chances, recorded["probabilities"][name], rtol=0, atol=1e-6)
