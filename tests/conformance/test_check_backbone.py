"""Broken backbones and datasets are caught by the check that is about them; sound ones pass."""

from __future__ import annotations

import pytest

from harness.api import Backbone, Dataset
from harness.conformance import check_backbone, check_dataset
from tests.conformance import broken_backbones, broken_datasets
from tests.conformance.asking import about_backbone, about_dataset, caught
from tests.toys import ToyBackbone


def named(value: object) -> str:
    return getattr(value, "__name__", "-")


@pytest.mark.parametrize(("kind", "check", "words"), broken_backbones.BROKEN, ids=named)
def test_a_broken_backbone_is_caught(kind: type[Backbone], check: str, words: str) -> None:
    caught(about_backbone(kind, check), check, words)


def test_a_sound_backbone_passes_everything() -> None:
    report = check_backbone(ToyBackbone)
    assert {check.name for check in report.of("not applicable")} == {"temporal attention", "GPU"}
    assert report["load"].message == "1,723 parameters, predicts flow"
    assert report["digest"].message.endswith(", in another process too; its module imports torch itself")


@pytest.mark.parametrize("family", ["v", "eps"])
def test_a_sound_variance_preserving_backbone_passes(family: str) -> None:
    report = about_backbone(ToyBackbone, "copies", {"family": family}).demand()
    assert report["load"].message == f"1,723 parameters, predicts {family}"
    assert about_backbone(ToyBackbone, "target", {"family": family}).passed


@pytest.mark.parametrize(("kind", "check", "words"), broken_datasets.BROKEN, ids=named)
def test_a_broken_dataset_is_caught(kind: type[Dataset], check: str, words: str) -> None:
    caught(about_dataset(kind, check), check, words)


def test_a_sound_dataset_passes_everything() -> None:
    report = check_dataset(broken_datasets.Sound)
    assert len(report.of("passed")) == 4
    assert report["rows"].message == "8 rows, score columns mq, vq"
