"""VideoReward by its official code, a clip at a time: run by `metrics/workers/serve.py`.

`inference.VideoVLMRewardInference` is the repository's own class and does everything: reading, sampling, prompting, the
forward pass. Two things are settled outside it: attention is PyTorch's instead of the flash-attn package, which has to
be compiled (the class has that switch, but sets it itself), and checkpoints are read without running pickles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inference
import torch

PACKAGES = ("torch", "torchvision", "transformers", "peft", "decord", "numpy", "pillow")
BASE = "Qwen2-VL-2B-Instruct"
CHECKPOINT = 11352  # steps


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Load base and checkpoint from the folder `weights`."""
    torch.set_num_threads(arguments["threads"])
    weights = Path(arguments["weights"])
    as_named_in_its_config(weights)
    configured = inference.TrainingConfig
    inference.TrainingConfig = lambda **words: configured(**{**words, "disable_flash_attn2": True})
    torch.load = functools.partial(torch.load, weights_only=True)
    device = arguments["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    judge = inference.VideoVLMRewardInference(str(weights / "VideoReward"), CHECKPOINT, device, torch.bfloat16)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        options = {name: request[name] for name in ("fps", "num_frames", "max_pixels")}
        with torch.no_grad():
            (rewards,) = judge.reward([request["path"]], [request["prompt"]], use_norm=False, **options)
        return {"rewards": rewards, "calibration": judge.inference_config}

    return answer


def as_named_in_its_config(weights: Path) -> None:
    """The base model under the name that the checkpoint's configuration gives it, in the working directory."""
    link = Path("Qwen") / BASE
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(weights / BASE)
