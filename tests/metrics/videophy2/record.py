"""Records `transcript.json`: the real worker and the official script, on a checkpoint of random weights (`small.py`).

    python -m tests.metrics.videophy2.record PYTHON REPOSITORY

PYTHON: of an environment with official_env/requirements.txt; REPOSITORY: the commit of official_env/environment.yaml.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from harness.video import write
from metrics.workers.client import Program, Worker

HERE = Path(__file__).parent
WORKER = HERE.parents[2] / "metrics" / "videophy2" / "official_env" / "worker.py"
CLIPS = {"long": 40, "short": 5, "single": 1}  # frames; the judge looks at 32
CAPTION = 'A ball {rolls} to the "left"'
RULE = "The ball keeps its shape."


def record(python: str, repository: str) -> list[dict[str, object]]:
    """Exchanges with two checkpoints about the same clips."""
    exchanges: list[dict[str, object]] = []
    for seed in (1, 2, 3):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = Path(repository).resolve() / "VIDEOPHY2"
            words = [python, str(HERE / "small.py"), str(folder / "weights"), str(seed)]
            subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True)
            arguments = {"weights": str(folder / "weights"), "device": "cpu", "threads": 1}
            worker = Worker(
                Program("videophy2", Path(python), WORKER, arguments, folder / "log", paths=(source,), folder=folder)
            )
            for clip, frames in CLIPS.items():
                path = folder / f"{clip}.mp4"
                colours = np.random.default_rng(frames).integers(0, 256, (frames, 1, 1, 3), dtype=np.uint8)
                write(path, np.broadcast_to(colours, (frames, 64, 96, 3)).copy(), 8)
                request = {"caption": CAPTION, **({"rule": RULE} if clip == "long" else {})}
                answer = worker.ask({"path": str(path), **request})
                exchanges.append({"seed": seed, "clip": clip, "request": request, "answer": answer})
            versions = worker.versions
            worker.close()
    return [{"versions": versions}, *exchanges]


if __name__ == "__main__":
    text = json.dumps(record(*sys.argv[1:3]), indent=1, ensure_ascii=False)
    (HERE / "transcript.json").write_text(text + "\n", encoding="utf-8")
