"""Stage two: one clip per prompt, in fixed batches, each clip's noise from a generator of its own (prompt, seed)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Asked, ClipSpec, Maker
from harness.checkpoint import trained_roles
from harness.counted import Count, Counted
from harness.errors import UserError
from harness.job import make_method, services
from harness.participants import mismatch
from harness.prompts import Prompt
from harness.provenance import timed
from harness.rng import generator
from harness.store import append_jsonl, atomic, file_digest, read_jsonl, write_jsonl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.api import Method
    from harness.job import Job

Group = Sequence[Prompt]  # a generation batch
Make = Callable[[Group, set[str]], list[dict[str, Any]]]  # a group and the ids already there, to rows


def generate(job: Job) -> None:
    """Make the clips that are missing. A batch is the unit: its arithmetic must not depend on what is there already."""
    prompts = job.plan.prompts[: job.plan.wanted]
    rows = {row["id"]: row for row in _intact(job)}
    todo = [group for group in _batches(prompts, job.plan.suite.generate.batch) if any(p.id not in rows for p in group)]
    if not todo:
        return
    kind = registry.methods.get(job.cell.method)
    maker = kind.maker(kind.Config.model_validate(dict(job.cell.config)), job.plan.suite.clip)
    if maker is not None and not maker.here:  # whatever seconds pass here say nothing of what the clips cost
        _in_turn(job, todo, set(rows), partial(_made, job, maker), {"items": 0})
    else:
        with timed(job.run / "timings.jsonl", "generate", job.device) as row:
            _in_turn(job, todo, set(rows), partial(_made, job, maker) if maker else _sampling(job, row), row)
    order = {prompt.id: place for place, prompt in enumerate(prompts)}
    final = sorted(read_jsonl(job.run / "clips.jsonl"), key=lambda row: order[row["id"]])
    write_jsonl(job.run / "clips.jsonl", final)


def _in_turn(job: Job, todo: Sequence[Group], have: set[str], make: Make, timing: dict[str, Any]) -> None:
    """Group by group, each group's rows written when all its files are there."""
    for group in todo:
        append_jsonl(job.run / "clips.jsonl", make(group, have))
        have.update(prompt.id for prompt in group)
        timing["items"] += len(group)
        job.report("generate", len(have), job.plan.wanted)


def _sampling(job: Job, timing: dict[str, Any]) -> Make:
    """The method's sampler on what was trained, with its network evaluations counted into `timing`."""
    roles = trained_roles(job)
    method = make_method(job.plan, job.cell, roles, services(job))
    count, made = Count(), 0
    student = Counted(roles["student"], count)

    def make(group: Group, have: set[str]) -> list[dict[str, Any]]:
        nonlocal made
        rows, made = _sample(job, method, student, group, have), made + len(group)
        timing["nfe"], timing["frame_nfe"] = count.clips / made, count.frames / made
        return rows

    return make


def _batches(prompts: Sequence[Prompt], size: int) -> list[Group]:
    return [prompts[first : first + size] for first in range(0, len(prompts), size)]


def _intact(job: Job) -> list[dict[str, Any]]:
    """Rows whose file is there with the recorded bytes; others are dropped from clips.jsonl and made again."""
    rows = read_jsonl(job.run / "clips.jsonl", repair=True)
    good = [
        row for row in rows if (job.run / row["file"]).exists() and file_digest(job.run / row["file"]) == row["sha256"]
    ]
    if len(good) < len(rows):
        write_jsonl(job.run / "clips.jsonl", good)
    return good


def _sample(job: Job, method: Method, model: Any, group: Group, have: set[str]) -> list[dict[str, Any]]:
    """Sample one batch and write its missing clips; returns their rows."""
    import torch

    spec, device = job.plan.suite.clip, torch.device(job.device)
    shape = model.latent_shape(spec)
    generators = [generator(job.cell.seed, "sample", prompt.id, prompt.text) for prompt in group]
    noise = torch.stack([torch.randn(shape, generator=source) for source in generators]).to(device)
    torch.manual_seed(0)  # nothing may draw from it; fixed in case a network does
    with torch.no_grad():
        cond = model.encode_text([prompt.text for prompt in group])
        latents = method.sampler()(model, noise, cond, generators)
        pixels = model.decode(latents)
    frames = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()
    missing = [(prompt, clip) for prompt, clip in zip(group, frames, strict=True) if prompt.id not in have]
    return [_row(job, prompt, partial(_write, spec, clip)) for prompt, clip in missing]


def _made(job: Job, maker: Maker, group: Group, have: set[str]) -> list[dict[str, Any]]:
    """Ask a maker for the clips of a group that are missing, and write them; returns their rows."""
    missing = [prompt for prompt in group if prompt.id not in have]
    answers = maker.make([Asked(p.id, p.text, p.meta) for p in missing], job.cell.seed)
    if len(answers) != len(missing):
        raise UserError(f"{job.cell.row}: {len(missing)} clips were asked for, {len(answers)} came", "one answer each")
    rows = []
    for prompt, answer in zip(missing, answers, strict=True):
        spec, clip = job.plan.suite.clip, answer.clip
        try:
            row = _row(
                job, prompt, partial(_copy, spec, clip) if isinstance(clip, Path) else partial(_write, spec, clip)
            )
        except UserError as error:
            raise UserError(f'{job.cell.row}: "{prompt.text}": {error.problem}', error.remedy) from error
        rows.append(row | ({"source": dict(answer.source)} if answer.source else {}))
    return rows


def _row(job: Job, prompt: Prompt, write: Callable[[Path], None]) -> dict[str, Any]:
    """A clip's file, written whole or not at all, and its row."""
    name = f"clips/{prompt.id}.mp4"
    with atomic(job.run / name) as temporary:
        write(temporary)
    return {
        "id": prompt.id,
        "prompt": prompt.text,
        "seed": job.cell.seed,
        "file": name,
        "sha256": file_digest(job.run / name),
        "meta": dict(prompt.meta),
    }


def _write(spec: ClipSpec, frames: NDArray[np.uint8], path: Path) -> None:
    from harness import video

    wanted = (spec.frames, spec.height, spec.width, 3)
    if frames.shape != wanted:
        raise UserError(f"a clip of {list(frames.shape)} came, {list(wanted)} was asked for", "answer with those")
    video.write(path, frames, spec.fps)


def _copy(spec: ClipSpec, source: Path, path: Path) -> None:
    from harness import video

    shutil.copyfile(source, path)
    if problem := mismatch(video.check(path), spec):
        raise UserError(f"{source} has {problem}", "answer with those")
