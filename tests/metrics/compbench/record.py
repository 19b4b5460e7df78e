"""Records `transcript.json`: the real worker and the official scripts, on a LLaVA of random weights (`small.py`).

    python -m tests.metrics.compbench.record PYTHON T2V_COMPBENCH LLAVA

PYTHON: of an environment with official_env/requirements.txt, but torch 2.5.1 (2.1.2 has no half precision on a CPU);
then the two repositories at the commits of official_env/environment.yaml.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.video import write
from metrics.workers.client import Program, Worker

HERE = Path(__file__).parent
WORKER = HERE.parents[2] / "metrics" / "compbench" / "official_env" / "worker.py"
ENTRIES: dict[str, dict[str, Any]] = {
    "action_binding": {
        "prompt": "A dog runs while a cat climbs",
        "phrase_0": ["a dog?", "a dog runs?"],
        "phrase_1": ["a cat?", "a cat climbs?"],
    },
    "dynamic_attribute": {"prompt": "A leaf turns red", "state 0": "A green leaf", "state 1": "A red leaf"},
}


def record(python: str, compbench: str, llava: str) -> list[dict[str, Any]]:
    """Exchanges about one clip under several seeds, which draw other replies."""
    exchanges: list[dict[str, Any]] = []
    paths = (Path(compbench).resolve() / "MLLM_eval", Path(llava).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [python, str(HERE / "small.py"), str(folder / "weights"), "1"]
        subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(paths[1])}, capture_output=True)
        (folder / "openai").symlink_to(folder / "weights" / "openai")
        colours = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)
        write(folder / "clip.mp4", colours.repeat(16, 1).repeat(16, 2), 8)
        write(folder / "short.mp4", colours[:9].repeat(16, 1).repeat(16, 2), 8)
        for seed in range(4):
            arguments = {
                "weights": str(folder / "weights"), "device": "cpu", "threads": 1, "temperature": 0.2, "seed": seed,
            }  # fmt: skip
            worker = Worker(
                Program("compbench", Path(python), WORKER, arguments, folder / "log", paths=paths, folder=folder)
            )
            for category, entry in ENTRIES.items():
                for clip in ("clip", "short") if seed == 0 else ("clip",):
                    request = {"category": category, "entry": entry}
                    try:
                        said = {"answer": worker.ask({"path": str(folder / f"{clip}.mp4"), **request})}
                    except UserError as error:
                        said = {"error": {"problem": error.problem}}
                    exchanges.append({"seed": seed, "clip": clip, "request": request, **said})
            versions = worker.versions
            worker.close()
    return [{"versions": versions}, *exchanges]


if __name__ == "__main__":
    text = json.dumps(record(*sys.argv[1:4]), indent=1, ensure_ascii=False)
    (HERE / "transcript.json").write_text(text + "\n", encoding="utf-8")
