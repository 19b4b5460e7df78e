"""From `{"name": ..., **options}` in a suite to the plugin it names, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Dataset
from harness.config import validate
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.suite import Suite


@dataclass(frozen=True)
class MetricSpec:
    """A metric as a suite uses it; what the run directory records about it."""

    name: str
    config: Mapping[str, Any]
    version: int
    fingerprint: str
    level: str
    higher_is_better: bool | None
    range: tuple[float, float]
    unit: str

    @property
    def id(self) -> str:
        return f"{self.name}@{self.fingerprint[:8]}"


def plugin_config(kind: Any, spec: Mapping[str, Any], where: str) -> Any:
    """The plugin's validated Config from `{"name": ..., **options}`."""
    return validate(kind.Config, {k: v for k, v in spec.items() if k != "name"}, where)


def make_dataset(suite: Suite, spec: Mapping[str, Any] | None = None, where: str = "dataset") -> Dataset:
    """The suite's training set, or another dataset named by `spec`, at the suite's clip spec."""
    options = dict(suite.dataset if spec is None else spec)
    scores = options.pop("scores", None)
    kind = registry.datasets.get(options.get("name", ""), f"{where}.name")
    dataset = kind(plugin_config(kind, options, where), suite.clip)
    if scores is None:
        return dataset
    from harness.data.scores import Scored

    return Scored(dataset, Path(scores))


def metric_spec(item: Mapping[str, Any]) -> MetricSpec:
    """Resolve a metric, check its weights and take its fingerprint."""
    from harness.features import fingerprint

    kind = registry.metrics.get(item.get("name", ""), "metrics")
    config = plugin_config(kind, item, f"metrics.{kind.name}")
    if not all(map(math.isfinite, kind.range)):
        raise UserError(
            f"metrics.{kind.name}: its range {kind.range} is not finite", "declare bounds no true value passes"
        )
    return MetricSpec(
        name=kind.name,
        config=config.model_dump(mode="json"),
        version=kind.version,
        fingerprint=fingerprint(kind, config),
        level=kind.level,
        higher_is_better=kind.higher_is_better,
        range=kind.range,
        unit=kind.unit,
    )
