"""Runs inside the official environment: `VBench.evaluate` of one dimension on a list of clips, through its front door.

stdin: {"dimension": ..., "work": folder, "clips": {name: {"path", "prompt", "action", "colour", "auxiliary"}}}
last line of stdout: {"values": {name: row}, "failed": {name: error}, "total": ..., "versions": {...}}
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

STANDARD_ONLY = ("object_class", "multiple_objects", "scene", "appearance_style", "color", "spatial_relationship")


def evaluate(dimension: str, clips: dict, work: Path) -> tuple[float, dict]:
    """The official total and per-video rows."""
    from vbench import VBench

    folder = Path(tempfile.mkdtemp(dir=work))
    names, entries = {}, []
    for name, clip in clips.items():
        file = file_name(dimension, name, clip)
        shutil.copy(clip["path"], folder / file)
        names[file] = name
        entries.append(
            {
                "prompt_en": title(dimension, name, clip),
                "dimension": [dimension],
                "auxiliary_info": {dimension: clip["auxiliary"].get(dimension)},
            }
        )
    info = work / "info.json"
    info.write_text(json.dumps(entries))
    bench = VBench(torch.device("cpu"), str(info), str(work / "out"))
    how = {"mode": "vbench_standard"}
    if dimension not in STANDARD_ONLY:
        how = {"mode": "custom_input", "prompt_list": {file: clips[name]["prompt"] for file, name in names.items()}}
    torch.manual_seed(0)
    bench.evaluate(videos_path=str(folder), name="run", dimension_list=[dimension], local=True, **how)
    total, rows = json.loads((work / "out" / "run_eval_results.json").read_text())[dimension]
    return total, {names[Path(row.pop("video_path")).name]: row for row in rows}


def file_name(dimension: str, name: str, clip: dict) -> str:
    """The package finds prompts and labels in file names."""
    if dimension in STANDARD_ONLY:
        return f"{title(dimension, name, clip)}-0.mp4"
    return f"A person is {clip['action']}-0.mp4" if dimension == "human_action" else f"{name}.mp4"


def title(dimension: str, name: str, clip: dict) -> str:
    """A short prompt of its own for every clip: it becomes a file name. Only `color` reads anything in it."""
    return f"a {clip['colour']} dog" if dimension == "color" else name


def run(dimension: str, clips: dict, work: Path) -> dict:
    """All clips in one evaluation, as it is meant; where that fails, those that do not fail by themselves."""
    failed = {}
    try:
        total, values = evaluate(dimension, clips, work)
    except Exception:
        good = {}
        for name, clip in clips.items():
            try:
                evaluate(dimension, {name: clip}, work)
                good[name] = clip
            except Exception as error:
                failed[name] = type(error).__name__
        total, values = evaluate(dimension, good, work) if good else (None, {})
    return {"total": total, "values": values, "failed": failed}


if __name__ == "__main__":
    task = json.load(sys.stdin)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_grad_enabled(task["dimension"] != "scene")  # it keeps a graph of 16 pictures: more than 12 GB
    result = run(task["dimension"], task["clips"], Path(task["work"]))
    packages = ("vbench", "torch", "torchvision", "numpy", "opencv-python", "decord", "pillow", "timm", "pyiqa")
    result["versions"] = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    print("\n" + json.dumps(result))
