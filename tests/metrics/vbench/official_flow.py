"""Runs inside the official environment: what its RAFT and AMT classes make of clips.

stdin: {"raft": file, "amt": file, "clips": {name: path}}; last line of stdout: {name: {...}, "versions": {...}}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import vbench.cli.static_filter as static_filter
import vbench.motion_smoothness as smoothness
from easydict import EasyDict
from vbench.dynamic_degree import DynamicDegree
from vbench.temporal_flickering import cal_score
from vbench.third_party.RAFT.core.utils_core.utils import InputPadder


def speeds(filter_: Any, path: str) -> list[float]:
    """Of all pairs of the static filter: neighbours, first to last, last to first."""
    frames = filter_.get_frames(path)
    found = []
    for first, second in zip([*frames[:-1], frames[0], frames[-1]], [*frames[1:], frames[-1], frames[0]], strict=True):
        padded = InputPadder(first.shape).pad(first, second)
        found.append(float(filter_.get_score(first, filter_.model(*padded, iters=20, test_mode=True)[1])))
    return found


def attempt(function: Callable[..., object], *arguments: object) -> object:
    try:
        return function(*arguments)
    except (AssertionError, RuntimeError) as error:
        return type(error).__name__


@torch.no_grad()
def run(task: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    static_filter.DEVICE = "cpu"  # it knows only this constant
    options = EasyDict(model=task["raft"], small=False, mixed_precision=False, alternate_corr=False)
    static, dynamic = static_filter.StaticFilter(options, "cpu"), DynamicDegree(options, torch.device("cpu"))
    config = Path(smoothness.__file__).parent / "third_party" / "amt" / "cfgs" / "AMT-S.yaml"
    smooth = smoothness.MotionSmoothness(str(config), task["amt"], torch.device("cpu"))
    outputs: dict[str, Any] = {}
    for name, path in task["clips"].items():
        outputs[name] = {
            "speeds": attempt(speeds, static, path),
            "static": attempt(static.infer, path),
            "dynamic": attempt(dynamic.infer, path),
            "smoothness": attempt(lambda path: float(smooth.motion_score(path)), path),
            "flickering": attempt(cal_score, path),
        }
    return outputs


if __name__ == "__main__":
    result = run(json.load(sys.stdin))
    packages = ("vbench", "torch", "numpy", "opencv-python")
    result["versions"] = {name: version(name) for name in packages}
    print("\n" + json.dumps(result))
