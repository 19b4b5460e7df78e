"""Drive a plan: each cell through train, generate and evaluate, under its lock, with what is done already reused."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import provenance, registry
from harness.evaluate import evaluate
from harness.generate import generate
from harness.job import Job, Report, set_threads
from harness.plan import Cell, Plan
from harness.plugin_files import source_digest
from harness.plugins import make_dataset
from harness.progress import progress
from harness.store import RunDir, append_jsonl, atomic, lock, read_json, read_jsonl, write_json, write_jsonl, write_text
from harness.train import train


def run_cell(plan: Plan, cell: Cell, device: str, report: Report) -> list[str]:
    """Bring one cell to completion (or to the plan's limit). Returns problems that left gaps, e.g. a failed metric."""
    for plugin in plan.plugins:
        registry.load_plugin(plugin)
    set_threads(plan.suite.threads)
    job = Job(plan, cell, device, report)
    with lock(cell.path / ".lock"):
        if progress(plan, cell).finished and job.run.done:
            return []
        _write_cell(job)
        _adopt(job)
        for parent in cell.parents.values():
            _train_parent(plan, parent, device, report)
        train(job)
        generate(job)
        problems = evaluate(job)
        write_json(job.run / "provenance.json", _provenance(job))
        if not problems and progress(plan, cell).finished and plan.wanted == len(plan.prompts):
            write_text(job.run / "DONE", f"{cell.clip_key}\n")
        return problems


def _train_parent(plan: Plan, cell: Cell, device: str, report: Report) -> None:
    """The training a cell is built on, under the lock of its own run directory; reused if that row runs too."""
    patience = 7 * 24 * 3600  # another worker may be training it: that is worth waiting for
    with lock(cell.path / ".lock", timeout=patience):
        job = Job(plan, cell, device, report)
        _adopt(job)
        train(job)


def _write_cell(job: Job) -> None:
    cell, plan = job.cell, job.plan
    content = {
        "suite": plan.suite.name,
        "suite_digest": plan.digest,
        "row": cell.row,
        "method": cell.method,
        "version": cell.version,
        "config": dict(cell.config),
        "config_digest": cell.config_digest,
        "seed": cell.seed,
        "prompts": len(plan.prompts),
        "metrics": [asdict(spec) for spec in plan.metrics],
        "keys": {"train": cell.train_key, "clip": cell.clip_key},
        "marks": [*plan.marks, *cell.marks],
    }
    if code := sources(plan, cell):
        content["sources"] = code
    path = job.run / "cell.json"
    if not path.exists():
        write_json(path, content)


def sources(plan: Plan, cell: Cell) -> dict[str, str]:
    """Digests of the code of other people's plugins in a cell, by kind and name: it may change while names stay."""
    used = {f"method {cell.method}": registry.methods.get(cell.method)}
    used |= {f"metric {spec.name}": registry.metrics.get(spec.name) for spec in plan.metrics}
    digests = {name: source_digest(cls) for name, cls in used.items()}
    return {name: code for name, code in digests.items() if code}


def outdated(plan: Plan, cell: Cell) -> list[str]:
    """The plugins in a cell, `method NAME`, whose code has changed since its results were begun."""
    path = cell.path / "cell.json"
    known = read_json(path).get("sources", {}) if path.exists() else {}
    return [name for name, code in sources(plan, cell).items() if known.get(name, code) != code]


def _provenance(job: Job) -> dict[str, Any]:
    plan = job.plan
    return {
        "git": provenance.git_state(Path(__file__).parent),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(job.device),
        "digests": {"suite": plan.digest, "backbone": plan.backbone_digest, "data": plan.data_digest},
        "data_notes": dict(make_dataset(plan.suite).notes()) if job.cell.trains else {},
        "command": sys.argv[1:],
    }


# ---- reuse across suites: the same key means the same bytes ------------------------------------------------------


def _adopt(job: Job) -> None:
    """Copy a finished training, or finished clips, of the same key from another suite under the same root."""
    trained, sampled = job.run / "checkpoint" / "weights.json", job.run / "clips.jsonl"
    name = f"method {job.cell.method}"
    code = sources(job.plan, job.cell).get(name)
    for path in sorted(job.plan.root.glob(f"*@*/*@*/seed{job.cell.seed}/cell.json")):
        other = RunDir(path.parent)
        if other.path == job.cell.path:
            continue
        facts = read_json(path)
        keys = facts["keys"]
        if facts.get("sources", {}).get(name) != code:
            continue
        if (
            keys["train"] == job.cell.train_key
            and not trained.exists()
            and (other / "checkpoint/weights.json").exists()
        ):
            for file in sorted(path for path in (other / "train").rglob("*") if path.is_file()):
                _copy(file, job.run.path / file.relative_to(other.path))
            for file in sorted((other / "checkpoint").glob("*.safetensors")):
                _copy(file, job.run / "checkpoint" / file.name)
            _copy(other / "checkpoint" / "weights.json", trained)
            _adopt_timings(job, other, "train")
        if keys["clip"] == job.cell.clip_key and not sampled.exists() and other.done:
            rows = read_jsonl(other / "clips.jsonl")
            for row in rows:
                _copy(other / row["file"], job.run / row["file"])
            _adopt_timings(job, other, "generate")
            write_jsonl(sampled, rows)


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def _adopt_timings(job: Job, other: RunDir, stage: str) -> None:
    rows = [row | {"adopted": True} for row in other.timings() if row["stage"] == stage]
    if rows:
        append_jsonl(job.run / "timings.jsonl", rows)
