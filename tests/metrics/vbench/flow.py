"""What the official RAFT and AMT classes make of small clips under seeded weights: `official_flow.json`.

    python -m tests.metrics.vbench.flow --python <python of an environment with vbench==0.1.5>

records it anew. Runs in Mutoscope's environment, from the repository's root.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.api import ClipInfo, Extractor, FrameChunk
from harness.streaming import extract
from metrics.vbench.seeded import amt, raft

HERE = Path(__file__).resolve().parent
OUTPUTS = HERE / "official_flow.json"
SEED = 3
RAFT, AMT = "raft_model/models/raft-things.pth", "amt_model/amt-s.pth"
# frames, height, width, rate, pixels a frame (right, down), frame from which on nothing moves
CLIPS = {
    "still": (9, 128, 128, 8, (0, 0), 9),
    "moving": (9, 128, 136, 8, (4, 1), 9),
    "stopping": (9, 130, 146, 8, (5, -2), 1),
    "boundary": (10, 144, 122, 12, (0, 6), 10),  # 12 / 8 = 1.5 keeps every second frame
    "odd_rate": (8, 128, 154, 23.976, (2, 2), 8),
    "two": (2, 128, 128, 8, (0, 0), 2),
    "one": (1, 128, 128, 8, (0, 0), 1),
    "small": (5, 70, 90, 8, (3, 0), 5),  # VBench's networks divide by zero
    "tiny": (3, 40, 130, 8, (1, 0), 3),  # and fail
}


@cache
def official() -> dict[str, Any]:
    """The recorded outputs."""
    outputs: dict[str, Any] = json.loads(OUTPUTS.read_text(encoding="utf-8"))  # null: NaN
    return outputs


def render(name: str) -> NDArray[np.uint8]:
    """A pattern of blocks that moves, in whole numbers only: the same frames everywhere."""
    frames, height, width, _, (right, down), end = CLIPS[name]
    rng = np.random.default_rng([SEED, *name.encode()])
    margin = 8 * frames
    blocks = rng.integers(30, 226, ((height + 2 * margin) // 6 + 2, (width + 2 * margin) // 6 + 2, 3), dtype=np.uint8)
    canvas = blocks.repeat(6, 0).repeat(6, 1)
    shown = []
    for index in range(frames):
        moved = min(index, end)
        top, left = margin - moved * down, margin - moved * right
        shown.append(canvas[top : top + height, left : left + width])
    return np.stack(shown)


def write_clip(folder: Path, name: str) -> Path:
    path = folder / f"{name}.mp4"
    video.write(path, render(name), CLIPS[name][3])
    return path


def write_weights(folder: Path) -> Path:
    """The seeded checkpoints in VBench's layout, unless they are there."""
    for name, write in ((RAFT, raft.write), (AMT, amt.write)):
        if not (folder / name).exists():
            write(folder / name, SEED)
    return folder


def measured(path: Path, extractor: Extractor) -> NDArray[Any]:
    """What an extractor makes of a file."""
    (result,) = extract(path, [extractor])
    assert isinstance(result, np.ndarray)
    return result


def streamed(frames: NDArray[np.uint8], extractor: Extractor, fps: float, size: int) -> NDArray[Any]:
    """What an extractor makes of frames that come `size` at a time."""
    count, height, width, _ = frames.shape
    extractor.start(ClipInfo(count, height, width, fps))
    for first in range(0, count, size):
        if extractor.push(FrameChunk(first, frames[first : first + size].copy())):
            break
    return extractor.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="python of the official environment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        weights, clips = write_weights(Path(scratch) / "weights"), Path(scratch) / "clips"
        clips.mkdir()
        paths = {name: str(write_clip(clips, name)) for name in CLIPS}
        task = {"raft": str(weights / RAFT), "amt": str(weights / AMT), "clips": paths}
        environment = {
            "VBENCH_CACHE_DIR": str(weights),
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [options.python, str(HERE / "official_flow.py")],
            input=json.dumps(task),
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    outputs = json.loads(done.stdout.splitlines()[-1])
    rows = (f"{json.dumps(key)}: {json.dumps(value).replace('NaN', 'null')}" for key, value in outputs.items())
    OUTPUTS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
