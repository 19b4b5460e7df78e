"""Records `motion_transcript.json`: the real motion worker and the three official scripts, on networks in small.

    python -m tests.metrics.compbench.record_tables FOLDER

The environment is built first if it is not there (`mutoscope workers build compbench-motion`). FOLDER gets the networks
(`small_motion.py`). Runs on a CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.video import write
from metrics.workers.client import Program, Worker
from metrics.workers.known import environment

HERE = Path(__file__).parent
TRANSCRIPT = HERE / "motion_transcript.json"
CLIPS = {"clip": 12, "short": 7}  # frames, 8 a second
TWO = {"prompt": "A ball runs left the puppy", "object_1": "ball", "d_1": "left"}
ENTRIES = [
    {**TWO, "object_2": "the puppy", "d_2": "right"},
    {"prompt": "A puppy runs", "object_1": "puppy", "d_1": "up", "object_2": "", "d_2": ""},
]


def record(folder: Path) -> list[dict[str, Any]]:
    """Exchanges about two prompts, each under a seed of its own, and about a clip that is shorter than a second."""
    tool = environment("compbench-motion")
    tool.build(say=lambda line: None)
    small, weights = HERE / "small_motion.py", folder / "weights"
    search = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, tool.paths))}
    if not weights.exists():
        subprocess.run([str(tool.python), str(small), str(weights)], check=True, env=search, capture_output=True)
    for name, frames in CLIPS.items():
        write(folder / f"{name}.mp4", moving(frames), 8)
    asked = [(0, "clip", ENTRIES[0]), (0, "short", ENTRIES[1]), (1, "clip", ENTRIES[1])]
    exchanges = []
    for seed in (0, 1):
        private = folder / f"seed {seed}"
        private.mkdir(exist_ok=True)
        (private / "bert-base-uncased").unlink(missing_ok=True)
        (private / "bert-base-uncased").symlink_to(weights / "bert-base-uncased")
        arguments = {"weights": str(weights), "device": "cpu", "threads": 1, "seed": seed}
        worker = Worker(
            Program("compbench-motion", tool.python, small, arguments, folder / "log", tool.description.variables,
                    paths=tool.paths, folder=private)
        )  # fmt: skip
        for _, clip, entry in (each for each in asked if each[0] == seed):
            try:
                said = {"answer": worker.ask({"path": str(folder / f"{clip}.mp4"), "entry": entry})}
            except UserError as error:
                said = {"error": {"problem": error.problem}}
            exchanges.append({"seed": seed, "clip": clip, "request": {"entry": entry}, **said})
        worker.close()
    return [{"versions": worker.versions}, *exchanges]


def moving(frames: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A block that goes right over noise, 96 x 160."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    clip = np.tile(noise, (frames, 1, 1, 1))
    for time, frame in enumerate(clip):
        frame[30:60, 10 + 6 * time : 50 + 6 * time] = (220, 30, 30)
    return clip


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    TRANSCRIPT.write_text(json.dumps(record(place), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
