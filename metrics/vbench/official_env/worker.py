"""One VBench dimension by the official package, one video at a time: run by `metrics/workers/serve.py`.

Networks are loaded with the lines of the package's own `compute_<dimension>`, once; every request then calls the
package's own inner function on a list of one video.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

PACKAGES = ("vbench", "torch", "torchvision", "numpy", "opencv-python", "decord", "pillow", "timm", "transformers")
SHORTEST = {"subject_consistency": 2, "background_consistency": 2, "temporal_flickering": 2, "motion_smoothness": 3}
MP4_ONLY = ("motion_smoothness", "dynamic_degree")  # raise NotImplementedError for other files
LINK = "clip"  # under which the package sees the video: its readers go by the suffix, some by the name


class Clip(NamedTuple):
    """A request, with what the package wants to hear about the video."""

    path: str
    frames: int
    prompt: str
    auxiliary: Any  # the prompt list's entry for this dimension

    @property
    def listed(self) -> list[dict[str, Any]]:
        """As `load_dimension_info` gives it."""
        return [{"prompt": self.prompt, "video_list": [self.path], "auxiliary_info": self.auxiliary}]


Parts = dict[str, float]
Judge = Callable[[Clip], tuple[float, Parts]]


class Skip(Exception):  # noqa: N818
    """The dimension has nothing to say of this video."""


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Load the networks of `dimension`; see `metrics.vbench.official` for the arguments and requests."""
    torch.set_num_threads(arguments["threads"])
    read_pickles(arguments["trusted"])
    dimension, seed = arguments["dimension"], arguments["seed"]
    device = torch.device(pick(arguments["device"]))
    module = importlib.import_module(f"vbench.{dimension}")
    from vbench.utils import init_submodules

    files = init_submodules([dimension], local=True)[dimension]
    torch.manual_seed(seed)
    judge = LOADERS[dimension](module, files, device)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        torch.manual_seed(seed)
        path = Path(request["path"])
        gif = path.suffix.lower() == ".gif"
        link = Path(name(dimension, request["prompt"]) + (".gif" if gif else ".mp4")).absolute()
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        try:
            frames = count(link)
            if gif and dimension in MP4_ONLY:
                raise Skip("the official package reads only mp4 here")
            if frames < SHORTEST.get(dimension, 1):
                raise Skip(f"{frames} frames are too few")
            with torch.no_grad():  # the same numbers; some of the package's functions keep a graph of all frames
                value, parts = judge(Clip(str(link), frames, request["prompt"], request["auxiliary"]))
        except Skip as reason:
            return {"skip": str(reason)}
        finally:
            link.unlink()
        if not math.isfinite(value):
            raise ArithmeticError(f"the official score is {value}")
        return {"value": float(value), "parts": {key: float(part) for key, part in parts.items()}}

    return answer


# ---- the sixteen -----------------------------------------------------------------------------------------------


def subject_consistency(module: ModuleType, files: dict[str, Any], device: torch.device) -> Judge:
    model = torch.hub.load(**files).to(device)

    def judge(clip: Clip) -> tuple[float, Parts]:
        _, rows = module.subject_consistency(model, [clip.path], device, files["read_frame"])
        return only(rows)["video_results"], {"pairs": clip.frames - 1}

    return judge


def background_consistency(module: ModuleType, files: list[Any], device: torch.device) -> Judge:
    model, preprocess = module.clip.load(files[0], device=device)

    def judge(clip: Clip) -> tuple[float, Parts]:
        row = only(module.background_consistency(model, preprocess, [clip.path], device, files[1])[1])
        return row["video_results"], {"pairs": row["cnt_per_video"]}

    return judge


def temporal_flickering(module: ModuleType, files: list[Any], device: torch.device) -> Judge:
    def judge(clip: Clip) -> tuple[float, Parts]:
        rows = module.temporal_flickering([clip.path])[1]  # leaves out what it cannot read
        if not rows:
            raise ValueError("OpenCV reads no frame of it")
        return only(rows)["video_results"], {}

    return judge


