"""Stage one: the only training loop. For each turn in order: loss, backward, clip, step, after. No method by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Backbone, Batch, Dataset, Method, Noise, Turn, derive_seed
from harness.checkpoint import read_snapshot, under, write_snapshot, write_weights
from harness.counted import Count, counted
from harness.data.latents import Latents, cache_folder, encode
from harness.errors import UserError
from harness.job import load_backbone, make_method, services
from harness.plugins import make_dataset
from harness.provenance import timed
from harness.stages import Artefacts, prepare
from harness.store import append_jsonl, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor
    from torch.optim import Optimizer

    from harness.job import Job

MAX_SKIPS = 10  # non-finite losses in a row before the run gives up


def train(job: Job) -> None:
    """Train the cell's method to its budget, from the last snapshot if there is one."""
    checkpoint = job.run / "checkpoint"
    if job.cell.trains and not (checkpoint / "weights.json").exists():
        loop = Loop(job)
        with timed(job.run / "timings.jsonl", "train", job.device) as row:
            row["items"] = loop.run()
    (checkpoint / "resume.safetensors").unlink(missing_ok=True)


def _encode(job: Job, dataset: Dataset, base: Backbone) -> Latents:
    """The latents, timed apart from training: the first cell that needs them pays for all."""
    folder = cache_folder(job.plan.root, job.plan.data_digest, job.plan.backbone_digest, job.plan.suite.clip)
    with timed(job.run / "timings.jsonl", "encode", job.device) as row:

        def report(done: int, of: int) -> None:
            row["items"] += 1
            job.report("encode", done, of)

        return encode(dataset, base, folder, 0, report)


