"""Records `transcript.json`: the real worker and two of the official scripts, on small networks (`small.py`).

    python -m tests.metrics.vmbench.record PYTHON REPOSITORY

PYTHON: of an environment with official_env/requirements.txt; REPOSITORY: the commit of official_env/environment.yaml.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.video import write
from metrics.workers.client import Program, Worker

HERE = Path(__file__).parent
CLIPS = {"still": 12, "flashing": 12, "one frame": 1}
ALL = ("still", "flashing", "one frame", "broken")
PLAN: dict[str, tuple[tuple[str, ...], tuple[dict[str, Any], ...]]] = {  # clips and requests of each measure
    "mss": (ALL, ({"perceptible_amplitude_score": 0.05}, {"perceptible_amplitude_score": 0.6})),
    "cas": (ALL, ({},)),
}


def record(python: str, repository: str) -> Iterator[list[dict[str, Any]]]:
    """Exchanges with the two measures that run on a CPU, all so far after each."""
    exchanges: list[dict[str, Any]] = []
    root = Path(repository).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [python, str(HERE / "small.py"), str(folder / "weights"), str(root)]
        subprocess.run(words, check=True, capture_output=True)
        draw = np.random.default_rng(0)
        for clip, frames in CLIPS.items():
            picture = draw.integers(0, 256, (1, 8, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
            change = draw.integers(0, 80, (frames, 1, 1, 1), dtype=np.uint8) if clip == "flashing" else 0
            write(folder / f"{clip}.mp4", np.minimum(picture.repeat(frames, 0), 175) + np.uint8(change), 8)
        (folder / "broken.mp4").write_bytes(b"not a video")
        for metric, (clips, requests) in PLAN.items():
            private = folder / metric
            private.mkdir()
            arguments = {
                "weights": str(folder / "weights"), "device": "cpu", "threads": 1, "metric": metric, "seed": 0,
            }  # fmt: skip
            program = Program(
                "vmbench", Path(python), HERE / "small.py", arguments, folder / "log",
                paths=(root, root / "Q-Align", root / "mmpose"), folder=private,
            )  # fmt: skip
            worker = Worker(program)
            for clip in clips:
                for request in requests:
                    try:
                        said = {"answer": worker.ask({"path": str(folder / f"{clip}.mp4"), **request})}
                    except UserError as error:
                        said = {"error": {"problem": error.problem.splitlines()[0]}}
                    exchanges.append({"metric": metric, "clip": clip, "request": request, **said})
            worker.close()
            yield [{"versions": worker.versions}, *exchanges]


if __name__ == "__main__":
    for found in record(*sys.argv[1:3]):
        text = json.dumps(found, indent=1, ensure_ascii=False)
        (HERE / "transcript.json").write_text(text + "\n", encoding="utf-8")
