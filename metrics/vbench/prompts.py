"""The official VBench prompt suite as data, and the dataset `vbench`: its prompts, one row for every sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from harness.api import ClipSpec, Dataset, Options, Row, UserError, register_dataset
from harness.errors import did_you_mean
from metrics.vbench.aggregate import DIMENSIONS, QUALITY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = Path(__file__).with_name("prompts.json")
FLICKERING = "temporal_flickering"  # the one dimension with more samples: its static filter rejects some
SAMPLES, STATIC_SAMPLES = 5, 25  # per prompt (VBench prompts/README.md)
MINI_STRIDE, MINI_SAMPLES, MINI_STATIC_SAMPLES = 16, 1, 5

Subset = Literal["standard", "quality-only", "mini"]


@dataclass(frozen=True)
class Entry:
    """A prompt with the dimensions it is evaluated on and what their evaluators look for."""

    prompt: str
    dimensions: tuple[str, ...]
    auxiliary_info: Mapping[str, Any] = field(default_factory=dict)  # by dimension, nested as VBench has it


@cache
def official_entries() -> tuple[Entry, ...]:
    """The 946 entries of VBench_full_info.json, in its order. Two prompts come twice, with other dimensions."""
    entries = []
    for group in json.loads(FILE.read_text(encoding="utf-8"))["lists"]:
        dimensions, path = tuple(group["dimensions"]), group["auxiliary"]
        for item in group["prompts"]:
            prompt, label = item if path else (item, None)
            entries.append(Entry(prompt, dimensions, _nest(path, label)))
    return tuple(entries)


def _nest(path: Sequence[str], label: Any) -> dict[str, Any]:
    """`{"scene": {"scene": {"scene": label}}}` for a path of three keys."""
    for key in reversed(path):
        label = {key: label}
    return label or {}


def official_info() -> list[dict[str, Any]]:
    """What VBench_full_info.json holds, key for key."""
    return [
        {"prompt_en": entry.prompt, "dimension": list(entry.dimensions)}
        | ({"auxiliary_info": dict(entry.auxiliary_info)} if entry.auxiliary_info else {})
        for entry in official_entries()
    ]


@cache
def official_prompts() -> tuple[Entry, ...]:
    """The 944 different prompts at their first place: a prompt's clips serve all its dimensions."""
    merged: dict[str, Entry] = {}
    for entry in official_entries():
        first = merged.get(entry.prompt, Entry(entry.prompt, ()))
        auxiliary = {**first.auxiliary_info, **entry.auxiliary_info}
        merged[entry.prompt] = Entry(entry.prompt, (*first.dimensions, *entry.dimensions), auxiliary)
    return tuple(merged.values())


def prompts_of(dimension: str) -> list[str]:
    """A dimension's prompts, in order."""
    return [entry.prompt for entry in official_entries() if dimension in entry.dimensions]


def choose(subset: Subset = "standard", dimensions: Iterable[str] = ()) -> tuple[Entry, ...]:
    """Prompts of a subset, each with those of its dimensions that were asked for (none named: all).

    quality-only: the prompts of the seven quality dimensions. mini: of each dimension's list the first prompt and every
    sixteenth after it, 65 in all.
    """
    wanted = set(dimensions or DIMENSIONS) & set(QUALITY if subset == "quality-only" else DIMENSIONS)
    stride = MINI_STRIDE if subset == "mini" else 1
    chosen = {(prompt, name) for name in wanted for prompt in prompts_of(name)[::stride]}
    found = []
    for entry in official_prompts():
        kept = tuple(name for name in entry.dimensions if (entry.prompt, name) in chosen)
        if kept:
            auxiliary = {name: info for name, info in entry.auxiliary_info.items() if name in kept}
            found.append(Entry(entry.prompt, kept, auxiliary))
    return tuple(found)


def sample_count(entry: Entry, samples: int = SAMPLES, static_samples: int = STATIC_SAMPLES) -> int:
    """How many clips a prompt is given. (No prompt of temporal_flickering serves another dimension.)"""
    return static_samples if FLICKERING in entry.dimensions else samples


def sample_meta(entry: Entry, sample: int, samples: int) -> dict[str, Any]:
    """What metrics read of a clip: the ground truth that VBench's evaluators would look up by file name."""
    return {
        "dimensions": list(entry.dimensions),
        "auxiliary_info": dict(entry.auxiliary_info),
        "sample": sample,
        "samples": samples,
    }


@register_dataset
class VBenchPrompts(Dataset):
    """VBench's official prompts with their dimensions, a row for every sample; prompts only, without clips.

    `mini` (a sixteenth of the prompts, one sample each, five for the static filter) is for trying things out: its
    numbers are not comparable to the leaderboard's.
    """

    name = "vbench"

    class Config(Options):
        subset: Subset = "standard"
        dimensions: tuple[str, ...] = Field((), description="only prompts of these [default: all of the subset]")
        samples: int | None = Field(None, ge=1, description="clips per prompt [default: 5; mini: 1]")
        static_samples: int | None = Field(
            None, ge=1, description="clips per prompt of temporal_flickering [default: 25; mini: 5]"
        )

        @field_validator("dimensions")
        @classmethod
        def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            for name in value:
                if name not in DIMENSIONS:
                    raise ValueError(f"VBench has no such dimension\n{did_you_mean(name, DIMENSIONS)}")
            return value

    config: Config

    def __init__(self, config: Config, spec: ClipSpec) -> None:
        super().__init__(config, spec)
        mini = config.subset == "mini"
        self.samples = config.samples or (MINI_SAMPLES if mini else SAMPLES)
        self.static_samples = config.static_samples or (MINI_STATIC_SAMPLES if mini else STATIC_SAMPLES)

    def rows(self) -> Sequence[Row]:
        """In official order, a prompt's samples one after the other."""
        found = []
        for number, entry in enumerate(choose(self.config.subset, self.config.dimensions)):
            samples = sample_count(entry, self.samples, self.static_samples)
            for sample in range(samples):
                meta = sample_meta(entry, sample, samples)
                found.append(Row(f"{number:04d}-{sample}", entry.prompt, meta=meta))
        if not found:
            raise UserError(
                f"dataset vbench: {self.config.subset} has no prompts of {', '.join(self.config.dimensions)}",
                f"its dimensions: {', '.join(QUALITY)}",
            )
        return found

    def video(self, index: int) -> NDArray[np.uint8]:
        raise UserError("dataset vbench has prompts only, no clips to train on", "name another dataset to train on")

    def digest(self) -> str:
        from hashlib import sha256

        rows = [asdict(row) for row in self.rows()]
        return sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
