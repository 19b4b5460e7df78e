"""Stage two: one clip per prompt, in fixed batches, each clip's noise from a generator of its own (prompt, seed)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.checkpoint import trained_roles
from harness.counted import Count, Counted
from harness.job import make_method, services
from harness.provenance import timed
from harness.rng import generator
from harness.store import append_jsonl, atomic, file_digest, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from harness.api import Method
    from harness.job import Job
    from harness.prompts import Prompt


def generate(job: Job) -> None:
    """Make the clips that are missing. A batch is the unit: its arithmetic must not depend on what is there already."""
    prompts = job.plan.prompts[: job.plan.wanted]
    rows = {row["id"]: row for row in _intact(job)}
    todo = [group for group in _batches(prompts, job.plan.suite.generate.batch) if any(p.id not in rows for p in group)]
    if not todo:
        return
    roles = trained_roles(job)
    method = make_method(job.plan, job.cell, roles, services(job))
    count = Count()
    student = Counted(roles["student"], count)
    with timed(job.run / "timings.jsonl", "generate", job.device) as row:
        for group in todo:
            append_jsonl(job.run / "clips.jsonl", _sample(job, method, student, group, set(rows)))
            rows.update({prompt.id: {} for prompt in group})
            row["items"] += len(group)
            row["nfe"], row["frame_nfe"] = count.clips / row["items"], count.frames / row["items"]
            job.report("generate", len(rows), len(prompts))
    order = {prompt.id: place for place, prompt in enumerate(prompts)}
    final = sorted(read_jsonl(job.run / "clips.jsonl"), key=lambda row: order[row["id"]])
    write_jsonl(job.run / "clips.jsonl", final)


def _batches(prompts: Sequence[Prompt], size: int) -> list[Sequence[Prompt]]:
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


def _sample(job: Job, method: Method, model: Any, group: Sequence[Prompt], have: set[str]) -> list[dict[str, Any]]:
    """Sample one batch and write its missing clips; returns their rows."""
    import torch

    from harness import video

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
    rows = []
    for prompt, clip in zip(group, frames, strict=True):
        if prompt.id in have:
            continue
        name = f"clips/{prompt.id}.mp4"
        with atomic(job.run / name) as temporary:
            video.write(temporary, clip, spec.fps)
        rows.append(
            {
                "id": prompt.id,
                "prompt": prompt.text,
                "seed": job.cell.seed,
                "file": name,
                "sha256": file_digest(job.run / name),
                "meta": dict(prompt.meta),
            }
        )
    return rows
