"""The dataset `folder`: clips of any size, rate and length on disk, with captions in a file beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.api import ClipSpec, Dataset, Options, Row, UserError, register_dataset
from harness.config import digest
from harness.data.captions import FORMATS, read_prompts
from harness.data.inspected import Inspected, inspect_clips

VERSION = 1  # raise when the same files give other pixels


@register_dataset
class Folder(Dataset):
    """Clips and captions on disk, fitted to the suite's clip spec.

    Captions come from metadata.csv, metadata.jsonl or metadata.json (`harness.data.captions`), never from file names.
    A column in which every row holds a finite number is a score column; other further columns go to `Row.meta`. Files
    that are missing, damaged or have fewer frames than the spec asks for are left out by name, see `notes`.
    """

    name = "folder"

    class Config(Options):
        path: Path
        metadata: Path | None = None  # the caption file, if it is not path/metadata.{csv,jsonl,json}

    config: Config

    def rows(self) -> Sequence[Row]:
        return [row for row, _, _ in self._kept]

    def video(self, index: int) -> NDArray[np.uint8]:
        row, _, plan = self._kept[index]
        last, wanted, fitted = max(plan.frames), set(plan.frames), {}
        for number, frame in enumerate(video.iterate(self.config.path / row.id)):
            if number in wanted:
                fitted[number] = plan.fit(frame)
            if number == last:
                break
        return np.stack([fitted[number] for number in plan.frames])

    def digest(self) -> str:
        clips = [[found.sha256, row.id, row.prompt, dict(row.scores), dict(row.meta)] for row, found, _ in self._kept]
        return digest({"dataset": self.name, "version": VERSION, "clip": self.spec.model_dump(), "clips": clips})

    def notes(self) -> Mapping[str, Any]:
        clips = {row.id: _what_was_done(found.info, plan) for row, found, plan in self._kept}
        return {"left_out": self._left_out, "clips": clips}

    @cached_property
    def _kept(self) -> list[tuple[Row, Inspected, video.Resampling]]:
        return self._read()[0]

    @cached_property
    def _left_out(self) -> dict[str, str]:
        return self._read()[1]
