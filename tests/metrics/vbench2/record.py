"""Records `transcript.json`: the official functions through the worker, on the networks of `small.py`, on a CPU.

    python -m tests.metrics.vbench2.record FOLDER [DIMENSION ...]

FOLDER gets the networks that are not there, 1 to 3 GB. `mutoscope workers build vbench2 face anatomy` comes first.
Dimensions that are not named keep what is in the transcript.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import video
from harness.api import Clip
from harness.features import sha256_file
from metrics.vbench2.dimensions import VBench2Dimension
from metrics.vbench2.prompts import official_entries
from metrics.workers.judge import JudgeOptions

HERE = Path(__file__).parent
TRANSCRIPT = HERE / "transcript.json"
MADE = "record.py: the official functions at their pinned commit, on seeded networks of the real classes, on a CPU"
ANSWERED = {"composition", "motion_rationality", "dynamic_spatial_relationship", "dynamic_attribute", "mechanics",
            "thermotics", "material", "human_clothes", "motion_order_understanding", "human_interaction",
            "complex_landscape", "complex_plot"}  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """A clip: frames, frames per second, height and width, and what it shows. Plain ones show one grey."""

    frames: int
    fps: float
    size: tuple[int, int]
    kind: str

    def draw(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        height, width = self.size
        if self.kind in PLAIN:
            return np.full((self.frames, height, width, 3), PLAIN[self.kind], np.uint8)
        tiles = np.random.default_rng(0).integers(90, 166, (height // 8, width // 8 + self.frames), dtype=np.uint8)
        scene = tiles.repeat(8, 0).repeat(8, 1)[..., None].repeat(3, 2)
        speed = 1 if self.kind == "moving" else 0
        clip = np.stack([scene[:, time * speed : time * speed + width] for time in range(self.frames)])
        if self.kind == "changing":
            clip[self.frames // 2 :] = PLAIN["dark"]
        return clip


PLAIN = {"dark": 16, "bright": 240}
SHOTS = {
    **{name: Shot(8, 8, (64, 96), name) for name in PLAIN},
    "moving": Shot(24, 24, (240, 320), "moving"),
    "short": Shot(9, 24, (240, 320), "moving"),
    "one face": Shot(22, 8, (16, 512), "still"),
    "another face": Shot(24, 8, (16, 512), "changing"),
    "few faces": Shot(12, 8, (16, 512), "still"),
    "tiles": Shot(2, 8, (160, 160), "still"),
}
PARTS = {"": "lmms-lab", "anatomy": "YOLO-World"}  # and a folder that a part writes
FACES = ("one face", "another face", "few faces")


def plan(name: str) -> Iterator[tuple[str, str, Any]]:
    """Which clips a dimension judges, for which prompt, and what it looks for."""
    entries = [entry for entry in official_entries() if entry.dimension == kinds()[name].kind().official]
    first = entries[0]
    if name in ANSWERED:
        yield from ((shot, first.prompt, first.truth) for shot in PLAIN)
    if name == "complex_plot":
        yield from (("bright", each.prompt, each.truth) for each in entries if len(each.truth) == 6)
    if name == "camera_motion":
        for label in ("orbits", "pan_left"):
            prompt = next(each.prompt for each in entries if each.truth == label)
            yield from ((shot, prompt, label) for shot in ("moving", "short"))
    if name == "multi_view_consistency":
        yield from ((shot, first.prompt, None) for shot in ("moving", "short"))
    if name == "human_identity":
        yield from ((shot, first.prompt, None) for shot in FACES)
    if name == "human_anatomy":
        yield "tiles", first.prompt, None
    if name == "diversity":
        yield "dark bright bright", first.prompt, None
        yield "dark dark", first.prompt, None


def kinds() -> Mapping[str, type[VBench2Dimension]]:
    return {kind.dimension: kind for kind in VBench2Dimension.__subclasses__()}


def record(folder: Path, name: str, versions: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Requests and answers of one dimension; `versions` gets those of the worker's packages."""
    metric = kinds()[name](JudgeOptions(weights=str(folder), unofficial_weights=True, device="cpu"))
    for shown, prompt, truth in plan(name):
        files = [clip_file(folder.parent, shot) for shot in (shown.split() if name == "diversity" else [shown])]
        official = metric.kind().official
        meta = {"dimensions": [official], "auxiliary_info": {} if truth is None else {official: truth}}
        clip = Clip(shown, files[0], sha256_file(files[0]), prompt, meta=meta)
        request = metric.request(clip)
        where = {"paths": list(map(str, files))} if name == "diversity" else {"path": str(files[0])}
        yield {"dimension": name, "clip": shown, "request": request, "answer": metric._ask({**where, **request})}
    if metric._process:
        versions.update(metric._process.worker.versions)
    metric.close()


def clip_file(folder: Path, shot: str) -> Path:
    file = folder / f"{shot}.mp4"
    if not file.exists():
        video.write(file, SHOTS[shot].draw(), SHOTS[shot].fps)
    return file


def networks(folder: Path, part: str) -> None:
    """Writes what `small.py` writes of a part, if it is not there."""
    if (folder / PARTS[part]).exists():
        return
    where = VBench2Dimension.where()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, where.paths)), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as home:
        environment["HF_HOME"] = home
        words = [str(where.python), str(HERE / "small.py"), str(folder), *([part] if part else [])]
        subprocess.run(words, env=environment, check=True)


def main(folder: Path, *names: str) -> None:
    known: dict[str, Any] = {"made by": MADE, "versions": {}, "exchanges": []}
    if TRANSCRIPT.exists():
        known = json.loads(TRANSCRIPT.read_text(encoding="utf-8"))
    for name in names or kinds():
        networks(folder, "anatomy" if name == "human_anatomy" else "")
        others = [each for each in known["exchanges"] if each["dimension"] != name]
        known["exchanges"] = [*others, *record(folder, name, known["versions"])]
        TRANSCRIPT.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
