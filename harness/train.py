"""Stage one: the only training loop. For each turn in order: loss, backward, clip, step, after. No method by name."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Backbone, Batch, Dataset, Method, Noise, Turn, derive_seed
from harness.data.latents import Latents, cache_folder, encode
from harness.errors import UserError
from harness.job import load_backbone, make_method, services
from harness.plugins import make_dataset
from harness.provenance import timed
from harness.store import append_jsonl, atomic, file_digest, read_json, read_jsonl, write_json, write_jsonl

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
        loop = _Loop(job)
        with timed(job.run / "timings.jsonl", "train", job.device) as row:
            row["items"] = loop.run()
    (checkpoint / "resume.safetensors").unlink(missing_ok=True)


def trained_roles(job: Job) -> dict[str, Backbone]:
    """The cell's trained networks, read back from the checkpoint; the plain backbone when there is nothing to train."""
    from safetensors.torch import load_file

    base = load_backbone(job.plan, job.device)
    if not job.cell.trains:
        return {"student": base}
    folder, roles = job.run / "checkpoint", {}
    for name, sha256 in read_json(folder / "weights.json")["files"].items():
        path = folder / name
        if not path.exists() or file_digest(path) != sha256:
            raise UserError(f"{path}: missing or damaged", f"remove {folder} to train this cell again")
        backbone = base.clone(trainable=False)
        backbone.net.load_state_dict(load_file(path, device=job.device))
        roles[path.stem] = backbone
    return roles


def _encode(job: Job, dataset: Dataset, base: Backbone) -> Latents:
    """The latents, timed apart from training: the first cell that needs them pays for all."""
    folder = cache_folder(job.plan.root, job.plan.data_digest, job.plan.backbone_digest, job.plan.suite.clip)
    with timed(job.run / "timings.jsonl", "encode", job.device) as row:

        def report(done: int, of: int) -> None:
            row["items"] += 1
            job.report("encode", done, of)

        return encode(dataset, base, folder, 0, report)


