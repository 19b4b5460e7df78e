"""What a suite would need, found out without loading, downloading or training anything: for `mutoscope plan`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness import registry
from harness.api import ClipSpec, Needs, Weights
from harness.backbones.known import known_models
from harness.errors import UserError
from harness.plugins import make_dataset, metric_items, metric_spec, plugin_config
from harness.prompts import read_prompts
from harness.rows import Part, resolve_rows
from harness.suite import Suite

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
CODEC_BYTES = 4  # every adapter keeps its autoencoder in float32
STATES = 4  # of a trained network: weights, gradients and AdamW's two moments, all in the weights' dtype


@dataclass(frozen=True)
class Item:
    """One thing a run needs. `problem` is empty when it is there; otherwise `remedy` says what to do."""

    kind: str
    name: str
    note: str = ""
    problem: str = ""
    remedy: str = ""


class Memory(NamedTuple):
    """Bytes of weights, gradients and optimiser state; activations come on top. None where a part is unknown."""

    training: int | None
    generating: int | None


@dataclass(frozen=True)
class RowNeeds:
    """What one row of the suite asks for."""

    row: str
    roles: Mapping[str, str]  # role to what it is: "trained", "frozen" or "from ROW"
    columns: tuple[str, ...]
    caps: tuple[str, ...]
    stages: tuple[str, ...]
    rewards: tuple[str, ...]
    nfe: int | None  # of a generated clip
    memory: Memory


@dataclass(frozen=True)
class Requirements:
    """Everything a suite needs: what is there, what is missing, and what each row asks for."""

    items: tuple[Item, ...]
    rows: tuple[RowNeeds, ...]

    @property
    def missing(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.problem)


def find_out(suite: Suite, methods: Sequence[str] = ()) -> Requirements:
    """Needs of the chosen rows and of the rows that supply them. UserError for what is wrong rather than missing."""
    parts = resolve_rows(suite, list(methods) or list(suite.methods))
    for kind, config in list(parts.values()):
        suppliers = kind.needs(config).checkpoints.values()
        parts |= resolve_rows(suite, [name for name in suppliers if name not in parts])
    backbone = registry.backbones.get(suite.backbone["name"], "backbone.name")
    config = plugin_config(backbone, suite.backbone, "backbone")
    weights = backbone.weights(config)
    needs = {row: kind.needs(options) for row, (kind, options) in parts.items()}
    caps = backbone.capabilities(config)
    items = (
        *_metric_items(suite),
        *_weight_items(suite, weights),
        *_prompt_items(suite),
        *_data_items(suite, parts, needs),
        *_reward_items(needs),
        *_cap_items(suite, needs, caps),
    )
    sizes = _Sizes(weights, getattr(config, "dtype", "float32"))
    rows = tuple(_row_needs(suite, row, parts, needs[row], sizes) for row in parts)
    return Requirements(items, rows)


def _metric_items(suite: Suite) -> Iterator[Item]:
    """Metrics that cannot be computed on this machine yet; those that lack the same thing share an item."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for number, item in enumerate(metric_items(suite.metrics)[0]):
        kind = registry.metrics.get(item.get("name", ""), f"metrics.{number}")
        plugin_config(kind, item, f"metrics.{kind.name}")
        try:
            metric_spec(item)
        except UserError as error:
            lacking.setdefault((error.problem, error.remedy), []).append(kind.name)
    for (problem, remedy), names in lacking.items():
        yield Item("metric", ", ".join(names), "", problem, remedy)


def _weight_items(suite: Suite, weights: Weights | None) -> Iterator[Item]:
    if weights is None:
        yield Item("weights", suite.backbone["name"], "needs no files")
        return
    known = known_models().get(weights.path)
    parameters = dict(weights.parameters) or (dict(known.parameters) if known else {})
    note = ", ".join(f"{name} {count_text(count)}" for name, count in parameters.items()) or "size unknown"
    if weights.problem and known:
        note += f"; download about {byte_text(known.download)}"
    yield Item("weights", weights.path, note, weights.problem, weights.remedy)


def _prompt_items(suite: Suite) -> Iterator[Item]:
    source = suite.prompts
    name = source.file or (f"dataset {source.dataset['name']}" if source.dataset else "in the suite")
    try:
        yield Item("prompts", name, f"{len(read_prompts(suite))} prompts")
    except UserError as error:
        yield Item("prompts", name, "", error.problem, error.remedy or "a text a line (.txt), or .csv, .jsonl, .json")


def _data_items(suite: Suite, parts: Mapping[str, Part], needs: Mapping[str, Needs]) -> Iterator[Item]:
    """The training set and its columns, if anything is trained."""
    trained = [row for row, (kind, config) in parts.items() if kind.turns_for(config)]
    if not trained:
        return
    columns = sorted({column for row in trained for column in _columns(needs[row])})
    name = str(suite.dataset.get("path", suite.dataset["name"]))
    wanted = f"columns {', '.join(columns)}"
    try:
        rows = make_dataset(suite).rows()
    except UserError as error:
        yield Item("data", name, wanted, error.problem, error.remedy)
        return
    yield Item("data", name, f"{len(rows)} clips; {wanted}")
    for column in columns:
        users = [row for row in trained if column in _columns(needs[row])]
        if column == "short_prompt":
            there = any(row.short_prompt for row in rows)
        else:
            there = column == "caption" or all(column in row.scores for row in rows)
        if not there:
            problem = f"dataset {name} has no such column; needed by {', '.join(users)}"
            yield Item("column", column, "", problem, "add it to the metadata, or name a file with dataset.scores")


