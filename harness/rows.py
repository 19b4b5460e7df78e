"""The rows of a suite: names to methods and configs, what they are built on, and what must be there for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness import registry
from harness.api import Needs, Row
from harness.config import merge, validate
from harness.errors import UserError, did_you_mean
from harness.prompts import Prompt
from harness.suite import Suite

Part = tuple[Any, Any]  # method class, its validated config


def resolve_rows(suite: Suite, chosen: Sequence[str]) -> dict[str, Part]:
    """Row name to (method class, config); any registered method may be named, not only the suite's rows."""
    out = {}
    for row in chosen:
        options = dict(suite.methods.get(row, {}))
        name = options.pop("method", row)
        if row not in suite.methods and not registry.methods.knows(row):
            hint = did_you_mean(row, {*suite.methods, *registry.methods.names()})
            own = "" if hint.startswith("did you mean") else "; one of your own needs --plugin FILE"
            raise UserError(f'no method or row is called "{row}"', hint + own)
        kind = registry.methods.get(name, f"methods.{row}")
        for key in (key for key in options if key in kind.Config.refuses):
            problem, remedy = kind.Config.refuses[key]
            raise UserError(f"methods.{row}.{key}: {problem}", remedy)
        out[row] = kind, validate(kind.Config, merge(kind.preset, options), f"methods.{row}")
    return out


def parents_of(suite: Suite, rows: Mapping[str, Part]) -> dict[str, dict[str, tuple[str, Part]]]:
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


def supply(parents: Mapping[str, Mapping[str, tuple[str, Part]]]) -> dict[str, Part]:
    return {parent: part for roles in parents.values() for parent, part in roles.values()}


def check_parts(row: str, need: Needs, caps: frozenset[str], suite: Suite) -> None:
    """What the backbone must be able to do, and what rewards need on this machine."""
    lacking = sorted(set(need.caps) - caps)
    if lacking:
        raise UserError(
            f'methods.{row}: needs {", ".join(lacking)}, which backbone "{suite.backbone["name"]}" cannot do',
            "choose another backbone, or leave the method out with --methods",
        )
    for spec in need.rewards:
        registry.find_part("reward", spec["name"]).check(registry.check_part("reward", spec))


def check_columns(row: str, need: Needs, rows: Sequence[Row], suite: Suite) -> None:
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


def check_overlap(suite: Suite, rows: Iterable[Row], prompts: Iterable[Prompt]) -> tuple[str, ...]:
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
