"""Does a method keep the promises of `harness.api.Method`?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from harness import registry
from harness.conformance import declaring, resuming, sampling, training
from harness.conformance.bench import Bench
from harness.conformance.randomness import restored
from harness.conformance.report import Report, examine

EMBEDDED: Mapping[str, Any] = MappingProxyType({"name": "wan", "path": "embedded"})
QUESTIONS = (*declaring.QUESTIONS, *training.QUESTIONS, *resuming.QUESTIONS, *sampling.QUESTIONS)


def examine_method(
    kind: Any, settings: Mapping[str, Any] | None = None, backbone: Mapping[str, Any] = EMBEDDED
) -> Report:
    """Everything that can be asked about a method, on a tiny plan with the embedded world.

    Args:
        kind: the class; it is registered under its name if it is not yet.
        settings: what a suite's row would say, merged over the preset.
        backbone: `{"name": ..., **options}`.

    Raises:
        UserError: the settings are wrong, or something the method declares is not here: a cap, a reward's weights.
    """
    registry.methods.register(kind)
    with TemporaryDirectory(prefix="mutoscope-check-") as root, restored():
        bench = Bench(kind, settings or {}, backbone, Path(root))
        bench.plan()  # what is missing here is no fault of the method
        try:
            return examine("method", kind.name, bench, QUESTIONS)
        finally:
            bench.restore()


def check_method(
    kind: Any, settings: Mapping[str, Any] | None = None, backbone: Mapping[str, Any] = EMBEDDED
) -> Report:
    """`examine_method`, for a plugin's own tests: raises one AssertionError that lists every failed check."""
    return examine_method(kind, settings, backbone).demand()
