"""Records `transcript_pose.json`: the worker and the official script for OIS, on the networks of `small_pose.py`.

    MUTOSCOPE_CACHE=CACHE python -m tests.metrics.vmbench.record_pose FOLDER

CACHE: where `mutoscope workers build vmbench pose` built. FOLDER: gets the weights (150 MB).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness import video
from harness.errors import UserError
from metrics.vmbench.metrics import ObjectIntegrity, VMBenchOptions

TRANSCRIPT = Path(__file__).with_name("transcript_pose.json")
CLIPS = ("still", "brightening", "changing", "one frame")


def frames(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Coloured squares, 96 x 128: four times the same, each time a little brighter, four others, or one picture."""
    squares = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    still = squares[:1].repeat(4, 0)
    brightening = np.minimum(still, 250) + np.arange(4, dtype=np.uint8)[:, None, None, None]
    return {"still": still, "brightening": brightening, "changing": squares, "one frame": still[:1]}[name]


def main(folder: Path) -> None:
    where = ObjectIntegrity.where()
    python = where.require("pose")
    weights = folder / "weights"
    if not weights.exists():
        small = str(Path(__file__).with_name("small_pose.py"))
        subprocess.run([str(python), small, str(weights), str(where.source("vmbench"))], check=True)
    metric = ObjectIntegrity(VMBenchOptions(weights=str(weights), unofficial_weights=True, device="cpu"))
    exchanges = []
    for name in CLIPS:
        file = folder / f"{name}.mp4"
        video.write(file, frames(name), 8.0)
        try:
            said: dict[str, Any] = {"answer": metric._ask({"path": str(file)})}
        except UserError as error:
            said = {"error": {"problem": error.problem.splitlines()[0]}}
        exchanges.append({"clip": name, **said})
    versions = metric._process.worker.versions if metric._process else {}
    metric.close()
    TRANSCRIPT.write_text(json.dumps([{"versions": versions}, *exchanges], indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
