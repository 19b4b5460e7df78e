"""Every broken metric is caught by the check that is about it, in words that name the fault; sound ones pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.api import Metric
from harness.conformance import check_metric
from harness.conformance.footage import Footage
from tests.conformance import broken_scores, broken_sets
from tests.conformance.asking import about_metric, caught
from tests.conformance.broken_metrics import BROKEN, KEEPING, Grey, OutOfRangeInTheDark


def named(value: object) -> str:
    return getattr(value, "__name__", "-")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Footage]:
    """Clips written once, alone and in pairs."""
    return {together: Footage(tmp_path_factory.mktemp("clips"), together) for together in (False, True)}


@pytest.mark.parametrize(("kind", "check", "words"), [*BROKEN, *broken_scores.BROKEN, *broken_sets.BROKEN], ids=named)
def test_a_broken_metric_is_caught(
    kind: type[Metric], check: str, words: str, footage: dict[bool, Footage], tmp_path: Path
) -> None:
    registry.metrics.register(Grey)  # what summaries read
    caught(about_metric(kind, check, footage, tmp_path), check, words)


@pytest.mark.parametrize("kind", [*KEEPING, *broken_sets.KEEPING], ids=named)
def test_a_sound_metric_passes_everything(kind: type[Metric], footage: dict[bool, Footage], tmp_path: Path) -> None:
    registry.metrics.register(Grey)
    report = about_metric(kind, None, footage, tmp_path).demand()
    assert len(report.of("passed")) >= (2 if kind.level == "summary" else 9)


def test_the_assertion_names_the_clip_and_the_range() -> None:
    with pytest.raises(AssertionError) as error:
        check_metric(OutOfRangeInTheDark)
    assert str(error.value) == (
        'metric "broken/OutOfRangeInTheDark" fails 1 of its checks:\n'
        "  range: for a black clip its value -0.2 is outside the declared range [0, 1]"
    )
