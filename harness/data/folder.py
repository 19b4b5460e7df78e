"""The dataset `folder`: clips of any size, rate and length on disk, with captions in a file beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.api import ClipSpec, Dataset, Options, Row, UserError, register_dataset
from harness.config import digest
from harness.data.captions import FORMATS, read_prompts
from harness.data.inspected import inspect_clips

VERSION = 1  # raise when the same files give other pixels


@dataclass(frozen=True)
class Kept:
    """A usable file and how it becomes a clip."""

    row: Row
    sha256: str
    info: video.Info
    plan: video.Resampling

    def note(self) -> dict[str, Any]:
        """What was done, JSON-able."""
        info, plan = self.info, self.plan
        return {
            "source": f"{info.width}x{info.height}, {info.frames} frames at {info.fps:g} fps",
            "frames": f"{plan.frames[0]}-{plan.frames[-1]}, {plan.repeated} repeated",
            "speed": plan.speed,
            "scaled": f"{plan.scaled[1]}x{plan.scaled[0]}",
            "crop": f"{plan.crop[3]}x{plan.crop[2]} at {plan.crop[1]},{plan.crop[0]}",
        }


@register_dataset
class Folder(Dataset):
    """Clips and captions on disk, fitted to the suite's clip spec.

    Captions come from metadata.csv, metadata.jsonl or metadata.json (`harness.data.captions`), never from file names.
    A column `short_prompt` may be empty in some rows. A column in which every row holds a finite number is a score
    column; other further columns go to `Row.meta`. Files that are missing, damaged or have fewer frames than the spec
    asks for are left out by name, see `notes`.
    """

    name = "folder"

    class Config(Options):
        path: str
        metadata: str | None = None  # the caption file, if it is not path/metadata.{csv,jsonl,json}

    config: Config

    def __init__(self, config: Config, spec: ClipSpec) -> None:
        super().__init__(config, spec)
        self.folder = Path(config.path)
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder", "dataset.path is a folder of clips")

    def rows(self) -> Sequence[Row]:
        return [clip.row for clip in self._found[0]]

    def video(self, index: int) -> NDArray[np.uint8]:
        clip = self._found[0][index]
        plan, fitted = clip.plan, dict[int, NDArray[np.uint8]]()
        for number, frame in enumerate(video.iterate(self.folder / clip.row.id)):
            if number in plan.frames:
                fitted[number] = plan.fit(frame)
            if number == plan.frames[-1]:
                break
        return np.stack([fitted[number] for number in plan.frames])

    def digest(self) -> str:
        return digest({
            "dataset": self.name,
            "version": VERSION,
            "clip": self.spec.model_dump(),
            "clips": [{"sha256": clip.sha256, "row": asdict(clip.row)} for clip in self._found[0]],
        })  # fmt: skip

    def notes(self) -> Mapping[str, Any]:
        """`left_out`: reason by file; `clips`: what each file was and what was done to it."""
        kept, left_out = self._found
        return {"left_out": left_out, "clips": {clip.row.id: clip.note() for clip in kept}}

    @cached_property
    def _found(self) -> tuple[list[Kept], dict[str, str]]:
        """Usable rows, and the reason for each one left out."""
        source = Path(self.config.metadata) if self.config.metadata else self.folder
        prompts = read_prompts(source)
        if not prompts:
            raise UserError(f"{source}: no captions", f"put them into one of {', '.join(FORMATS)}")
        found = inspect_clips(self.folder, list(prompts))
        scores, kept, left_out = _score_columns(prompts), list[Kept](), dict[str, str]()
        for name, entry in prompts.items():
            info = found[name].info
            if info is None:
                left_out[name] = found[name].problem
                continue
            try:
                plan = video.plan_resample(info, self.spec)
            except UserError as error:
                left_out[name] = error.problem
                continue
            meta = {key: value for key, value in entry.items() if key not in {"prompt", "short_prompt", *scores}}
            row = Row(
                name, entry["prompt"], str(entry.get("short_prompt") or "").strip(),
                {key: float(entry[key]) for key in scores}, meta,
            )  # fmt: skip
            kept.append(Kept(row, found[name].sha256, info, plan))
        if not kept:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
            raise UserError(f"{self.folder}: no usable clip ({len(left_out)} left out: {reasons})", "see the reasons")
        return kept, left_out


def _score_columns(prompts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Further columns in which every row holds a finite number."""
    rows = list(prompts.values())
    texts = ("prompt", "short_prompt")
    return [name for name in rows[0] if name not in texts and all(_is_number(row.get(name)) for row in rows)]


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
