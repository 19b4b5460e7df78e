"""Records `transcript.json`: the worker over the tiny judge of `tiny.py`, on rendered clips.

    MUTOSCOPE_WORKER_INSTANCE=PYTHON python -m tests.metrics.instance.record FOLDER

PYTHON: the official environment (`mutoscope workers build instance`), which needs ffmpeg. FOLDER: gets the model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from harness import video
from harness.api import Clip, Features
from harness.features import sha256_file
from metrics.instance.master import InstancePreservationMaster, MasterOptions

TRANSCRIPT = Path(__file__).with_name("transcript.json")
CLIPS = {"three seconds": (24, 8.0), "a second": (8, 8.0), "a rate that is no whole number": (90, 29.97)}


class Recorder(InstancePreservationMaster):
    """Keeps what the worker said."""

    seen: dict[str, Any]

    def _ask(self, request: Any) -> dict[str, Any]:
        self.seen = super()._ask(request)
        return self.seen


def frames(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A square that moves over a gradient, 112 x 140."""
    clip = np.zeros((count, 112, 140, 3), np.uint8)
    clip[..., 1] = np.linspace(0, 200, 140).astype(np.uint8)
    for time, frame in enumerate(clip):
        frame[40:70, time % 100 : 30 + time % 100] = (220, 30, 30)
    return clip


def main(folder: Path) -> None:
    os.environ["MUTOSCOPE_CACHE"] = str(folder / "cache")
    where = InstancePreservationMaster.where()
    where.build(say=lambda line: None)  # the official code at its commit
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, where.paths)), "USE_HF": "1"}
    weights = folder / "weights"
    tiny = str(Path(__file__).with_name("tiny.py"))
    if not weights.exists():
        subprocess.run([str(where.python), tiny, str(weights)], env=environment, check=True)
    metric = Recorder(MasterOptions(weights=str(weights), unofficial_weights=True, device="cpu"))
    answers = {}
    for name, (count, fps) in CLIPS.items():
        file = folder / "clip.mp4"
        video.write(file, frames(count), fps)
        metric.score(Clip(name, file, sha256_file(file)), cast(Features, None))
        answers[name] = metric.seen
    versions = metric._process.worker.versions if metric._process else {}
    metric.close()
    content = {
        "made by": "record.py: the official code at its pinned commit, on a seeded tiny judge of the real classes",
        "versions": versions,
        "answers": answers,
    }
    TRANSCRIPT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