def _columns(needs: Needs) -> list[str]:
    return ["caption", *needs.scores, *(("short_prompt",) if "short_prompt" in needs.fields else ())]


def _reward_items(needs: Mapping[str, Needs]) -> Iterator[Item]:
    """Each distinct reward once, with what its own check says."""
    users: dict[str, list[str]] = {}
    specs: dict[str, Mapping[str, Any]] = {}
    for row, need in needs.items():
        for spec in need.rewards:
            key = repr(sorted(spec.items()))
            specs[key] = spec
            users.setdefault(key, []).append(row)
    for key, spec in specs.items():
        note = f"for {', '.join(users[key])}"
        try:
            registry.find_part("reward", spec["name"]).check(registry.check_part("reward", spec))
            yield Item("reward", spec["name"], note)
        except UserError as error:
            yield Item("reward", spec["name"], note, error.problem, error.remedy)


def _cap_items(suite: Suite, needs: Mapping[str, Needs], caps: frozenset[str]) -> Iterator[Item]:
    for row, need in needs.items():
        for cap in sorted(set(need.caps) - caps):
            problem = f'backbone "{suite.backbone["name"]}" cannot do this; needed by {row}'
            yield Item("ability", cap, "", problem, "choose another backbone, or leave the row out with --methods")


# ---- rows ------------------------------------------------------------------------------------------------------


def _row_needs(suite: Suite, row: str, parts: Mapping[str, Part], needs: Needs, sizes: _Sizes) -> RowNeeds:
    kind, config = parts[row]
    trained = {turn.role for turn in kind.turns_for(config)}
    roles = {role: "trained" if role in trained else "frozen" for role in needs.roles}
    roles |= {role: f"from {supplier}" for role, supplier in needs.checkpoints.items()}
    supplied = {role: parts[supplier] for role, supplier in needs.checkpoints.items()}
    networks = {role: sizes.role(*supplied.get(role, parts[row]), role) for role in {*trained, *supplied}}
    return RowNeeds(
        row=row,
        roles=roles,
        columns=tuple(_columns(needs)) if trained else (),
        caps=needs.caps,
        stages=tuple(str(spec["name"]) for spec in needs.stages),
        rewards=tuple(str(spec["name"]) for spec in needs.rewards),
        nfe=kind.nfe(config, suite.generate.model_dump()),
        memory=Memory(
            training=sizes.total(STATES * networks[role] for role in trained) if trained else 0,
            generating=sizes.total(networks.values()) if roles else 0,
        ),
    )


class _Sizes:
    """Bytes of a backbone's parts and of what methods make of it."""

    def __init__(self, weights: Weights | None, dtype: str) -> None:
        known = known_models().get(weights.path) if weights else None
        parameters = dict(weights.parameters) if weights else {}
        self.parameters = parameters or (known.parameters if known else {})
        self.channels = (weights.latent_channels if weights else 0) or (known.latent_channels if known else 0)
        self.trained = weights.trained if weights else ""
        self.width = BYTES[dtype]

    @property
    def network(self) -> int:
        """The denoiser's weights, once."""
        return self.parameters.get(self.trained, 0) * self.width

    @property
    def helpers(self) -> int:
        """Text encoder and codec, frozen and shared."""
        others = {name: count for name, count in self.parameters.items() if name != self.trained}
        return sum(count * (CODEC_BYTES if name == "vae" else self.width) for name, count in others.items())

    def total(self, networks: Iterable[int]) -> int | None:
        """With the frozen backbone, which is also every frozen role; None for a backbone of unknown size."""
        return self.network + self.helpers + sum(networks) if self.parameters else None

    def role(self, kind: Any, config: Any, role: str) -> int:
        """One copy of a role's network: the method is asked to build it from a stand-in, which it copies or not."""
        stand_in = _StandIn(self.channels)
        built = kind.build(config, role, stand_in, True)
        if built is stand_in:
            return self.network
        return sum(p.numel() * p.element_size() for p in built.net.parameters())


class _StandIn:
    """A backbone without weights, for methods that build a role's network from it."""

    def __init__(self, channels: int) -> None:
        import torch

        self.channels, self.net = channels, torch.nn.Linear(1, 1)

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> _StandIn:
        return self

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        return self.channels, spec.frames, spec.height, spec.width


# ---- numbers for people ----------------------------------------------------------------------------------------


def byte_text(count: float) -> str:
    """Decimal units: `5.7 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_text(count: float) -> str:
    """Parameters: `1.42 B`."""
    for unit in ("", " k", " M"):
        if count < 1000:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g} B"
