"""YAML and `--set` to validated pydantic models; every mistake becomes one line with its dotted path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import UserError, did_you_mean

M = TypeVar("M", bound=BaseModel)


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; UserError names the file and line when it is none."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys and values, found {type(data).__name__}")
    return data


def digest(obj: Any) -> str:
    """sha256 hex of the canonical JSON form."""
    text = json.dumps(obj, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def validate(model: type[M], data: Any, where: str) -> M:
    """Build `model`; the first problem becomes a UserError: `train.stpes: unknown key`, `did you mean "steps"?`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        dotted = ".".join([where, *path] if where else path)
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, path[:-1])
            known = did_you_mean(path[-1], owner.model_fields) if owner else ""
            raise UserError(f"{dotted}: unknown key", known) from None
        if first["type"] == "missing":
            raise UserError(f"{dotted}: missing", "give it a value") from None
        message = first["msg"].removeprefix("Value error, ")
        problem, _, remedy = message.partition("\n")
        got = f" (got {first['input']!r})" if path else ""  # a check of the whole names its keys itself
        raise UserError(f"{dotted}: {problem}{got}"[:400], remedy) from None


def _model_at(model: type[BaseModel], path: Iterable[str]) -> type[BaseModel] | None:
    for part in path:
        field = model.model_fields.get(part)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        model = kind
    return model


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a mapping that names another plugin (`name`) replaces the old one, whose options would not fit."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in value and "name" in old and value["name"] != old["name"]
            out[key] = dict(value) if renamed else merge(old, value)
        else:
            out[key] = value
    return out


def parse_sets(assignments: Iterable[str]) -> dict[str, Any]:
    """`["train.steps=50", "dataset.name=folder"]` to a nested mapping; values are YAML."""
    out: dict[str, Any] = {}
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        keys = dotted.strip().split(".")
        if not equals or not all(keys):
            raise UserError(f'--set "{assignment}": expected key.path=value', "for example --set train.steps=50")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        node = out
        for key in keys[:-1]:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise UserError(f'--set "{assignment}": "{key}" was set to a plain value before')
            node = child
        node[keys[-1]] = value
    return out
