"""What one row of a suite computes, line by line: the parts in use in the order they act, each with its formula."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.registry import check_part, find_part


@dataclass(frozen=True)
class Term:
    """One line: where it acts, what it computes, whose it is."""

    act: str  # "rows", "time", "loss" ...
    formula: str
    source: str = ""  # paper and equation, or the code that is followed
    part: str = ""  # "time_law tqd_beta"; "" for what the trainer itself does
    options: Mapping[str, Any] = field(default_factory=dict)


def term_of(act: str, kind: str, spec: Mapping[str, Any]) -> Term:
    """The line of a part `{"name": ..., **options}`.

    A part says its `formula` and `source`; one that does not is told by its docstring and where it is defined.
    """
    cls = find_part(kind, str(spec["name"]))
    line = inspect.cleandoc(cls.__doc__ or "").split("\n")[0]
    return Term(
        act,
        getattr(cls, "formula", line),
        getattr(cls, "source", f"{cls.__module__}.{cls.__qualname__}"),
        f"{kind} {spec['name']}",
        check_part(kind, spec).model_dump(mode="json"),
    )
