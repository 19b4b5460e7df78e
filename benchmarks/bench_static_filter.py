"""VBench's temporal_flickering with its static filter, dynamic_degree and motion_smoothness: the package against ours.

    uv run python benchmarks/bench_static_filter.py --official-python PYTHON [--prompts 2] [--static 0.4]

One run, one thread, the same seeded weights and clips, loading models included; the official package runs in its own
environment, whose python is given. What is saved depends on the clips: moving ones are rejected early, of a prompt with
many static ones few samples are looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from harness import video
from harness.api import Clip
from harness.features import FeatureStore, sha256_file
from metrics.vbench.dynamic_degree import DynamicDegree
from metrics.vbench.layout import clip_name
from metrics.vbench.motion_smoothness import MotionSmoothness
from metrics.vbench.prompts import FLICKERING, official_prompts, sample_meta
from metrics.vbench.seeded import write_all
from metrics.vbench.temporal_flickering import TemporalFlickering

OFFICIAL = """
import json, sys, time
from argparse import Namespace
import torch
from easydict import EasyDict
import vbench.cli.static_filter as tool, vbench.motion_smoothness as smoothness
from vbench.dynamic_degree import DynamicDegree
from vbench.temporal_flickering import cal_score
task = json.load(sys.stdin)
torch.set_num_threads(1)
tool.DEVICE = "cpu"  # it knows only this constant
options = dict(small=False, mixed_precision=False, alternate_corr=False)
def flickering():
    out = task["work"] + "/filtered"
    tool.static_filter(Namespace(model=task["raft"], videos_path=task["folder"], result_path=out,
        store_name="kept.json", filter_scope="temporal_flickering", **options))
    paths = [path for kept in json.load(open(out + "/kept.json")).values() for path in kept["static_path"]]
    return {path: cal_score(path) for path in paths}
def dynamic():
    model = DynamicDegree(EasyDict(model=task["raft"], **options), torch.device("cpu"))
    return {path: float(model.infer(path)) for path in task["some"]}
def smooth():
    config = smoothness.__file__.rsplit("/", 1)[0] + "/third_party/amt/cfgs/AMT-S.yaml"
    model = smoothness.MotionSmoothness(config, task["amt"], torch.device("cpu"))
    return {path: float(model.motion_score(path)) for path in task["some"]}
answers = {}
for name, function in dict(temporal_flickering=flickering, dynamic_degree=dynamic, motion_smoothness=smooth).items():
    began = time.process_time()
    answers[name] = [function(), time.process_time() - began]
print("\\n" + json.dumps(answers))
"""


def make_clips(folder: Path, options: argparse.Namespace) -> list[list[Clip]]:
    """Samples of some official prompts: textures that stand still but for noise, or move, as a die says."""
    rng = np.random.default_rng(0)
    entries = [entry for entry in official_prompts() if FLICKERING in entry.dimensions][: options.prompts]
    groups = []
    for entry in entries:
        group = []
        for sample in range(options.samples):
            speed = 0.0 if rng.random() < options.static else float(rng.uniform(2, 6))
            path = folder / clip_name(entry.prompt, sample)
            video.write(path, drifting(options.frames, options.side, speed, rng), 8)
            meta = sample_meta(entry, sample, options.samples)
            group.append(Clip(path.stem, path, sha256_file(path), entry.prompt, meta=meta))
        groups.append(group)
    return groups


def drifting(frames: int, side: int, speed: float, rng: np.random.Generator) -> np.ndarray:
    """`[F, side, side, 3]`: coloured noise that slides by `speed` pixels a frame under a little grain."""
    reach = int(speed * frames) + 2
    canvas = cv2.GaussianBlur(rng.normal(size=(side, side + reach, 3)), (0, 0), 3)
    canvas = (canvas / canvas.std() * 45 + 128).clip(0, 255)
    places = [reach - int(speed * index) for index in range(frames)]
    shown = [canvas[:, place : place + side] for place in places]
    return (np.stack(shown) + rng.normal(0, 1, (frames, side, side, 3))).clip(0, 255).astype(np.uint8)


def ours(kind: Any, config: dict[str, Any], groups: Sequence[Sequence[Clip]]) -> dict[str, float]:
    """Scores by path, where there is one."""
    metric, store, found = kind(kind.Config(**config)), FeatureStore(), dict[str, float]()
    for group in groups:
        if kind is TemporalFlickering:
            answers = metric.score_samples(group, store.open)
        else:
            answers = {}
            for clip in group:
                with store.open(clip, metric.extractors()) as features:
                    answers[clip.id] = metric.score(clip, features)
        found |= {str(clip.path): answers[clip.id].value for clip in group if answers[clip.id].value is not None}
    return found


def official(python: str, task: dict[str, Any], weights: Path) -> dict[str, tuple[dict[str, float], float]]:
    environment = {"VBENCH_CACHE_DIR": str(weights), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", OFFICIAL],
        input=json.dumps(task),
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the official package failed:\n{done.stderr[-2000:]}")
    answers: dict[str, tuple[dict[str, float], float]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official-python", required=True)
    for name, default in [("prompts", 2), ("samples", 25), ("frames", 17), ("side", 128), ("few", 4)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--static", type=float, default=0.4, help="share of clips that stand still")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        work, folder, weights = Path(scratch), Path(scratch) / "clips", Path(scratch) / "weights"
        folder.mkdir()
        kinds = {kind.dimension: kind for kind in (TemporalFlickering, DynamicDegree, MotionSmoothness)}
        written = {
            path.name: str(path)
            for path in write_all(weights, ["static_filter", "dynamic_degree", "motion_smoothness"], 0)
        }
        groups = make_clips(folder, options)
        some = [group[: options.few] for group in groups]
        paths = [str(clip.path) for group in some for clip in group]
        task = {"raft": written["raft-things.pth"], "amt": written["amt-s.pth"], "some": paths}
        theirs = official(options.official_python, task | {"work": scratch, "folder": str(folder)}, weights)
        config = {"weights": str(weights), "unofficial_weights": True, "device": "cpu", "protocol": "standard"}
        print(f"{len(groups)} prompts, {options.samples} samples of {options.frames} frames, {work}")
        for name, kind in kinds.items():
            began = time.process_time()
            found = ours(kind, config, groups if kind is TemporalFlickering else some)
            seconds = time.process_time() - began
            expected, official_seconds = theirs[name]
            assert found.keys() == expected.keys(), f"{name}: other clips: {found.keys() ^ expected.keys()}"
            worst = max(abs(found[path] - value) for path, value in expected.items())
            print(
                f"{name:<20} {len(found):3d} clips scored, the same ones; largest difference {worst:.1e}; "
                f"CPU {official_seconds:7.1f} s official, {seconds:6.1f} s ours: {official_seconds / seconds:.2f}x"
            )


if __name__ == "__main__":
    main()
