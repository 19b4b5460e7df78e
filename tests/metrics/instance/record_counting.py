"""Records `transcript_counting.json`: the worker over the detector of `tiny_counting.py`, on rendered clips.

    MUTOSCOPE_CACHE=CACHE python -m tests.metrics.instance.record_counting FOLDER

CACHE: where `mutoscope workers build instance-yolo ops` built. FOLDER: gets the weights (600 MB).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness import video
from harness.api import Clip
from metrics.instance.counting import DIMENSION, InstancePreservationCounting
from metrics.workers.judge import JudgeOptions

TRANSCRIPT = Path(__file__).with_name("transcript_counting.json")


def frames(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two frames of other coloured squares, or one of grey; 96 x 128."""
    if name == "grey":
        return np.full((1, 96, 128, 3), 114, np.uint8)
    squares = np.random.default_rng(1).integers(0, 256, (2, 12, 16, 3), np.uint8)
    return squares.repeat(8, 1).repeat(8, 2)


def main(folder: Path) -> None:
    where = InstancePreservationCounting.where()
    python = where.require("ops")
    weights = folder / "weights"
    if not weights.exists():
        tiny = str(Path(__file__).with_name("tiny_counting.py"))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, where.paths))}
        subprocess.run([str(python), tiny, str(weights)], env=environment, check=True)
    metric = InstancePreservationCounting(JudgeOptions(weights=str(weights), unofficial_weights=True, device="cpu"))
    answers = list[dict[str, Any]]()

    def ask(name: str, targets: str) -> list[list[int]]:
        file = folder / f"{name}.mp4"
        video.write(file, frames(name), 8.0)
        request = metric.request(Clip(name, file, "", meta={"auxiliary_info": {DIMENSION: targets}}))
        answers.append({"clip": name, **metric._ask({"path": str(file), **request})})
        return answers[-1]["counts"]  # type: ignore[no-any-return]

    ((cats, _), _) = ask("squares", "1.cat and 1.white dog")
    ask("squares", f"{cats}.cat")  # right in the first frame
    ask("grey", "1.cat")
    versions = metric._process.worker.versions if metric._process else {}
    metric.close()
    content = {
        "made by": "record_counting.py: the official code at its pinned commit, on a seeded detector of its own sizes",
        "versions": versions,
        "answers": answers,
    }
    TRANSCRIPT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
