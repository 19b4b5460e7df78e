"""VBench-2.0's official prompts as data, and the dataset `vbench2`: its prompts, one row for every sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from harness.api import ClipSpec, Dataset, Options, Row, UserError, register_dataset
from harness.errors import did_you_mean
from metrics.vbench2.suite import KINDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = Path(__file__).with_name("prompts.json")
OFFICIAL = {kind.official: name for name, kind in KINDS.items()}
SAMPLES, DIVERSE = 3, 20  # per prompt; of diversity (vbench2/__init__.py, build_full_info_json)


@dataclass(frozen=True)
class Entry:
    """A prompt, the one dimension it is for, and what that dimension's judge looks for (None: nothing)."""

    prompt: str
    dimension: str  # its official name
    truth: Any = None


@cache
def official_entries() -> tuple[Entry, ...]:
    """The 1230 entries of VBench2_full_info.json, in its order. A prompt comes again for each of its dimensions."""
    groups = json.loads(FILE.read_text(encoding="utf-8"))["lists"]
    return tuple(Entry(prompt, group["dimension"], truth) for group in groups for prompt, truth in group["prompts"])


def official_info() -> list[dict[str, Any]]:
    """What VBench2_full_info.json holds, key for key."""
    return [
        {"prompt_en": entry.prompt, "dimension": [entry.dimension]}
        | ({"auxiliary_info": entry.truth} if entry.truth is not None else {})
        for entry in official_entries()
    ]


def sample_meta(entries: Sequence[Entry], sample: int, samples: int) -> dict[str, Any]:
    """What the judges read of a clip whose prompt serves these dimensions."""
    return {
        "dimensions": [entry.dimension for entry in entries],
        "auxiliary_info": {entry.dimension: entry.truth for entry in entries if entry.truth is not None},
        "sample": sample,
        "samples": samples,
    }


@register_dataset
class VBench2Prompts(Dataset):
    """VBench-2.0's official prompts, a row for every sample; prompts only, without clips.

    A prompt that several dimensions use is generated once and serves them all, as upstream's folders allow; samples
    beyond `samples` serve diversity alone.
    """

    name = "vbench2"

    class Config(Options):
        dimensions: tuple[str, ...] = Field((), description="only prompts of these, e.g. composition [default: all]")
        samples: int = Field(SAMPLES, ge=1, description="clips per prompt")
        diverse: int = Field(DIVERSE, ge=1, description="clips per prompt of diversity")

        @field_validator("dimensions")
        @classmethod
        def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            for name in value:
                if name not in KINDS:
                    raise ValueError(f"VBench-2.0 has no such dimension\n{did_you_mean(name, KINDS)}")
            return value

    config: Config

    def __init__(self, config: Config, spec: ClipSpec) -> None:
        super().__init__(config, spec)

    def rows(self) -> Sequence[Row]:
        """In official order, a prompt's samples one after the other."""
        wanted = {KINDS[name].official for name in self.config.dimensions or KINDS}
        merged: dict[str, list[Entry]] = {}
        for entry in official_entries():
            if entry.dimension in wanted:
                merged.setdefault(entry.prompt, []).append(entry)
        found = []
        for number, (prompt, entries) in enumerate(merged.items()):
            diverse = [entry for entry in entries if OFFICIAL[entry.dimension] == "diversity"]
            usual = self.config.samples if diverse != entries else 0
            samples = max(usual, self.config.diverse if diverse else 0)
            for sample in range(samples):
                kept = [entry for entry in entries if entry not in diverse] if sample < usual else []
                kept += diverse if sample < self.config.diverse else []
                found.append(Row(f"{number:04d}-{sample:02d}", prompt, meta=sample_meta(kept, sample, samples)))
        return found

    def video(self, index: int) -> NDArray[np.uint8]:
        raise UserError("dataset vbench2 has prompts only, no clips to train on", "name another dataset to train on")

    def digest(self) -> str:
        from hashlib import sha256

        rows = [asdict(row) for row in self.rows()]
        return sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
