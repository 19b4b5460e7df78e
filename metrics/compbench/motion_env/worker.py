"""T2V-CompBench's motion binding by the official scripts, a clip at a time: run by `metrics/workers/serve.py`.

Every request runs the three scripts' functions in their order (segment the first frame, track the objects, track the
background) in a folder of one video, and answers with the rows of the two tables that they write. The scripts would
load the networks anew at every call; here their loaders remember what they loaded.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

PACKAGES = ("torch", "torchvision", "transformers", "timm", "numpy", "matplotlib", "opencv-python-headless", "av")
NAME = "0001"  # of the video; the scripts go by numbers
TABLES = ("foreground", "background")
OPERATORS = "groundingdino.models.GroundingDINO.ms_deform_attn"


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`weights`: the folder of the networks' files; `seed`: of the points that are tracked.

    A request has a path and the `entry` of the official prompt file.
    """
    torch.set_num_threads(arguments["threads"])
    torch.load = functools.partial(torch.load, weights_only=True)
    weights = Path(arguments["weights"])
    seg, trackers = scripts()
    device = place(arguments["device"], trackers)
    for name in [name for name in sys.modules if name.endswith(OPERATORS)]:  # it can be imported under two names
        plain_operators(sys.modules[name])
    seg.load_model = functools.cache(seg.load_model)
    seg.sam_model_registry = {"vit_h": functools.cache(seg.sam_model_registry["vit_h"])}
    words = track_words(weights, Path(sys.modules["dot"].__file__ or "").parents[1])
    built = trackers["foreground"].create_model(options(trackers["foreground"], words))
    for module in trackers.values():
        module.create_model = lambda _: built

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        frames, fps = probe(request["path"])
        if frames // fps < 1:
            raise ValueError(f"{frames} frames at {fps} a second; the official script needs a whole second")
        torch.manual_seed(arguments["seed"])
        np.random.seed(arguments["seed"])
        with tempfile.TemporaryDirectory(dir=".") as folder:
            inside = Path(folder).absolute()
            (inside / "video").mkdir()
            (inside / "video" / f"{NAME}.mp4").symlink_to(request["path"])
            (inside / "prompts.json").write_text(json.dumps([request["entry"]]), encoding="utf-8")
            seg.foreground_background_mask(segment_words(weights, inside, frames, fps, device))
            seg.plt.close("all")
            places = [
                f"--read-prompt-file={inside / 'prompts.json'}",
                f"--video_folder={inside / 'video_standard' / 'video'}",
                f"--mask_folder={inside / 'masks'}", f"--output_path={inside / 'tables'}",
                f"--output_dir={inside / 'overlays'}",
            ]  # fmt: skip
            for name, module in trackers.items():
                getattr(module, name)(options(module, [*words, *places]))
            return {name: rows(inside / "tables" / f"model_{name}.csv") for name in TABLES}

    return answer


def scripts() -> tuple[Any, dict[str, Any]]:
    """The segmenting script, and the two tracking ones over the options that they come with."""
    replace_options()
    trackers = {name: importlib.import_module(f"eval_motion_binding_{name}") for name in TABLES}
    return importlib.import_module("motion_binding_seg"), trackers


def place(device: str, trackers: dict[str, Any]) -> str:
    """Where the networks go: cuda or cpu. The tracking scripts know the current CUDA device only; on a CPU what goes to
    it stays where it is."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        torch.Tensor.cuda = torch.nn.Module.cuda = stay  # type: ignore[method-assign,assignment]
        for module in trackers.values():
            module.to_device = functools.partial(on_the_cpu, module.to_device)
        return "cpu"
    if ":" in device:
        torch.cuda.set_device(device)
    return "cuda"


def stay(self: Any) -> Any:
    return self


def on_the_cpu(move: Callable[[Any, str], Any], data: Any, _: str) -> Any:
    return move(data, "cpu")


def replace_options() -> None:
    """T2V-CompBench's demo_options.py in the place of the tracker's own, as its README has it."""
    found = importlib.util.find_spec("demo_options")
    assert found is not None
    name = "dot.utils.options.demo_options"
    spec = importlib.util.spec_from_file_location(name, found.origin or "")
    assert spec is not None
    assert spec.loader is not None
    importlib.import_module("dot.utils.options.base_options")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def plain_operators(module: Any) -> None:
    """On a GPU GroundingDINO wants an operator that it compiles; its own PyTorch form of the same takes over."""
    if not hasattr(module, "_C"):
        module.MultiScaleDeformableAttnFunction = Namespace(
            apply=lambda value, shapes, _, places, shares, __: module.multi_scale_deformable_attn_pytorch(
                value, shapes, places, shares
            )
        )


def segment_words(weights: Path, inside: Path, frames: int, fps: int, device: str) -> Namespace:
    """The script's defaults. It declares the last two as text and divides them: its own command line cannot run."""
    config = Path(sys.modules["groundingdino"].__path__[0]) / "config" / "GroundingDINO_SwinT_OGC.py"
    return Namespace(
        config=str(config), grounded_checkpoint=str(weights / "groundingdino_swint_ogc.pth"), sam_version="vit_h",
        sam_checkpoint=str(weights / "sam_vit_h_4b8939.pth"), sam_hq_checkpoint=None, use_sam_hq=False,
        output_dir=str(inside / "masks"), box_threshold=0.3, text_threshold=0.25, device=device,
        read_prompt_file=str(inside / "prompts.json"), video_folder=str(inside / "video"), t2v_model="model",
        total_frame=frames, fps=fps,
    )  # fmt: skip


def track_words(weights: Path, tracker: Path) -> list[str]:
    """The tracker's default networks where they lie here."""
    files = {
        "estimator": ("raft_patch_8", "cvo_raft_patch_8"),
        "refiner": ("raft_patch_4_alpha", "movi_f_raft_patch_4_alpha"),
        "tracker": ("cotracker2_patch_4_wind_8", "movi_f_cotracker2_patch_4_wind_8"),
    }
    words = [f"--{part}_config={tracker / 'configs' / f'{config}.json'}" for part, (config, _) in files.items()]
    return [
        "--t2v_model=model",
        *words,
        *(f"--{part}_path={weights / f'{file}.pth'}" for part, (_, file) in files.items()),
    ]


def options(module: Any, words: list[str]) -> Any:
    """The script's own parser on these words."""
    sys.argv = [module.__name__, *words]
    return module.DemoOptions().parse_args()


def probe(path: str) -> tuple[int, int]:
    """Frames and whole frames a second, as the scripts count the first."""
    capture = cv2.VideoCapture(path)
    found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), max(round(capture.get(cv2.CAP_PROP_FPS)), 1)
    capture.release()
    return found


def rows(table: Path) -> list[dict[str, str]]:
    """A table without the column of all positions."""
    csv.field_size_limit(sys.maxsize)
    with open(table, newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "xy_json"} for row in csv.DictReader(file)]
