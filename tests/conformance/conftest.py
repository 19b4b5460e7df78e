"""What every test of this folder starts from."""

from __future__ import annotations

import pytest

from harness import diagnostics, registry
from harness.job import set_threads
from tests.toys import ToyBackbone


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered here is forgotten afterwards; trainings draw no pictures."""
    set_threads(1)
    for entries in (registry.methods, registry.metrics, registry.backbones, registry.datasets, registry.trackers):
        monkeypatch.setattr(entries, "_classes", dict(entries._classes))
    monkeypatch.setattr(diagnostics, "draw", lambda *_: None)
    registry.register_backbone(ToyBackbone)
