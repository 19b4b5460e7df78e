"""Does a metric keep the promises of `harness.api.Metric`?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import registry
from harness.conformance import scoring, sets, touching
from harness.conformance.judging import MetricBench
from harness.conformance.randomness import restored
from harness.conformance.report import Report, examine

CLIP = (*scoring.QUESTIONS, *touching.QUESTIONS, sets.DIRECTION)
QUESTIONS = {
    "clip": CLIP,
    "samples": CLIP,
    "set": (*CLIP[:-1], *sets.QUESTIONS),
    "summary": sets.SUMMARY,
}


def examine_metric(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """Everything that can be asked about a metric, on clips of the embedded world.

    Args:
        kind: the class; it is registered under its name if it is not yet.
        settings: its options.

    Raises:
        UserError: the settings are wrong, or weights are not here.
    """
    registry.metrics.register(kind)
    with TemporaryDirectory(prefix="mutoscope-check-") as root, restored():
        bench = MetricBench(kind, settings or {}, Path(root))
        if kind.level != "summary":
            bench.check_weights()  # what is missing here is no fault of the metric
        return examine("metric", kind.name, bench, QUESTIONS.get(kind.level, CLIP))


def check_metric(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """`examine_metric`, for a plugin's own tests: raises one AssertionError that lists every failed check."""
    return examine_metric(kind, settings).demand()
