"""T2V-CompBench's LLaVA judges by the official scripts, a clip at a time: run by `metrics/workers/serve.py`.

Every request calls a script's `eval_model` on a folder of one video and a prompt file of one entry, and answers with
the row that the script wrote. LLaVA is loaded once: the scripts' `load_pretrained_model` remembers what it loaded.
"""

from __future__ import annotations

import csv
import functools
import importlib
import json
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow", "opencv-python-headless")
SCRIPTS = {"action_binding": "eval_action_binding", "dynamic_attribute": "eval_dynamic_attr"}
FRAMES = {"action_binding": 1, "dynamic_attribute": 16}  # fewer, and the script fails somewhere inside
DEFAULTS = {"model_base": None, "conv_mode": None, "sep": ",", "top_p": None, "num_beams": 1, "max_new_tokens": 512}
NAME = "0001"  # of the video; the scripts go by numbers


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`weights`: the folder that holds llava-v1.6-34b; `temperature`, `seed`: of the sampled replies.

    A request has a path, a category and the `entry` of the official prompt file.
    """
    torch.set_num_threads(arguments["threads"])
    torch.load = functools.partial(torch.load, weights_only=True)
    device = arguments["device"] if arguments["device"] != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    scripts: dict[str, Any] = {category: importlib.import_module(name) for category, name in SCRIPTS.items()}
    load = functools.cache(functools.partial(scripts["action_binding"].load_pretrained_model, **place(device)))
    for script in scripts.values():
        script.load_pretrained_model = load
    model = str(Path(arguments["weights"]) / "llava-v1.6-34b")
    name = scripts["action_binding"].get_model_name_from_path(model)
    load(model, None, name)  # now, so that missing files are told before the first clip

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        category = request["category"]
        if (frames := count(request["path"])) < FRAMES[category]:
            raise ValueError(f"{frames} frames; {category} looks at {FRAMES[category]}")
        torch.manual_seed(arguments["seed"])
        with tempfile.TemporaryDirectory(dir=".") as folder:
            inside = Path(folder).absolute()
            (inside / "video").mkdir()
            (inside / "video" / f"{NAME}{Path(request['path']).suffix}").symlink_to(request["path"])
            (inside / "prompts.json").write_text(json.dumps([request["entry"]]), encoding="utf-8")
            words = Namespace(
                **DEFAULTS, model_path=model, temperature=arguments["temperature"], output_path=str(inside / "out"),
                read_prompt_file=str(inside / "prompts.json"), video_path=str(inside / "video"), t2v_model="model",
            )  # fmt: skip
            row = only(scripts[category].eval_model(words))
        return {"row": row}

    return answer


def place(device: str) -> dict[str, Any]:
    """Where LLaVA goes. The scripts call `.cuda()` on their inputs: the current device, or none at all."""
    if device == "cpu":
        need_half()
        torch.Tensor.cuda = lambda self, *words, **options: self  # type: ignore[method-assign]
        return {"device": "cpu"}
    if ":" in device:
        torch.cuda.set_device(device)
        return {"device_map": {"": device}}
    return {}  # as the scripts have it: over all GPUs


def need_half() -> None:
    """The official loader knows half precision only, which the pinned torch cannot convolve on a CPU."""
    point = torch.zeros(1, 1, 1, 1, dtype=torch.float16)
    try:
        torch.nn.functional.conv2d(point, point)
    except RuntimeError as error:
        raise RuntimeError(
            f"LLaVA is loaded in half precision: torch {torch.__version__} needs a GPU for it"
        ) from error


def count(path: str) -> int:
    """Frames, as the scripts count them."""
    capture = cv2.VideoCapture(path)
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return frames


def only(table: str) -> dict[str, str]:
    """The one row of a table, by column."""
    with open(table, newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    return row