class Loop:
    """A method, its optimisers and its data, stepping from `start` to the budget."""

    def __init__(self, job: Job) -> None:
        import torch
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        self.job, self.options, self.seed = job, job.plan.suite.train, job.cell.seed
        base = load_backbone(job.plan, job.device)
        dataset = make_dataset(job.plan.suite)
        self.rows = dataset.rows()
        self.services = services(job)
        self.latents = _encode(job, dataset, base)
        AcceleratorState._reset_state(True)  # one process trains several cells, each with its own precision
        self.accelerator: Accelerator = Accelerator(
            mixed_precision=self.options.precision, cpu=job.device == "cpu", step_scheduler_with_optimizer=False
        )
        kind = registry.methods.get(job.cell.method)
        config = kind.Config.model_validate(dict(job.cell.config))
        needs, self.turns = kind.needs(config), kind.turns_for(config)
        self.artefacts: list[Artefacts] = []
        self.artefacts = [prepare(job, spec, self.some) for spec in needs.stages]
        torch.manual_seed(derive_seed(self.seed, "init"))  # a method may add new layers
        trained = {turn.role for turn in self.turns}
        roles = {role: kind.build(config, role, base, role in trained) for role in needs.roles}
        self.count = Count()
        counting = {role: counted(network, self.count) for role, network in roles.items()}
        self.method: Method = make_method(job.plan, job.cell, counting, self.services)
        self.roles = {turn.role: roles[turn.role] for turn in self.turns}
        self.optimizers: dict[str, Optimizer] = {}
        for role, backbone in self.roles.items():
            backbone.net = self.accelerator.prepare(backbone.net)
            parameters = [p for p in backbone.net.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(
                parameters, self.options.lr, self.options.betas, weight_decay=self.options.weight_decay
            )
            self.optimizers[role] = self.accelerator.prepare(optimizer)
        self.skips = 0  # non-finite in a row
        self.skipped = 0  # in all

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Returns the number of steps taken by this attempt."""
        log_path = self.job.run / "train" / "metrics.jsonl"
        path = self.job.run / "checkpoint" / "resume.safetensors"
        start = step = self.restore(path) if path.exists() else self.begin()
        kept = [row for row in read_jsonl(log_path, repair=True) if row["step"] < start]
        write_jsonl(log_path, kept)
        log: list[dict[str, Any]] = []
        while not self.over(step):
            for turn in self.turns:
                if step % turn.every == 0:
                    log.extend(self.turn(turn, step, repeat) for repeat in range(turn.repeat))
            step += 1
            self.job.report("train", *self.done(step))
            if step % self.options.snapshot_every == 0 or self.over(step):
                append_jsonl(log_path, log)
                log = []
                if not self.over(step):
                    self.snapshot(path, step)
        self.finish(step)
        return step - start

    def done(self, step: int) -> tuple[int, int]:
        """(done, wanted) in the budget's unit: steps, or network evaluations."""
        if self.options.evaluations is None:
            return step, self.options.steps
        return min(self.count.clips, self.options.evaluations), self.options.evaluations

    def over(self, step: int) -> bool:
        done, wanted = self.done(step)
        return done >= wanted

    def begin(self) -> int:
        """Let the method measure what it must before step 0; the budget does not pay for it."""
        self.method.begin(self.probe())
        self.count.clips = 0
        return 0

    def turn(self, turn: Turn, step: int, repeat: int) -> dict[str, Any]:
        """One optimiser update of `turn.role`; returns its log row."""
        import torch

        backbone, optimizer = self.roles[turn.role], self.optimizers[turn.role]
        torch.manual_seed(derive_seed(self.seed, "layers", turn.role, step, repeat))  # dropout inside networks
        self.set_rate(optimizer, step, turn.rate)
        optimizer.zero_grad(set_to_none=True)
        before = self.count.clips
        logs = self.accumulate(turn.role, step, repeat)
        if self.count.clips == before:  # a role that is no denoiser: one evaluation a clip, so that budgets end
            self.count.clips += self.options.batch
        norm = self.accelerator.clip_grad_norm_(backbone.net.parameters(), turn.clip or math.inf)
        row: dict[str, Any] = {"step": step, "role": turn.role, "evals": self.count.clips, **logs, "gnorm": float(norm)}
        if not (math.isfinite(row["loss"]) and math.isfinite(row["gnorm"])):
            return self.skip(row)
        self.skips = 0
        optimizer.step()
        self.method.after(turn.role, step)
        return row

    def skip(self, row: dict[str, Any]) -> dict[str, Any]:
        """Count a non-finite step; ten in a row end the run with the reason."""
        self.skips, self.skipped = self.skips + 1, self.skipped + 1
        if self.skips >= MAX_SKIPS:
            raise UserError(
                f"{self.job.cell.label}: {MAX_SKIPS} non-finite losses or gradients in a row at step {row['step']}",
                "lower train.lr, check the data's latents, or train.precision=no",
            )
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()} | {
            "skipped": 1
        }

    def accumulate(self, role: str, step: int, repeat: int) -> dict[str, float]:
        """Backward over the micro-batches of one global batch; returns loss and logs averaged over its rows."""
        import numpy as np

        rng = np.random.default_rng(derive_seed(self.seed, "data", role, step, repeat))
        index = self.method.draw(rng, self.options.batch)
        bounds = np.linspace(0, len(index), self.options.accumulate + 1).astype(int)
        sums: dict[str, float] = {}
        shares: dict[str, float] = {}
        for first, last in pairwise(bounds):
            batch = self.batch(index, int(first), int(last), (self.seed, "train", role, step, repeat))
            with self.accelerator.autocast():
                loss, logs = self.method.loss(role, batch, step)
            share = float(last - first) / len(index)
            self.accelerator.backward(loss * share)
            for name, value in {"loss": float(loss.detach()), **logs}.items():
                sums[name] = sums.get(name, 0.0) + share * float(value)
                shares[name] = shares.get(name, 0.0) + share
        return {name: total / shares[name] for name, total in sums.items()}  # a log may be absent from a micro-batch

    # -- batches ----------------------------------------------------------------------------------------------

    def batch(self, index: Any, first: int, last: int, stream: tuple[object, ...]) -> Batch:
        """Rows first .. last of the global batch `index`, with noise drawn for all of it and sliced."""
        import torch

        rows = [int(row) for row in index[first:last]]
        latent, cond = self.latents.batch(rows)
        scores = {name: torch.from_numpy(column[rows]) for name, column in self.services.scores.items()}
        device = self.accelerator.device
        extras = {name: value for found in self.artefacts for name, value in found.batch(rows).items()}
        return Batch(
            index=torch.tensor(rows, device=device),
            latent=latent.to(device),
            cond=cond.to(device),
            prompt=[self.rows[row].prompt for row in rows],
            scores=scores,
            noise=Noise(*stream, rows=(first, last, len(index))),
            short_prompt=[self.rows[row].short_prompt for row in rows],
            extras={name: value.to(device) for name, value in extras.items()},
        )

    def some(self, rows: Sequence[int], stream: tuple[object, ...]) -> Batch:
        """A batch of these rows: what an offline stage computes artefacts from."""
        return self.batch(rows, 0, len(rows), stream)

    def probe(self) -> Batch:
        """A batch of rows spread over the training set, the same at every call."""
        import numpy as np

        rows = np.linspace(0, len(self.rows) - 1, min(self.options.batch, len(self.rows))).astype(int)
        return self.batch(rows, 0, len(rows), (self.seed, "probe"))

    def set_rate(self, optimizer: Optimizer, step: int, factor: float) -> None:
        ramp = min(1.0, (step + 1) / self.options.warmup) if self.options.warmup else 1.0
        for group in optimizer.param_groups:
            group["lr"] = self.options.lr * factor * ramp

    # -- checkpoints ------------------------------------------------------------------------------------------

    def network(self, role: str) -> dict[str, Tensor]:
        return self.accelerator.unwrap_model(self.roles[role].net).state_dict()

    def snapshot(self, path: Any, step: int) -> None:
        tensors = {f"method/{name}": value for name, value in self.method.state_dict().items()}
        for role, optimizer in self.optimizers.items():
            tensors |= {f"net/{role}/{name}": value for name, value in self.network(role).items()}
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"opt/{role}/{index}/{name}": value for name, value in state.items()}
        counts = {"step": step, "skipped": self.skipped, "skips": self.skips, "evaluations": self.count.clips}
        write_snapshot(path, tensors, {k: str(v) for k, v in counts.items()} | {"key": self.job.cell.train_key})

    def restore(self, path: Any) -> int:
        """Load the snapshot; returns the step to go on from."""
        tensors, meta = read_snapshot(path)
        for role, optimizer in self.optimizers.items():
            self.accelerator.unwrap_model(self.roles[role].net).load_state_dict(under(tensors, f"net/{role}/"))
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in under(tensors, f"opt/{role}/").items():
                index, _, key = name.partition("/")
                state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.method.load_state_dict(under(tensors, "method/"))
        self.skipped, self.skips = int(meta["skipped"]), int(meta["skips"])
        self.count.clips = int(meta["evaluations"])
        return int(meta["step"])

    def finish(self, step: int) -> None:
        """Pictures, final weights, then the marker that makes the stage complete."""
        from harness.diagnostics import draw

        evaluations = self.count.clips  # those of the pictures are not training
        log = read_jsonl(self.job.run / "train" / "metrics.jsonl")
        folder = self.job.run / "train" / "diagnostics"
        with timed(self.job.run / "timings.jsonl", "diagnose", self.job.device) as row:
            draw(folder, self.job.cell.label, log, self.method.diagnostics(log, self.probe()))
            row["items"] = 1
        meta = {"steps": step, "evaluations": evaluations, "skipped": self.skipped, "key": self.job.cell.train_key}
        write_weights(self.job.run / "checkpoint", {role: self.network(role) for role in self.roles}, meta)
