"""One VBench-2.0 dimension by the repository's own code, a clip at a time: run by `metrics/workers/serve.py`.

The official `compute_<dimension>` does everything, on a prompt list of one entry. It loads its networks on every call,
so here what loads is remembered. Changed besides: attention is PyTorch's instead of the flash-attn package, files are
read without running pickles, what the language models say is kept, and on a CPU `.cuda()` means the CPU. Two things
that would fail are made to work: a plot of six parts (`led_in`) and human_anatomy's text network (`ready`).
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "transformers", "decord", "numpy", "pillow", "opencv-python-headless")
CHECKPOINTS = "torch/hub/checkpoints"  # in the folder of weights: what torch.hub would fetch
TEXTS = "openai/clip-vit-base-patch32"  # the text network of human_anatomy's detector
NAMED = ("google/siglip-so400m-patch14-384", TEXTS)  # models that the hub's name is used for
REVISION = "local"  # of named models, in the hub's cache
GATE = "2.0.1"  # mmdet and mmyolo refuse mmcv 2.1 and later; VBench-2.0's README has users edit that out
INVALID = -1
TEMPLATES = (4, 5)  # parts of a plot that complex_plot.py has a template for
Json = dict[str, Any]


def start(arguments: Json) -> Callable[[Json], Json]:
    """Import the dimension's module; its networks are loaded by the first clip."""
    torch.set_num_threads(arguments["threads"])
    device = place(arguments["device"])
    arrange(Path(arguments["weights"]))
    load_safely()
    if arguments["module"] == "human_anatomy":
        pass_the_gate()
    module = importlib.import_module(f"vbench2.{arguments['module']}")
    if arguments["module"] == "human_anatomy":
        ready(importlib.import_module("vbench2.third_party.ViTDetector.detect"), device)
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
        entries = led_in(entry, arguments["module"])
        Path("clip_info.json").write_text(json.dumps(entries))
        torch.manual_seed(0)
        results = results_of(compute, "clip_info.json", device, needs)
        if len(results) != len(entries):
            raise ValueError(f"{len(results)} results of {len(entries)} entries")
        return {"value": float(results[-1]["video_results"]), "said": list(said)}

    return answer


def led_in(entry: Json, module: str) -> list[Json]:
    """The entry, after one of five parts if there is no template for as many as it has: upstream's plot of six parts is
    asked with the template of the plot before it, and fails on its own (complex_plot.py, `LLaVA_Video`)."""
    if module != "complex_plot" or len(entry["auxiliary_info"]) in TEMPLATES:
        return [entry]
    return [{**entry, "auxiliary_info": entry["auxiliary_info"][: max(TEMPLATES)]}, entry]


def place(device: str) -> str:
    """Where the official code goes, which calls `.cuda()` on its inputs: that GPU, or none at all."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # "auto" is where it puts its language models
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *words, **options: self  # type: ignore[method-assign]
    else:
        torch.cuda.set_device(device if ":" in device else 0)
    return device


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
    """Everything where the official code looks for it, as links in the working directory, which is private; a process
    that follows a failed one finds them there."""
    os.environ["VBENCH2_CACHE_DIR"] = str(weights)
    hub = Path(os.environ["TORCH_HOME"]) / "hub"
    links = {hub / "checkpoints" / file.name: file for file in (weights / CHECKPOINTS).glob("*")}
    links[hub / "facebookresearch_co-tracker_main"] = folder_of("hubconf")
    links[Path("vbench2")] = folder_of("vbench2")  # configurations are named relative to the repository
    for name in NAMED:  # a folder of that name here would make LLaVA take SigLIP for a CLIP
        cached = Path(os.environ["HF_HOME"]) / "hub" / f"models--{name.replace('/', '--')}"
        links[cached / "snapshots" / REVISION] = weights / name
        (cached / "refs").mkdir(parents=True, exist_ok=True)
        (cached / "refs" / "main").write_text(REVISION)
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def folder_of(module: str) -> Path:
    """Where a module of the sources lies, without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module} in the official sources")
    return Path(spec.origin).parent


def load_safely() -> None:
    """torch.load reads weights only, whatever its caller asks for, and onto the CPU unless told where: a file that was
    saved on a GPU can then be read without one."""
    load = torch.load

    def read(file: Any, map_location: Any = None, *words: Any, **options: Any) -> Any:
        return load(file, map_location or "cpu", *words, **{**options, "weights_only": True})

    torch.load = read  # type: ignore[assignment]


def pass_the_gate() -> None:
    """Do in memory what README.md has users edit in the installed mmdet and mmyolo. mmcv's operators are loaded before
    decord, whose library shows its symbols to all that follow: after it they crash."""
    import mmcv
    import mmcv._ext

    version, mmcv.__version__ = mmcv.__version__, GATE
    import mmdet
    import mmyolo

    assert mmdet, mmyolo
    mmcv.__version__ = version


def ready(detect: Any, device: str) -> None:
    """human_anatomy's detectors and classifiers, loaded once. The detectors' text network by its public name, where the
    configuration has a folder of its authors; on `device`; and with a palette, so that LVIS is not read for one."""
    from mmengine.config import Config

    build = detect.init_detector

    def init_detector(config: str, weights: str | None, **options: Any) -> Any:
        described = Config.fromfile(config)
        described.model.backbone.text_model.model_name = TEXTS
        return build(described, weights, palette="random", device=device)

    detect.init_detector = init_detector
    for name in ("Detector", "Analyzer"):
        setattr(detect, name, once_of(getattr(detect, name)))


def remember_what_loads(module: Any, said: list[str]) -> None:
    """The loaders that the module names, each called once per model; tokenizers that tell what they decode, since the
    last clip was read."""
    if read := getattr(module, "load_video", None):

        def reading(*words: Any, **options: Any) -> Any:
            said.clear()
            return read(*words, **options)

        module.load_video = reading

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
                folder(place), None, "llava_qwen", torch_dtype="bfloat16", device_map="auto", attn_implementation="sdpa"
            )
            return (listening(tokenizer), *rest)

        module.load_pretrained_model = lambda place, *words, **options: load_once(place)
    if hasattr(module, "AutoTokenizer"):
        models, tokenizers = module.AutoModelForCausalLM.from_pretrained, module.AutoTokenizer.from_pretrained
        once = functools.cache(lambda place: models(folder(place), torch_dtype="auto", device_map="auto"))
        hear_once = functools.cache(lambda place: listening(tokenizers(folder(place))))
        module.AutoModelForCausalLM = SimpleNamespace(from_pretrained=lambda place, **options: once(place))
        module.AutoTokenizer = SimpleNamespace(from_pretrained=lambda place, **options: hear_once(place))
    for name in ("CameraPredict", "DynamicDegree", "vgg19"):  # not VGG, which says super(VGG, self)
        if hasattr(module, name):
            setattr(module, name, once_of(getattr(module, name)))


def folder(place: str) -> str:
    """The folder of a model. Where that failed, the official code tries the hub's name: the failure is raised again."""
    if not Path(place).is_absolute() and (failure := sys.exc_info()[1]):
        raise failure
    return place


def once_of(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A class or loader, called once; its arguments are the same every time."""
    built: list[Any] = []

    def construct(*words: Any, **options: Any) -> Any:
        if not built:
            built.append(kind(*words, **options))
        return built[0]

    return construct
