"""Asking a plugin one question of a conformance run, with those it is asked after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.conformance import backbones, datasets, methods, metrics, trackers
from harness.conformance.bench import Bench
from harness.conformance.datasets import DatasetBench
from harness.conformance.footage import Footage
from harness.conformance.judging import MetricBench
from harness.conformance.loading import BackboneBench
from harness.conformance.randomness import restored
from harness.conformance.report import Question, Report, examine
from harness.conformance.wandering import TrackerBench

TOY: Mapping[str, Any] = {"name": "toy"}


def needed(questions: Sequence[Question[Any]], name: str) -> list[Question[Any]]:
    """The question called `name` and all that it is asked after, in their order."""
    wanted, todo = set[str](), [name]
    known = {question.name: question for question in questions}
    while todo:
        wanted.add(now := todo.pop())
        todo += known[now].after
    return [question for question in questions if question.name in wanted]


def about_method(kind: Any, name: str, root: Path) -> Report:
    registry.methods.register(kind)
    bench = Bench(kind, {}, TOY, root)
    with restored():
        report = examine("method", kind.name, bench, needed(methods.QUESTIONS, name))
    bench.restore()
    return report


def about_metric(kind: Any, name: str | None, footage: dict[bool, Footage], root: Path) -> Report:
    """The question called `name`, or all; the clips' files are shared, so that they are written once."""
    registry.metrics.register(kind)
    bench = MetricBench(kind, {}, root)
    bench.footage = footage[kind.level == "samples"]
    with restored():
        questions = metrics.QUESTIONS[kind.level]
        return examine("metric", kind.name, bench, needed(questions, name) if name else questions)


def about_backbone(kind: Any, name: str, settings: Mapping[str, Any] | None = None) -> Report:
    registry.backbones.register(kind)
    with restored():
        return examine("backbone", kind.name, BackboneBench(kind, settings or {}), needed(backbones.QUESTIONS, name))


def about_dataset(kind: Any, name: str) -> Report:
    registry.datasets.register(kind)
    with restored():
        return examine("dataset", kind.name, DatasetBench(kind, {}), needed(datasets.QUESTIONS, name))


def about_tracker(kind: Any, name: str) -> Report:
    registry.trackers.register(kind)
    with restored():
        return examine("tracker", kind.name, TrackerBench(kind, {}), needed(trackers.QUESTIONS, name))


def caught(report: Report, name: str, words: str) -> None:
    """The check called `name` failed, alone, and its message has these words."""
    failed = {check.name: check.message for check in report.of("failed")}
    assert set(failed) == {name}, failed
    assert words in failed[name], failed[name]
