"""From `{"name": ..., **options}` in a suite to the plugin it names, validated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Dataset
from harness.config import validate
from harness.errors import UserError, did_you_mean

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
    warning: str = ""

    @property
    def per_clip(self) -> bool:
        """A row for every clip; otherwise one for all of them."""
        return self.level in {"clip", "samples"}

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


def members(name: str) -> list[str]:
    """A metric's own name, or for the name of a family, `vbench`, all metrics in it: `vbench/...`."""
    names = registry.metrics.names()
    found = [name] if name in names else [member for member in names if member.startswith(f"{name}/")]
    return found or [registry.metrics.get(name, "metrics").name]  # which raises, with a suggestion


def options_of(name: str) -> set[str]:
    """Options that a metric, or any member of a family, has."""
    return {key for member in members(name) for key in registry.metrics.get(member).Config.model_fields}


def metric_items(items: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Family names spelled out: `{"name": "vbench", ...}` becomes every member with those of the options it has.

    Returns:
        One item a metric, and what a family has but leaves out under these options, with the reason.
    """
    found, excluded = [], dict[str, str]()
    for item in items:
        name = str(item.get("name", ""))
        if members(name) == [name]:
            found.append(dict(item))
            continue
        for key in set(item) - options_of(name) - {"name"}:
            raise UserError(f'metrics.{name}: no member has an option "{key}"', did_you_mean(key, options_of(name)))
        for member in members(name):
            kind = registry.metrics.get(member)
            options = {key: value for key, value in item.items() if key in kind.Config.model_fields}
            reason = kind.excluded(plugin_config(kind, options, f"metrics.{member}"))
            if reason:
                excluded[member] = reason
            else:
                found.append({"name": member, **options})
    return found, excluded


def metric_specs(items: Iterable[Mapping[str, Any]]) -> tuple[MetricSpec, ...]:
    """Every metric that `items` name, alone or by family; a metric named twice is an error."""
    specs = [metric_spec(item) for item in metric_items(items)[0]]
    for spec in specs:
        if sum(other.id == spec.id for other in specs) > 1:
            raise UserError(f"metrics: {spec.name} is named twice", "leave one out")
    return tuple(specs)


def metric_spec(item: Mapping[str, Any]) -> MetricSpec:
    """Resolve a metric, check its weights and take its fingerprint."""
    from harness.features import fingerprint

    kind = registry.metrics.get(item.get("name", ""), "metrics")
    config = plugin_config(kind, item, f"metrics.{kind.name}")
    if reason := kind.excluded(config):
        raise UserError(f"metrics.{kind.name}: not with these options: {reason}", "leave it out or change its options")
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
        higher_is_better=kind.direction(config),
        range=kind.range,
        unit=kind.unit,
        warning=kind.warning(config),
    )