class _Loop:
    """A method, its optimisers and its data, stepping from `start` to the budget."""

    def __init__(self, job: Job) -> None:
        import torch
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        self.job, self.options, self.seed = job, job.plan.suite.train, job.cell.seed
        base = load_backbone(job.plan, job.device)
        dataset = make_dataset(job.plan.suite)
        self.rows = dataset.rows()
        self.latents = _encode(job, dataset, base)
        AcceleratorState._reset_state(True)  # one process trains several cells, each with its own precision
        self.accelerator: Accelerator = Accelerator(
            mixed_precision=self.options.precision, cpu=job.device == "cpu", step_scheduler_with_optimizer=False
        )
        torch.manual_seed(derive_seed(self.seed, "init"))  # a method may add new layers
        kind_needs = registry.methods.get(job.cell.method)
        needs = kind_needs.needs(kind_needs.Config.model_validate(dict(job.cell.config)))
        trained = {turn.role for turn in kind_needs.turns}
        roles = {role: base.clone(trainable=role in trained) for role in needs.roles}
        self.method: Method = make_method(job.plan, job.cell, roles, services(job))
        self.roles = {turn.role: roles[turn.role] for turn in self.method.turns}
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
        start, total = self.restore(), self.options.steps
        kept = [row for row in read_jsonl(log_path, repair=True) if row["step"] < start]
        write_jsonl(log_path, kept)
        log: list[dict[str, Any]] = []
        for step in range(start, total):
            for turn in self.method.turns:
                if step % turn.every == 0:
                    log.extend(self.turn(turn, step, repeat) for repeat in range(turn.repeat))
            self.job.report("train", step + 1, total)
            if (step + 1) % self.options.snapshot_every == 0 or step + 1 == total:
                append_jsonl(log_path, log)
                log = []
                if step + 1 < total:
                    self.snapshot(step + 1)
        self.finish()
        return total - start

    def turn(self, turn: Turn, step: int, repeat: int) -> dict[str, Any]:
        """One optimiser update of `turn.role`; returns its log row."""
        import torch

        backbone, optimizer = self.roles[turn.role], self.optimizers[turn.role]
        torch.manual_seed(derive_seed(self.seed, "layers", turn.role, step, repeat))  # dropout inside networks
        self.set_rate(optimizer, step)
        optimizer.zero_grad(set_to_none=True)
        logs = self.accumulate(turn.role, step, repeat)
        norm = self.accelerator.clip_grad_norm_(backbone.net.parameters(), turn.clip or math.inf)
        row: dict[str, Any] = {"step": step, "role": turn.role, **logs, "gnorm": float(norm)}
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
        for first, last in pairwise(bounds):
            batch = self.batch(index, int(first), int(last), ("train", role, step, repeat))
            with self.accelerator.autocast():
                loss, logs = self.method.loss(role, batch, step)
            share = float(last - first) / len(index)
            self.accelerator.backward(loss * share)
            for name, value in {"loss": float(loss.detach()), **logs}.items():
                sums[name] = sums.get(name, 0.0) + share * float(value)
        return sums

    def batch(self, index: Any, first: int, last: int, stream: tuple[object, ...]) -> Batch:
        import torch

        rows = [int(row) for row in index[first:last]]
        latent, cond = self.latents.batch(rows)
        scores = {
            name: torch.from_numpy(column[index[first:last]]) for name, column in self.method.services.scores.items()
        }
        device = self.accelerator.device
        return Batch(
            index=torch.tensor(rows, device=device),
            latent=latent.to(device),
            cond=cond.to(device),
            prompt=[self.rows[row].prompt for row in rows],
            scores=scores,
            noise=Noise(self.seed, *stream, rows=(first, last, len(index))),
        )

    def set_rate(self, optimizer: Optimizer, step: int) -> None:
        ramp = min(1.0, (step + 1) / self.options.warmup) if self.options.warmup else 1.0
        for group in optimizer.param_groups:
            group["lr"] = self.options.lr * ramp

    # -- checkpoints ------------------------------------------------------------------------------------------

    def network(self, role: str) -> dict[str, Tensor]:
        state = self.accelerator.unwrap_model(self.roles[role].net).state_dict()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def snapshot(self, step: int) -> None:
        """Everything a resumed run needs, in one atomic file."""
        from safetensors.torch import save_file

        tensors = {f"method/{name}": value for name, value in self.method.state_dict().items()}
        for role, optimizer in self.optimizers.items():
            tensors |= {f"net/{role}/{name}": value for name, value in self.network(role).items()}
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"opt/{role}/{index}/{name}": value for name, value in state.items()}
        meta = {
            "step": str(step),
            "skipped": str(self.skipped),
            "skips": str(self.skips),
            "key": self.job.cell.train_key,
        }
        with atomic(self.job.run / "checkpoint" / "resume.safetensors") as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, meta)

    def restore(self) -> int:
        """Load the snapshot, if any; returns the step to go on from."""
        from safetensors import SafetensorError, safe_open

        path = self.job.run / "checkpoint" / "resume.safetensors"
        if not path.exists():
            return 0
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise UserError(f"{path}: damaged: {error}", "remove it to train this cell from the start") from error
        for role, optimizer in self.optimizers.items():
            self.accelerator.unwrap_model(self.roles[role].net).load_state_dict(_under(tensors, f"net/{role}/"))
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(tensors, f"opt/{role}/").items():
                index, _, key = name.partition("/")
                state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.method.load_state_dict(_under(tensors, "method/"))
        self.skipped, self.skips = int(meta["skipped"]), int(meta["skips"])
        return int(meta["step"])

    def finish(self) -> None:
        """Final weights, then the marker that makes the stage complete."""
        from safetensors.torch import save_file

        files = {}
        for role in self.roles:
            path = self.job.run / "checkpoint" / f"{role}.safetensors"
            with atomic(path) as temporary:
                save_file(self.network(role), temporary)
            files[path.name] = file_digest(path)
        marker = {"steps": self.options.steps, "skipped": self.skipped, "key": self.job.cell.train_key, "files": files}
        write_json(self.job.run / "checkpoint" / "weights.json", marker)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
