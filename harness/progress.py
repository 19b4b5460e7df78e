"""What is done already: read from the run directory, without loading a model."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan import Cell, Plan
from harness.store import RunDir, read_jsonl


@dataclass(frozen=True)
class Progress:
    """How far a cell is: units done and wanted, per stage."""

    train: tuple[int, int]
    generate: tuple[int, int]
    evaluate: tuple[int, int]
    done: bool

    @property
    def finished(self) -> bool:
        return all(done >= wanted for done, wanted in (self.train, self.generate, self.evaluate))


def progress(plan: Plan, cell: Cell) -> Progress:
    """Read from the run directory; loads no model."""
    run = RunDir(cell.path)
    trained = (run / "checkpoint" / "weights.json").exists()
    budget = plan.suite.train
    wanted_training = (budget.evaluations or budget.steps) if cell.trains else 0
    ids = {prompt.id for prompt in plan.prompts[: plan.wanted]}
    clips = {row["id"] for row in read_jsonl(run / "clips.jsonl")} & ids
    scored = 0
    for spec in plan.metrics:
        rows = read_jsonl(run / "scores" / f"{spec.id}.jsonl")
        good = {row["clip"] for row in rows if not row["error"]}
        scored += len(good & ids) if spec.per_clip else int("*" in good)
    wanted = sum(len(ids) if spec.per_clip else int(plan.wanted == len(plan.prompts)) for spec in plan.metrics)
    log = read_jsonl(run / "train" / "metrics.jsonl")
    used = [row["evals"] if budget.evaluations else row["step"] + 1 for row in log]
    done_training = wanted_training if trained else min(wanted_training, max(used, default=0))
    return Progress((done_training, wanted_training), (len(clips), len(ids)), (scored, wanted), run.done)