def motion_smoothness(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    motion = module.MotionSmoothness(files["config"], files["ckpt"], device)
    return lambda clip: (only(module.motion_smoothness(motion, [clip.path])[1])["video_results"], {})


def dynamic_degree(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    options = {"model": files["model"], "small": False, "mixed_precision": False, "alternate_corr": False}
    dynamic = module.DynamicDegree(module.edict(options), device)
    return lambda clip: (only(module.dynamic_degree(dynamic, [clip.path])[1])["video_results"], {})


def aesthetic_quality(module: ModuleType, files: list[str], device: torch.device) -> Judge:
    head = module.get_aesthetic_model(files[1]).to(device)
    model, _ = module.clip.load(files[0], device=device)
    return lambda clip: (only(module.laion_aesthetic(head, model, [clip.path], device)[1])["video_results"], {})


def imaging_quality(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    model = module.MUSIQ(pretrained_model_path=files["model_path"])
    model.to(device)
    model.training = False  # of the top module alone, as the package has it: multiscale patches depend on it

    def judge(clip: Clip) -> tuple[float, Parts]:
        row = only(module.technical_quality(model, [clip.path], device)[1])["video_results"]
        return row / 100, {"official": row}

    return judge


def appearance_style(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    model, _ = module.clip.load(device=device, **files)

    def judge(clip: Clip) -> tuple[float, Parts]:
        row = only(module.appearance_style(model, clip.listed, device)[1])
        return row["video_results"], {"frames": len(row["frame_results"])}

    return judge


def viclip(module: ModuleType, files: dict[str, str], device: torch.device, score: Callable[..., Any]) -> Judge:
    tokenizer = module.SimpleTokenizer(str(Path(module.CACHE_DIR) / "ViCLIP" / "bpe_simple_vocab_16e6.txt.gz"))
    model = module.ViCLIP(tokenizer=tokenizer, **files).to(device)
    return lambda clip: (only(score(model, clip.listed, tokenizer, device)[1])["video_results"], {})


def overall_consistency(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    return viclip(module, files, device, module.overall_consistency)


def temporal_style(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    return viclip(module, files, device, module.temporal_style)


def human_action(module: Any, files: list[str], device: torch.device) -> Judge:
    module.create_model = functools.cache(module.create_model)  # else made anew at every call
    torch.load = functools.cache(torch.load)  # type: ignore[assignment]
    return lambda clip: (only(module.human_action(files[0], [clip.path], device)[1])["video_results"], {})


def scene(module: ModuleType, files: dict[str, Any], device: torch.device) -> Judge:
    model = module.tag2text_caption(**files).eval().to(device)
    return lambda clip: counted(only(module.scene(model, clip.listed, device)[1]))


def grit(module: ModuleType, files: dict[str, str], device: torch.device, kind: str = "_det") -> Any:
    """GRiT; `object_class` takes every exception for an empty picture, so the first one is kept and raised later."""
    model = module.DenseCaptioning(device)
    getattr(model, f"initialize_model{kind}")(**files)
    run, model.problems = model.run_caption_tensor, []

    def watched(image: Any) -> Any:
        try:
            return run(image)
        except Exception as error:
            model.problems.append(error)
            raise

    model.run_caption_tensor = watched
    return model


def object_class(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    model = grit(module, files, device)

    def judge(clip: Clip) -> tuple[float, Parts]:
        model.problems.clear()
        row = only(module.object_class(model, clip.listed, device)[1])
        if model.problems:
            raise model.problems[0]
        return counted(row)

    return judge


def multiple_objects(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    model = grit(module, files, device)
    return lambda clip: counted(only(module.multiple_objects(model, clip.listed, device)[1]))


def spatial_relationship(module: ModuleType, files: dict[str, str], device: torch.device) -> Judge:
    model = grit(module, files, device)

    def judge(clip: Clip) -> tuple[float, Parts]:
        row = only(module.spatial_relationship(model, clip.listed, device)[1])
        return row["video_results"], {"frames": len(row["frame_results"])}

    return judge


def color(module: Any, files: dict[str, str], device: torch.device) -> Judge:
    model, seen, check = grit(module, files, device, kind=""), list[Any](), module.check_generate

    def counting(*words: Any) -> Any:
        seen.append(check(*words))
        return seen[-1]

    module.check_generate = counting  # the counts behind the ratio

    def judge(clip: Clip) -> tuple[float, Parts]:
        seen.clear()
        try:
            row = only(module.color(model, clip.listed, device)[1])
        except ZeroDivisionError:
            raise Skip("the object is in none of the frames") from None
        object_frames, color_frames = seen[-1]
        return row["video_results"], {"object_frames": object_frames, "color_frames": color_frames}

    return judge


LOADERS = {
    load.__name__: load
    for load in (
        subject_consistency, background_consistency, temporal_flickering, motion_smoothness, dynamic_degree,
        aesthetic_quality, imaging_quality, object_class, multiple_objects, human_action, color,
        spatial_relationship, scene, temporal_style, appearance_style, overall_consistency,
    )
}  # fmt: skip


# ---- around them -----------------------------------------------------------------------------------------------


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


def counted(row: dict[str, Any]) -> tuple[float, Parts]:
    return row["video_results"], {"success": row["success_frame_count"], "frames": row["frame_count"]}


def name(dimension: str, prompt: str) -> str:
    """human_action reads the label from the file's name, up to the first "-" and "_"."""
    if dimension != "human_action":
        return LINK
    label = prompt.lower().split("-")[0].split("person is ")[-1].split("_")[0]
    return f"person is {label.replace('/', ' ')[:150]}-0"


def count(path: Path) -> int:
    if path.suffix == ".gif":
        from PIL import Image

        return getattr(Image.open(path), "n_frames", 1)
    from decord import VideoReader

    return len(VideoReader(str(path), num_threads=1))


def pick(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def read_pickles(trusted: bool) -> None:
    """Old checkpoints hold more than tensors. Only files with the published digests may run what they hold."""
    load = torch.load
    torch.load = lambda *words, **options: load(*words, **{**options, "weights_only": not trusted})
