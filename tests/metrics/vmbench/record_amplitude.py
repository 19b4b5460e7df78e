"""Records `transcript_amplitude.json`: the real worker and the official script for PAS, on networks in small.

    python -m tests.metrics.vmbench.record_amplitude FOLDER

The environment is built first if it is not there (`mutoscope workers build vmbench`). FOLDER gets the networks
(`small_amplitude.py`). Runs on a CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.video import write
from metrics.workers.client import Program, Worker
from metrics.workers.known import environment

HERE = Path(__file__).parent
TRANSCRIPT = HERE / "transcript_amplitude.json"
FRAMES = 4
STEPS = {"moving": 12, "still": 0}  # pixels a frame
REQUEST = {"prompt": "A block moves.", "subject_noun": "block"}


def record(folder: Path) -> list[dict[str, Any]]:
    """Exchanges about a clip in which something moves and one in which nothing does."""
    tool = environment("vmbench")
    tool.build(say=lambda line: None)
    small, weights, private = HERE / "small_amplitude.py", folder / "weights", folder / "private"
    if not weights.exists():
        words = [str(tool.python), str(small), str(weights), str(tool.source("vmbench"))]
        subprocess.run(words, check=True, capture_output=True)
    private.mkdir()
    arguments = {"weights": str(weights), "device": "cpu", "threads": 1, "metric": "pas", "seed": 0}
    worker = Worker(
        Program("vmbench", tool.python, small, arguments, folder / "log", tool.description.variables,
                paths=tool.paths, folder=private)
    )  # fmt: skip
    exchanges = []
    for name, step in STEPS.items():
        write(folder / f"{name}.mp4", moving(step), 8)
        answer = worker.ask({"path": str(folder / f"{name}.mp4"), **REQUEST})
        exchanges.append({"clip": name, "request": REQUEST, "answer": answer})
    worker.close()
    return [{"versions": worker.versions}, *exchanges]


def moving(step: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A block that goes right over noise, 96 x 160."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    clip = np.tile(noise, (FRAMES, 1, 1, 1))
    for time, frame in enumerate(clip):
        frame[30:60, 10 + step * time : 50 + step * time] = (220, 30, 30)
    return clip


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    TRANSCRIPT.write_text(json.dumps(record(place), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
