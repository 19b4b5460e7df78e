"""Offline stages: an artefact of every training clip, computed once by the frozen backbone, in groups, on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import Batch, Stage
from harness.config import digest
from harness.counted import Count, counted
from harness.job import Job, load_backbone, services
from harness.provenance import timed
from harness.registry import check_part, make_part
from harness.store import atomic, lock

if TYPE_CHECKING:
    from torch import Tensor


class Artefacts:
    """What a stage computed, read back row by row."""

    def __init__(self, folder: Path, group: int) -> None:
        self.folder, self.group = folder, group
        self._files: dict[int, Any] = {}

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Artefacts of the rows, each stacked to `[B, ...]`."""
        import torch

        found = [self._row(row) for row in rows]
        return {name: torch.stack([row[name] for row in found]) for name in found[0]}

    def _row(self, row: int) -> dict[str, Tensor]:
        from safetensors import safe_open

        number, offset = divmod(row, self.group)
        if number not in self._files:
            self._files[number] = safe_open(_file(self.folder, number), framework="pt")
        file = self._files[number]
        return {name: file.get_slice(name)[offset] for name in file.keys()}  # noqa: SIM118 (not a dict)


def prepare(
    job: Job, spec: Mapping[str, Any], batch: Callable[[Sequence[int], tuple[object, ...]], Batch]
) -> Artefacts:
    """Compute what is not on disk yet (one process at a time) and open it.

    Args:
        spec: the stage's part, `{"name": ..., **options}`.
        batch: rows and the name of their noise to a batch on the device.
    """
    import torch
    from safetensors.torch import save_file

    count, told = Count(), services(job)
    stage: Stage = make_part("stage", spec, counted(load_backbone(job.plan, job.device), count), told)
    folder = cache_folder(job, spec, stage)
    wanted = range(-(-told.rows // stage.group))
    with lock(folder / ".lock", timeout=24 * 3600):
        missing = [number for number in wanted if not _file(folder, number).exists()]
        if missing:
            with timed(job.run / "timings.jsonl", "prepare", job.device) as row:
                for number in missing:
                    rows = range(number * stage.group, min((number + 1) * stage.group, told.rows))
                    torch.manual_seed(0)  # nothing may draw from it; fixed in case a network does
                    found = stage.compute(batch(rows, ("stage", str(spec["name"]), number)))
                    with atomic(_file(folder, number)) as temporary:
                        save_file({name: value.detach().cpu().contiguous() for name, value in found.items()}, temporary)
                    row["items"] += len(rows)
                    row["nfe"], row["frame_nfe"] = count.clips / row["items"], count.frames / row["items"]
                    job.report("prepare", rows.stop, told.rows)
    return Artefacts(folder, stage.group)


def cache_folder(job: Job, spec: Mapping[str, Any], stage: Stage) -> Path:
    """Where these artefacts live under the runs folder; seeds and methods with the same options share them."""
    plan = job.plan
    identity = {
        "stage": spec["name"],
        "version": stage.version,
        "group": stage.group,
        "options": check_part("stage", spec).model_dump(mode="json"),
        "data": plan.data_digest,
        "backbone": plan.backbone_digest,
        "clip": plan.suite.clip.model_dump(),
        "threads": plan.suite.threads,
    }
    return plan.root / ".cache" / "stages" / f"{spec['name']}-{digest(identity)[:16]}"


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"
