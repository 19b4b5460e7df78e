"""Suite x methods x seeds to ordered cells with their keys. Every check that can fail early fails here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import registry
from harness.api import Needs, Row
from harness.backbones.pipeline_folder import digests
from harness.config import digest, merge, validate
from harness.errors import UserError, did_you_mean
from harness.plugins import MetricSpec, make_dataset, metric_specs, plugin_config
from harness.prompts import Prompt, read_prompts
from harness.store import read_json, write_json
from harness.suite import Suite


@dataclass(frozen=True)
class Cell:
    """Suite x row x seed: the unit of work, of resume and of a leaderboard's child run. Plain data, so it travels."""

    row: str
    method: str
    version: int
    config: Mapping[str, Any]
    config_digest: str
    seed: int
    path: Path
    train_key: str
    clip_key: str
    trains: bool
    parents: Mapping[str, Cell] = field(default_factory=dict)  # role to the cell whose training supplies it

    @property
    def label(self) -> str:
        return f"{self.row} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know. Plain data."""

    suite: Suite
    digest: str
    root: Path
    prompts: tuple[Prompt, ...]
    metrics: tuple[MetricSpec, ...]
    cells: tuple[Cell, ...]
    limit: int | None = None
    marks: tuple[str, ...] = ()
    data_digest: str = ""
    backbone_digest: str = ""
    plugins: tuple[str, ...] = field(default=())

    @property
    def folder(self) -> Path:
        return self.root / f"{self.suite.name}@{self.digest[:8]}"

    def only(self, cells: Iterable[Cell]) -> Plan:
        """The same plan with these cells."""
        return replace(self, cells=tuple(cells))

    @cached_property
    def wanted(self) -> int:
        """Number of prompts to generate: a limit is rounded up to whole generation batches, which are never split."""
        if self.limit is None:
            return len(self.prompts)
        batch = self.suite.generate.batch
        return min(len(self.prompts), -(-self.limit // batch) * batch)


def make_plan(
    suite: Suite,
    root: Path,
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    limit: int | None = None,
    plugins: Sequence[str] = (),
) -> Plan:
    """Resolve names, configs, data and weights; raise UserError on the first thing that could not work."""
    for plugin in plugins:
        registry.load_plugin(plugin)
    rows = resolve_rows(suite, list(methods) or list(suite.methods))
    parents = _parents(suite, rows)
    metrics = metric_specs(suite.metrics)
    backbone_class = registry.backbones.get(suite.backbone["name"], "backbone.name")
    backbone_config = plugin_config(backbone_class, suite.backbone, "backbone")
    backbone_digest = backbone_class.digest(backbone_config)
    trained = {row: part for row, part in {**_supply(parents), **rows}.items() if part[0].turns_for(part[1])}
    needs = {row: kind.needs(config) for row, (kind, config) in {**trained, **rows}.items()}
    prompts = read_prompts(suite)
    marks: tuple[str, ...] = ()
    dataset = make_dataset(suite)
    data_digest = dataset.digest()
    caps = backbone_class.capabilities(backbone_config)
    for row, need in needs.items():
        _check_parts(row, need, caps, suite)
    if trained:
        data_rows = dataset.rows()
        for row in trained:
            _check_columns(row, needs[row], data_rows, suite)
        marks = _check_overlap(suite, data_rows, prompts)
    protocol = suite.protocol() | {
        "prompts": [asdict(prompt) for prompt in prompts],
        "metrics": [spec.id for spec in metrics],
        "backbone": backbone_digest,
        "data": data_digest,
    }
    suite_digest = digest(protocol)
    plan = Plan(
        suite, suite_digest, root.resolve(), prompts, metrics, (), limit, marks, data_digest, backbone_digest,
        tuple(plugins),
    )  # fmt: skip
    cells = []
    for row in sorted(rows, key=lambda row: bool(parents.get(row))):  # what is built on others comes after them
        for seed in seeds or suite.seeds:
            supply = {
                role: _cell(plan, parent, seed, part, {}) for role, (parent, part) in parents.get(row, {}).items()
            }
            cells.append(_cell(plan, row, seed, rows[row], supply))
    return plan.only(cells)


Part = tuple[Any, Any]  # method class, its validated config


def resolve_rows(suite: Suite, chosen: Sequence[str]) -> dict[str, Part]:
    """Row name to (method class, config); any registered method may be named, not only the suite's rows."""
    out = {}
    for row in chosen:
        options = dict(suite.methods.get(row, {}))
        name = options.pop("method", row)
        if row not in suite.methods and row not in registry.methods.names():
            known = {*suite.methods, *registry.methods.names()}
            raise UserError(f'no method or row is called "{row}"', did_you_mean(row, known))
        kind = registry.methods.get(name, f"methods.{row}")
        out[row] = kind, validate(kind.Config, merge(kind.preset, options), f"methods.{row}")
    return out


def _parents(suite: Suite, rows: Mapping[str, Part]) -> dict[str, dict[str, tuple[str, Part]]]:
    """Row to {role: (row that trains it, its method)}, for rows that are built on the training of others."""
    out: dict[str, dict[str, tuple[str, Part]]] = {}
    for row, (kind, config) in rows.items():
        for role, parent in kind.needs(config).checkpoints.items():
            part = resolve_rows(suite, [parent])[parent]
            if not part[0].turns_for(part[1]):
                raise UserError(
                    f"methods.{row}: {role} comes from row {parent}, which trains nothing", "name another row"
                )
            out.setdefault(row, {})[role] = parent, part
    return out


def _supply(parents: Mapping[str, Mapping[str, tuple[str, Part]]]) -> dict[str, Part]:
    return {parent: part for roles in parents.values() for parent, part in roles.values()}


def _check_parts(row: str, need: Needs, caps: frozenset[str], suite: Suite) -> None:
    """What the backbone must be able to do, and what rewards need on this machine."""
    lacking = sorted(set(need.caps) - caps)
    if lacking:
        raise UserError(
            f'methods.{row}: needs {", ".join(lacking)}, which backbone "{suite.backbone["name"]}" cannot do',
            "choose another backbone, or leave the method out with --methods",
        )
    for spec in need.rewards:
        registry.find_part("reward", spec["name"]).check(registry.check_part("reward", spec))


def _check_columns(row: str, need: Needs, rows: Sequence[Row], suite: Suite) -> None:
    where = f"methods.{row}: needs"
    missing = [name for name in need.scores if any(name not in item.scores for item in rows)]
    if missing:
        raise UserError(
            f"{where} score column{'s' * (len(missing) > 1)} {', '.join(missing)}, which dataset "
            f'"{suite.dataset["name"]}" lacks',
            "add the columns to its metadata, name a file with dataset.scores, or leave the method out with --methods",
        )
    if "short_prompt" in need.fields and not any(item.short_prompt for item in rows):
        raise UserError(f"{where} short captions", "add a short_prompt column to the dataset's metadata")


def normal_prompt(text: str) -> str:
    """Two prompts are the same if they agree up to case, spacing and a final stop."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def _check_overlap(suite: Suite, rows: Iterable[Row], prompts: Iterable[Prompt]) -> tuple[str, ...]:
    trained = {normal_prompt(text) for row in rows for text in (row.prompt, row.short_prompt) if text}
    shared = [prompt.text for prompt in prompts if normal_prompt(prompt.text) in trained]
    if not shared:
        return ()
    if not suite.train.allow_overlap:
        raise UserError(
            f'{len(shared)} of the evaluation prompts are also trained on, first: "{shared[0]}"',
            "change the dataset or the prompts, or mark the run with --set train.allow_overlap=true",
        )
    return ("overlap",)


def _cell(plan: Plan, row: str, seed: int, part: Part, parents: Mapping[str, Cell]) -> Cell:
    kind, config = part
    suite, options = plan.suite, config.model_dump(mode="json")
    trains = bool(kind.turns_for(config))
    identity = {"method": kind.name, "version": kind.version, "config": options}
    identity |= _beyond_the_config(kind.needs(config), parents)
    config_digest = digest(identity)
    common = {"backbone": plan.backbone_digest, "threads": suite.threads, "clip": suite.clip.model_dump()}
    trained = {"train": suite.train.model_dump(), "data": plan.data_digest, "seed": seed} if trains else {}
    supplied = {"parents": {role: cell.train_key for role, cell in parents.items()}} if parents else {}
    train_key = digest(identity | common | trained | supplied)
    sampled = {
        "train": train_key,
        "generate": suite.generate.model_dump(),
        "prompts": [[prompt.id, prompt.text] for prompt in plan.prompts],
        "seed": seed,
    }
    return Cell(
        row=row,
        method=kind.name,
        version=kind.version,
        config=options,
        config_digest=config_digest,
        seed=seed,
        path=plan.folder / f"{row}@{config_digest[:8]}" / f"seed{seed}",
        train_key=train_key,
        clip_key=digest(sampled),
        trains=trains,
        parents=parents,
    )


def _beyond_the_config(needs: Needs, parents: Mapping[str, Cell]) -> dict[str, Any]:
    """What else decides a row: the bytes of its rewards' weights, and the rows it is built on."""
    out: dict[str, Any] = {}
    if needs.rewards:
        files = [
            path
            for spec in needs.rewards
            for path in registry.find_part("reward", spec["name"]).weights(registry.check_part("reward", spec))
        ]
        out["rewards"] = digests(files)
    if parents:
        out["parents"] = {role: parent.config_digest for role, parent in parents.items()}
    return out


def write_suite(plan: Plan) -> None:
    """`suite.json` of the suite folder: the resolved protocol, for everyone who reads the results."""
    suite = plan.suite
    path = plan.folder / "suite.json"
    rows = sorted({*(read_json(path)["rows"] if path.exists() else ()), *(cell.row for cell in plan.cells)})
    seeds = sorted({*(read_json(path)["seeds"] if path.exists() else ()), *(cell.seed for cell in plan.cells)})
    content = {
        "name": suite.name,
        "digest": plan.digest,
        "title": suite.title,
        "description": suite.description,
        "clip": suite.clip.model_dump(),
        "prompts": len(plan.prompts),
        "seeds": seeds,
        "rows": rows,
        "metrics": [asdict(spec) for spec in plan.metrics],
        "resolved": suite.model_dump(mode="json"),
    }
    if not path.exists() or read_json(path) != _plain(content):
        write_json(path, content)


def _plain(obj: Any) -> Any:
    import json

    return json.loads(json.dumps(obj))
