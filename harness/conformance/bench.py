"""A method on a tiny plan: the real plan, the real loop, the real batches, and fresh copies of the method itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import harness.conformance.data  # noqa: F401  (registers the dataset)
from harness import registry
from harness.api import Batch, ClipSpec, Method, Needs, Services, Turn, derive_seed
from harness.config import merge, validate
from harness.conformance.watched import Watch
from harness.counted import Count, counted
from harness.job import Job, load_backbone, services
from harness.plan import Plan, make_plan
from harness.suite import Suite
from harness.train import Loop

CLIPS, BATCH = 6, 3
SPEC = ClipSpec(frames=9, height=32, width=48)  # not square, so that swapped sides show
SINGLE = ClipSpec(frames=1, height=32, width=48)
SEED = 5
FEWEST_STEPS, MOST_STEPS = 4, 12
PROMPTS = ("a red ball rolls", "two blue squares under a still camera", "nothing moves")


def nothing(*_: Any) -> None:
    """A report to nobody."""


@dataclass(frozen=True)
class Trial:
    """A fresh method, its networks by role (as built, uncounted), and the count of their evaluations."""

    method: Method
    roles: Mapping[str, Any]
    base: Any
    count: Count


class Bench:
    """One method under one configuration on a tiny suite whose runs folder is `root`."""

    def __init__(self, kind: Any, settings: Mapping[str, Any], backbone: Mapping[str, Any], root: Path) -> None:
        self.kind, self.settings, self.backbone, self.root = kind, dict(settings), dict(backbone), root
        self.config: Any = validate(kind.Config, merge(kind.preset, self.settings), kind.name)
        self._plans: dict[ClipSpec, Plan] = {}
        self._loops: dict[tuple[ClipSpec, str], Loop] = {}
        self.kept: dict[str, Any] = {}  # what one question leaves for another

    # -- what the method says of itself -------------------------------------------------------------------------

    @cached_property
    def needs(self) -> Needs:
        found: Needs = self.kind.needs(self.config)
        return found

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self.kind.turns_for(self.config))

    @property
    def trained(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(turn.role for turn in self.turns))

    @property
    def steps(self) -> int:
        """Enough that every role is updated after a resume from the middle."""
        return min(MOST_STEPS, max(FEWEST_STEPS, 1 + max((turn.every for turn in self.turns), default=0)))

    # -- the plan -----------------------------------------------------------------------------------------------

    def plan(self, spec: ClipSpec = SPEC) -> Plan:
        """The tiny suite with this method as its only row. UserError when something it needs is not here."""
        if spec not in self._plans:
            columns, short = self.needs.scores, "short_prompt" in self.needs.fields
            suite = {
                "name": "conformance",
                "backbone": self.backbone,
                "clip": spec.model_dump(),
                "dataset": {"name": "conformance", "size": CLIPS, "columns": columns, "short": short},
                "train": {"steps": self.steps, "batch": BATCH, "snapshot_every": self.steps // 2},
                "generate": {"steps": 2, "guidance": 2.0, "shift": 1.0, "batch": BATCH},
                "prompts": {"texts": PROMPTS},
                "metrics": [],
                "methods": {self.kind.name: self.settings},
            }
            self._plans[spec] = make_plan(validate(Suite, suite, ""), self.root, seeds=[SEED])
        return self._plans[spec]

    def job(self, spec: ClipSpec = SPEC, device: str = "cpu", report: Any = nothing) -> Job:
        plan = self.plan(spec)
        return Job(plan, plan.cells[0], device, report)

    def clear(self) -> None:
        """Forget the cell's own files; encoded clips and prepared artefacts stay."""
        shutil.rmtree(self.job().cell.path, ignore_errors=True)

    @cached_property
    def services(self) -> Services:
        return services(self.job())

    # -- one method, one batch ----------------------------------------------------------------------------------

    def trial(
        self, watch: Watch | None = None, spec: ClipSpec = SPEC, device: str = "cpu", quiet: bool = True
    ) -> Trial:
        """The method as training builds it, from the same seed every time.

        Args:
            watch: hand everything over behind watched faces.
            quiet: networks in evaluation mode, so that no layer of theirs draws (dropout).
        """
        base, trained = self._base(watch, spec, device), set(self.trained)
        roles = {role: self.kind.build(self.config, role, base, role in trained) for role in self.needs.roles}
        return self._made(roles, base, watch, quiet)

    def sampling(self, watch: Watch | None = None, spec: ClipSpec = SPEC, device: str = "cpu") -> Trial:
        """The method as generation builds it: only what was trained, else the backbone as student; all frozen."""
        base = self._base(watch, spec, device)
        roles = {"student": base}
        roles |= {role: self.kind.build(self.config, role, base, True) for role in self.trained}
        for role, row in self.needs.checkpoints.items():  # what another row's training supplies, here untrained
            kind = registry.methods.get(row, f"needs().checkpoints.{role}")
            roles[role] = kind.build(validate(kind.Config, merge(kind.preset, {}), row), role, base, True)
        for network in roles.values():
            network.net.requires_grad_(False)
        return self._made(roles, base, watch, True)

    def _base(self, watch: Watch | None, spec: ClipSpec, device: str) -> Any:
        import torch

        base = self._pristine(spec, device)
        torch.manual_seed(derive_seed(SEED, "init"))  # as the loop does before it builds roles
        return base if watch is None else watch.network(base)

    def _pristine(self, spec: ClipSpec, device: str) -> Any:
        """The backbone, which all trials (and whatever else runs in this process) share, as it was at first."""
        base = load_backbone(self.plan(spec), device)
        weights = base.net.state_dict()
        first = self.kept.setdefault(f"weights on {device}", {key: value.clone() for key, value in weights.items()})
        for key, value in weights.items():
            value.copy_(first[key])
        base.net.requires_grad_(False).eval().zero_grad(set_to_none=True)
        return base

    def restore(self) -> None:
        """Undo what a method has done to the shared backbone."""
        for device in ("cpu", "cuda"):
            if f"weights on {device}" in self.kept:
                self._pristine(SPEC, device)

    def _made(self, roles: Mapping[str, Any], base: Any, watch: Watch | None, quiet: bool) -> Trial:
        count, told = Count(), self.services
        handed: Mapping[str, Any] = {role: counted(network, count) for role, network in roles.items()}
        if watch is not None:
            told = replace(told, scores=watch.scores(told.scores, "reads services.scores"))
            handed = watch.roles(handed)
        with watch.rewards() if watch is not None else nullcontext():
            method = self.kind(self.config, handed, told)
        if quiet:
            for network in roles.values():
                network.net.eval()
        return Trial(method, roles, base, count)

    def loop(self, spec: ClipSpec = SPEC, device: str = "cpu") -> Loop:
        """A training loop over the plan, kept for the batches it makes."""
        if (spec, device) not in self._loops:
            self._loops[spec, device] = Loop(self.job(spec, device))
        return self._loops[spec, device]

    def batch(self, role: str, size: int = BATCH, step: int = 0, spec: ClipSpec = SPEC, device: str = "cpu") -> Batch:
        """The first `size` rows with fresh noise of this role and step, as the loop makes batches."""
        return self.loop(spec, device).batch(list(range(size)), 0, size, (SEED, "train", role, step, 0))


def behind(batch: Batch, watch: Watch) -> Batch:
    """The batch behind watched faces."""
    return replace(batch, scores=watch.scores(batch.scores, "reads batch.scores"), extras=watch.extras(batch.extras))
