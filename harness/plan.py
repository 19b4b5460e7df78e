"""Suite x methods x seeds to ordered cells with their keys. Every check that can fail early fails here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from harness import registry
from harness.api import Asked, Needs, Offer
from harness.backbones.pipeline_folder import digests
from harness.config import digest
from harness.errors import UserError
from harness.plugins import MetricSpec, make_dataset, metric_specs, plugin_config
from harness.prompts import Prompt, read_prompts
from harness.rows import Part, check_columns, check_overlap, check_parts, parents_of, resolve_rows, supply
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
    marks: tuple[str, ...] = ()  # of this row, beside the plan's

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
    parents = parents_of(suite, rows)
    metrics = metric_specs(suite.metrics)
    backbone_class = registry.backbones.get(suite.backbone["name"], "backbone.name")
    backbone_config = plugin_config(backbone_class, suite.backbone, "backbone")
    backbone_digest = backbone_class.digest(backbone_config)
    trained = {row: part for row, part in {**supply(parents), **rows}.items() if part[0].turns_for(part[1])}
    needs = {row: kind.needs(config) for row, (kind, config) in {**trained, **rows}.items()}
    prompts = read_prompts(suite)
    marks: tuple[str, ...] = ()
    dataset = make_dataset(suite)
    data_digest = dataset.digest()
    caps = backbone_class.capabilities(backbone_config)
    for row, need in needs.items():
        check_parts(row, need, caps, suite)
    if trained:
        data_rows = dataset.rows()
        for row in trained:
            check_columns(row, needs[row], data_rows, suite)
        marks = check_overlap(suite, data_rows, prompts)
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
        offer = _offer(plan, row, rows[row], seeds or suite.seeds)
        for seed in (seeds or suite.seeds) if offer is None else offer.seeds or ():
            if offer is not None:
                cells.append(_made_cell(plan, row, seed, rows[row], offer))
                continue
            suppliers = {
                role: _cell(plan, parent, seed, part, {}) for role, (parent, part) in parents.get(row, {}).items()
            }
            cells.append(_cell(plan, row, seed, rows[row], suppliers))
    return plan.only(cells)


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
    found = _keyed(plan, row, seed, part, Keys(config_digest, train_key, digest(sampled)))
    return replace(found, trains=trains, parents=parents)


class Keys(NamedTuple):
    """What a cell is known by."""

    config: str
    train: str
    clip: str


def _keyed(plan: Plan, row: str, seed: int, part: Part, keys: Keys) -> Cell:
    """The cell of these keys, which trains nothing and is built on nothing."""
    kind, config = part
    return Cell(
        row=row,
        method=kind.name,
        version=kind.version,
        config=config.model_dump(mode="json"),
        config_digest=keys.config,
        seed=seed,
        path=plan.folder / f"{row}@{keys.config[:8]}" / f"seed{seed}",
        train_key=keys.train,
        clip_key=keys.clip,
        trains=False,
    )


def _offer(plan: Plan, row: str, part: Part, seeds: Sequence[int]) -> Offer | None:
    """What a participant has of these seeds, checked; None for a row that is sampled."""
    maker = part[0].maker(part[1], plan.suite.clip)
    if maker is None:
        return None
    asked = [Asked(prompt.id, prompt.text, prompt.meta) for prompt in plan.prompts]
    try:
        offer: Offer = maker.offer(asked, plan.suite.seeds[0])
        wanted = tuple(seed for seed in seeds if offer.seeds is None or seed in offer.seeds)
        if not wanted:
            has = ",".join(map(str, offer.seeds or ()))
            raise UserError(f"no clips of seed {', '.join(map(str, seeds))}", f"it has --seeds {has}")
        for seed in wanted:
            maker.check(asked[: plan.wanted], seed)
    except UserError as error:
        raise UserError(f"methods.{row}: {error.problem}", error.remedy) from error
    return replace(offer, seeds=wanted)


def _made_cell(plan: Plan, row: str, seed: int, part: Part, offer: Offer) -> Cell:
    """A cell whose clips do not depend on the backbone: its keys hold the bytes it was offered, not their place."""
    kind, config = part
    options, maker = config.model_dump(mode="json"), kind.maker(config, plan.suite.clip)
    told = {key: value for key, value in options.items() if key not in maker.places}
    identity = {"method": kind.name, "version": kind.version, "config": told, "clips": offer.digest}
    config_digest = digest(identity)
    train_key = digest(identity | {"clip": plan.suite.clip.model_dump()})
    prompts = [[prompt.id, prompt.text] for prompt in plan.prompts]
    clip_key = digest({"train": train_key, "prompts": prompts, "seed": seed})
    return replace(_keyed(plan, row, seed, part, Keys(config_digest, train_key, clip_key)), marks=maker.marks)


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
