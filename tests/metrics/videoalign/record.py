"""Records `transcript.json`: the worker and the official class over the tiny model of `tiny.py`, on a rendered clip.

    MUTOSCOPE_WORKER_VIDEOALIGN=PYTHON python -m tests.metrics.videoalign.record FOLDER

PYTHON: the official environment (`mutoscope workers build videoalign`). FOLDER: gets the model and the clip.
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
from metrics.videoalign.rewards import RewardOptions, VisualQuality

TRANSCRIPT = Path(__file__).with_name("transcript.json")
PROMPT = "A red square moves to the right."
REQUESTS: list[dict[str, Any]] = [{}, {"num_frames": 6}, {"fps": 4.0}, {"max_pixels": 4 * 28 * 28}]


class Recorder(VisualQuality):
    """Keeps what the worker was told and said."""

    seen: list[dict[str, Any]]

    def _ask(self, request: Any) -> dict[str, Any]:
        answer = super()._ask(request)
        said = {name: value for name, value in request.items() if name != "path"}
        self.seen = [*getattr(self, "seen", []), {"request": said, "answer": answer}]
        return answer


def frames() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """24 frames of 112 x 140: a red square on a gradient."""
    clip = np.zeros((24, 112, 140, 3), np.uint8)
    clip[..., 1] = np.linspace(0, 200, 140).astype(np.uint8)
    for time, frame in enumerate(clip):
        frame[40:70, 10 + 4 * time : 40 + 4 * time] = (220, 30, 30)
    return clip


def main(folder: Path) -> None:
    os.environ["MUTOSCOPE_CACHE"] = str(folder / "cache")
    where = VisualQuality.where()
    where.build(say=lambda line: None)  # the official code at its commit
    python, path = str(where.python), os.pathsep.join(map(str, where.paths))
    tiny = str(Path(__file__).with_name("tiny.py"))
    environment = {**os.environ, "PYTHONPATH": path}
    weights = folder / "weights"
    subprocess.run([python, tiny, "make", str(weights)], env=environment, check=True)
    file = folder / "clip.mp4"
    video.write(file, frames(), 8.0)
    clip = Clip("clip", file, sha256_file(file), PROMPT)
    exchanges = []
    for options in REQUESTS:
        config = RewardOptions(weights=str(weights), unofficial_weights=True, device="cpu", **options)
        metric = Recorder(config)
        metric.score(clip, cast(Features, None))
        exchanges += metric.seen
        versions = metric._process.worker.versions if metric._process else {}
        metric.close()
    words = [python, tiny, "reward", str(weights), str(file), PROMPT]
    said = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout
    content = {
        "made by": "record.py: the official code at its pinned commit, on a seeded tiny model of the real classes",
        "versions": versions,
        "exchanges": exchanges,
        "official": json.loads(said.splitlines()[-1]),
    }
    TRANSCRIPT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
