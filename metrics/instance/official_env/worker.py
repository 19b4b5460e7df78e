"""The repository's instance judge by its own code, a clip at a time: run by `metrics/workers/serve.py`.

`Instance_detector.test.compute_anomaly` does everything: cutting the windows with ffmpeg, asking, deciding. It loads
the model on every call and keeps windows in the working directory under the clip's name, so here what loads is
remembered, and every clip gets a directory that is new. It also swallows what goes wrong; here that is kept.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from Instance_detector import test as official

PACKAGES = ("torch", "torchvision", "transformers", "peft", "qwen-vl-utils", "decord", "numpy", "pillow")
ADAPTER = "instance_anomaly_detector/model"  # in the folder of weights, as in the repository's cache
CLIP = "clips/model/clip-0.mp4"  # three levels: the official code takes the first for the name of a model


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Base and adapter are loaded by the first clip."""
    torch.set_num_threads(arguments["threads"])
    adapter = Path(arguments["weights"]) / ADAPTER
    remember_what_loads(arguments["weights"], arguments["device"])
    ask, heard = official.infer_lora, list[dict[str, str]]()

    def listen(*words: Any) -> str:
        try:
            text: str = ask(*words)
        except Exception as error:
            heard.append({"error": f"{type(error).__name__}: {error}"[:300]})
            raise
        heard.append({"text": text})
        return text

    official.infer_lora = listen

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        heard.clear()
        home = os.getcwd()
        with tempfile.TemporaryDirectory(dir=home) as fresh:
            os.chdir(fresh)
            try:
                clip = Path(fresh, CLIP)
                clip.parent.mkdir(parents=True)
                clip.symlink_to(request["path"])
                info = official.get_video_info(str(clip))
                if info is None:
                    raise ValueError("the video cannot be opened")
                prompts = [{"video_list": [str(clip)]}]
                value, _ = official.compute_anomaly(prompts, arguments["device"], {"model": str(adapter)})
            finally:
                os.chdir(home)
        return {"frames": info[0], "fps": info[1], "windows": list(heard), "official": value}

    return answer


def remember_what_loads(weights: str, device: str) -> None:
    """The official loaders, each called once; the base comes from the folder of weights, not from a hub."""
    read = official.BaseArguments.from_pretrained
    load = official.get_model_tokenizer
    places = {} if device == "auto" else {"device_map": device}

    @functools.cache
    def arguments_of(adapter: str) -> Any:
        found = read(adapter)
        found.model = str(Path(weights) / Path(found.model).name)
        return found

    official.BaseArguments = SimpleNamespace(from_pretrained=arguments_of)
    official.get_model_tokenizer = functools.cache(lambda name: load(name, **places))
    official.Swift = SimpleNamespace(from_pretrained=functools.cache(official.Swift.from_pretrained))
    official.get_template = functools.cache(official.get_template)
    official.PtEngine = SimpleNamespace(from_model_template=functools.cache(official.PtEngine.from_model_template))
