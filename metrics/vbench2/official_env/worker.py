"""One VBench-2.0 dimension by the repository's own code, a clip at a time: run by `metrics/workers/serve.py`.

The official `compute_<dimension>` does everything, on a prompt list of one entry. It loads its networks on every call,
so here what loads is remembered. Changed besides: attention is PyTorch's instead of the flash-attn package, files are
read without running pickles, and what the language models say is kept.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "transformers", "decord", "numpy", "pillow", "opencv-python-headless")
CHECKPOINTS = "torch/hub/checkpoints"  # in the folder of weights: what torch.hub would fetch
NAMED = ("google/siglip-so400m-patch14-384", "openai/clip-vit-base-patch32")  # models that official files name
GATE = "2.0.1"  # mmdet and mmyolo refuse mmcv 2.1 and later; VBench-2.0's README has users edit that out
INVALID = -1
Json = dict[str, Any]


def start(arguments: Json) -> Callable[[Json], Json]:
    """Import the dimension's module; its networks are loaded by the first clip."""
    torch.set_num_threads(arguments["threads"])
    device = "cuda" if arguments["device"] == "auto" else arguments["device"]
    if device.startswith("cuda") and torch.cuda.is_available():
        torch.cuda.set_device(device if ":" in device else 0)
    else:
        raise RuntimeError("VBench-2.0 moves its data with .cuda(): it needs a GPU")
    arrange(Path(arguments["weights"]))
    load_safely()
    if arguments["module"] == "human_anatomy":
        pass_the_gate()
    module = importlib.import_module(f"vbench2.{arguments['module']}")
    from vbench2.utils import init_submodules

    needs = init_submodules([arguments["dimension"]], local=True)[arguments["dimension"]]
    said: list[str] = []
    remember_what_loads(module, said)
    compute = getattr(module, f"compute_{arguments['module']}")

    def answer(request: Json) -> Json:
        said.clear()
        files = request.get("paths") or [request["path"]]
        entry = {"prompt_en": request["prompt"], "dimension": [arguments["dimension"]], "video_list": files}
        if "auxiliary_info" in request:
            entry["auxiliary_info"] = request["auxiliary_info"]
        Path("clip_info.json").write_text(json.dumps([entry]))
        torch.manual_seed(0)
        results = results_of(compute, "clip_info.json", device, needs)
        if len(results) != 1:
            raise ValueError(f"{len(results)} results for one clip")
        return {"value": float(results[0]["video_results"]), "said": list(said)}

    return answer


def results_of(compute: Callable[..., Any], *words: Any) -> list[Json]:
    """The official list of results. Where every clip is marked invalid it is divided by zero afterwards; then the list
    is taken from where that happened."""
    try:
        _, results = compute(*words)
    except ZeroDivisionError as error:
        trace, found = error.__traceback__, None
        while trace is not None:
            names = trace.tb_frame.f_locals
            found = names.get("processed_json", names.get("video_results", found))
            trace = trace.tb_next
        if not found or any(each["video_results"] != INVALID for each in found):
            raise
        return list(found)
    return list(results)


def arrange(weights: Path) -> None:
    """Everything where the official code looks for it, as links in the working directory, which is private."""
    os.environ["VBENCH2_CACHE_DIR"] = str(weights)
    checkpoints = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for file in (weights / CHECKPOINTS).glob("*"):
        (checkpoints / file.name).symlink_to(file)
    (checkpoints.parent / "facebookresearch_co-tracker_main").symlink_to(folder_of("hubconf"))
    Path("vbench2").symlink_to(folder_of("vbench2"))  # configurations are named relative to the repository
    for name in NAMED:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).symlink_to(weights / name)


def folder_of(module: str) -> Path:
    """Where a module of the sources lies, without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module} in the official sources")
    return Path(spec.origin).parent


def load_safely() -> None:
    """torch.load reads weights only, whatever its caller asks for."""
    load = torch.load
    torch.load = lambda *words, **options: load(*words, **{**options, "weights_only": True})


def pass_the_gate() -> None:
    """Do in memory what README.md has users edit in the installed mmdet and mmyolo."""
    import mmcv

    version, mmcv.__version__ = mmcv.__version__, GATE
    import mmdet
    import mmyolo

    assert mmdet, mmyolo
    mmcv.__version__ = version


def remember_what_loads(module: Any, said: list[str]) -> None:
    """The loaders that the module names, each called once per model; tokenizers that tell what they decode."""

    def listening(tokenizer: Any) -> Any:
        decode = tokenizer.batch_decode

        def telling(*words: Any, **options: Any) -> Any:
            texts = decode(*words, **options)
            said.extend(texts)
            return texts

        tokenizer.batch_decode = telling
        return tokenizer

    if load := getattr(module, "load_pretrained_model", None):

        @functools.cache
        def load_once(place: str) -> Any:
            tokenizer, *rest = load(
                place, None, "llava_qwen", torch_dtype="bfloat16", device_map="auto", attn_implementation="sdpa"
            )
            return (listening(tokenizer), *rest)

        module.load_pretrained_model = lambda place, *words, **options: load_once(place)
    if hasattr(module, "AutoTokenizer"):
        models, tokenizers = module.AutoModelForCausalLM.from_pretrained, module.AutoTokenizer.from_pretrained
        once = functools.cache(lambda place: models(place, torch_dtype="auto", device_map="auto"))
        hear_once = functools.cache(lambda place: listening(tokenizers(place)))
        module.AutoModelForCausalLM = SimpleNamespace(from_pretrained=lambda place, **options: once(place))
        module.AutoTokenizer = SimpleNamespace(from_pretrained=lambda place, **options: hear_once(place))
    for name in ("CameraPredict", "DynamicDegree", "VGG"):
        if hasattr(module, name):
            setattr(module, name, once_of(getattr(module, name)))


def once_of(kind: type) -> Callable[..., Any]:
    """The constructor of a class, called once; its arguments are the same every time."""
    built: list[Any] = []

    def construct(*words: Any, **options: Any) -> Any:
        if not built:
            built.append(kind(*words, **options))
        return built[0]

    return construct
