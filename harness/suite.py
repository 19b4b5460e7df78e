"""A suite: one comparison protocol, from a YAML file. `suites/*.yaml` ship; any path works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.api import ClipSpec, Options
from harness.config import load_yaml, merge, validate
from harness.errors import UserError, did_you_mean

SHIPPED = Path(__file__).parent / "suites"


class Train(Options):
    """The training budget, the same for every method of the suite."""

    steps: int = Field(100, ge=1)
    evaluations: int | None = Field(
        None,
        ge=1,
        description="network evaluations, all roles together; training ends once they are used, not at steps",
    )
    batch: int = Field(8, ge=1, description="clips per optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="micro-batches per optimiser step")
    lr: float = Field(1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    precision: Literal["no", "bf16", "fp16"] = "no"
    snapshot_every: int = Field(25, ge=1, description="steps between resume points")
    allow_overlap: bool = Field(False, description="train on evaluation prompts; marks the run")


class Generate(Options):
    """Sampler settings that every multi-step sampler shares."""

    steps: int = Field(50, ge=1)
    guidance: float = 5.0
    shift: float = Field(5.0, gt=0, description="flow shift of the time grid")
    batch: int = Field(4, ge=1, description="clips sampled together; part of the protocol")


class PromptSource(Options):
    """Exactly one of: inline texts, a file (.txt, .jsonl, .csv, .json), or the captions of a dataset."""

    texts: tuple[str, ...] = ()
    file: str | None = None
    dataset: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> PromptSource:
        if sum((bool(self.texts), self.file is not None, self.dataset is not None)) != 1:
            raise ValueError("give exactly one of texts, file, dataset")
        return self


class Suite(Options):
    """Everything that two rows of one leaderboard must have in common, and the rows."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str = ""
    description: str = ""
    backbone: dict[str, Any]
    clip: ClipSpec = ClipSpec()
    dataset: dict[str, Any]
    train: Train = Train()
    generate: Generate = Generate()
    prompts: PromptSource
    metrics: tuple[dict[str, Any], ...]
    methods: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0,)
    threads: int = Field(1, ge=1, description="intra-op CPU threads of a worker; part of the protocol")

    @field_validator("metrics", mode="before")
    @classmethod
    def _metric_names(cls, value: Any) -> Any:
        return _named_items(value)

    @field_validator("methods", mode="before")
    @classmethod
    def _empty_methods(cls, value: Any) -> Any:
        return {row: options or {} for row, options in value.items()} if isinstance(value, Mapping) else value

    @field_validator("backbone", "dataset", mode="after")
    @classmethod
    def _named(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value.get("name"):
            raise ValueError("needs a name, for example {name: shapes}")
        return value

    def protocol(self) -> dict[str, Any]:
        """What enters the suite's digest: all but the rows, seeds and prose."""
        return self.model_dump(mode="json", exclude={"title", "description", "methods", "seeds"})


def shipped() -> dict[str, Path]:
    """Suites that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def load(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Suite:
    """A shipped suite by name, or a YAML file by path, with `--set` overrides merged over it."""
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if name_or_path not in shipped():
            raise UserError(f'no suite is called "{name_or_path}"', did_you_mean(name_or_path, shipped()))
        path = shipped()[name_or_path]
    data, over = {"name": path.stem, **load_yaml(path)}, dict(overrides or {})
    if isinstance(over.get("metrics"), Mapping):
        over["metrics"] = _changed(_named_items(data.get("metrics", [])), over["metrics"])
    return validate(Suite, merge(data, over), "")


def _named_items(value: Any) -> Any:
    """A list of names, or mappings with a name, with all of them as mappings; anything else as it is, to be refused."""
    if not isinstance(value, (list, tuple)):
        return value
    return [{"name": item} if isinstance(item, str) else item for item in value]


def _changed(items: list[dict[str, Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The suite's metrics after `--set metrics.NAME.option=value`; NAME is as the suite lists it."""
    listed = {str(item.get("name", "")): _below(options, str(item.get("name", ""))) for item in items}
    for name in options:
        if not any(found is not None and known.split(".")[0] == name for known, found in listed.items()):
            raise UserError(f'--set metrics.{name}: the suite lists no "{name}"', did_you_mean(name, listed))
    for name, values in listed.items():
        if values is not None and not isinstance(values, Mapping):
            raise UserError(f"--set metrics.{name}: expected an option", f"for example metrics.{name}.device=cpu")
    return [merge(item, listed[str(item.get("name", ""))] or {}) for item in items]


def _below(options: Mapping[str, Any], name: str) -> Any:
    """What stands under a metric's name, whose own dots `--set` has taken for levels; None if nothing does."""
    node: Any = options
    for key in name.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
