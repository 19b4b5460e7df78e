"""The evaluation prompts of a suite: inline, from a file, or the captions of a dataset. File names are never parsed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.plugins import make_dataset

if TYPE_CHECKING:
    from harness.suite import Suite


@dataclass(frozen=True)
class Prompt:
    """A text to generate from. `id` names the clip file; `meta` is ground truth a metric may read."""

    id: str
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)


def read_prompts(suite: Suite) -> tuple[Prompt, ...]:
    """All prompts in order; UserError when there are none, or a sample of one comes twice."""
    source = suite.prompts
    if source.dataset is not None:
        rows = make_dataset(suite, source.dataset, "prompts.dataset").rows()
        found = [(row.prompt, row.meta) for row in rows]
    elif source.file is not None:
        found = list(_from_file(Path(source.file)))
    else:
        found = [(text, {}) for text in source.texts]
    if not found:
        raise UserError("prompts: there are none", "give prompts.texts, prompts.file or prompts.dataset")
    prompts = tuple(_prompts(found))
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise UserError("prompts: the same sample of a prompt comes twice", 'number them: "sample": 0, 1, ...')
    return prompts


def _prompts(found: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Prompt]:
    """Numbered ids, `0003-a-cat`; the samples of one prompt share its number: `0003-a-cat-s0`, `0003-a-cat-s1`."""
    numbers: dict[str, int] = {}
    for index, (text, meta) in enumerate(found):
        sample = _sample_of(meta)
        number = numbers.setdefault(f"row {index}" if sample is None else f"prompt {text}", len(numbers))
        yield Prompt(f"{number:04d}-{_slug(text)}{'' if sample is None else f'-s{sample}'}", text, meta)


def _sample_of(meta: Mapping[str, Any]) -> int | None:
    """Which of its prompt's samples a clip is, counted from 0; None where prompts have one clip each."""
    sample = meta.get("sample")
    return sample if isinstance(sample, int) and isinstance(meta.get("samples"), int) else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].rstrip("-") or "clip"


def _from_file(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """.txt: a prompt a line; .json: a list of texts or rows; .jsonl and .csv: rows with `prompt`, the rest is meta."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return [(line.strip(), {}) for line in text.splitlines() if line.strip()]
        if path.suffix == ".csv":
            rows: Any = list(csv.DictReader(text.splitlines()))
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(f"prompts.file: {path}: {error}") from error
    return [_row(path, number, row) for number, row in enumerate(rows, 1)]


def _row(path: Path, number: int, row: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(row, str):
        return row, {}
    for key in ("prompt", "text", "caption", "prompt_en"):
        if isinstance(row, Mapping) and isinstance(row.get(key), str) and row[key].strip():
            return row[key], {k: v for k, v in row.items() if k != key}
    raise UserError(f"prompts.file: {path}: row {number} has no prompt", 'give it a "prompt" (or text, caption) column')
