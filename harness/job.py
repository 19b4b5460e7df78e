"""One cell on its way through the stages, and what the stages build from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness import registry
from harness.api import Backbone, Services
from harness.plan import Cell, Plan
from harness.plugins import make_dataset, plugin_config
from harness.store import RunDir

Report = Callable[[str, int, int], None]  # stage, units done, units wanted


@dataclass(frozen=True)
class Job:
    """One cell on its way through the stages."""

    plan: Plan
    cell: Cell
    device: str
    report: Report

    @property
    def run(self) -> RunDir:
        return RunDir(self.cell.path)


def set_threads(threads: int) -> None:
    """The intra-op thread count decides the order of sums, so it is part of the protocol, not of the machine."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


@lru_cache(maxsize=1)
def _load(name: str, config: str, device: str) -> Backbone:
    import torch

    kind = registry.backbones.get(name)
    backbone: Backbone = kind.load(kind.Config.model_validate_json(config), torch.device(device))
    backbone.net.requires_grad_(False).eval()  # what is trained is a copy
    return backbone


def load_backbone(plan: Plan, device: str) -> Backbone:
    """The suite's backbone, frozen, loaded once per process."""
    spec = plan.suite.backbone
    kind = registry.backbones.get(spec["name"])
    return _load(spec["name"], plugin_config(kind, spec, "backbone").model_dump_json(), device)


def make_method(plan: Plan, cell: Cell, roles: dict[str, Any], services: Any) -> Any:
    """The cell's method, built on its roles."""
    kind = registry.methods.get(cell.method)
    return kind(kind.Config.model_validate(dict(cell.config)), roles, services)


def services(job: Job) -> Services:
    """What the method may know of the data."""
    import numpy as np

    suite = job.plan.suite
    rows = make_dataset(suite).rows() if job.cell.trains else ()
    columns = set.intersection(*(set(row.scores) for row in rows)) if rows else set()
    scores = {name: np.array([row.scores[name] for row in rows], dtype=np.float64) for name in sorted(columns)}
    return Services(scores=scores, rows=len(rows), generate=suite.generate.model_dump())
