"""One VMBench measure by its official script, a clip at a time: run by `metrics/workers/serve.py`.

The scripts are run as programs, with the arguments of the repository's evaluate.sh, on a results.json of one entry;
what they add to the entry is the answer. They load their networks at every run; here the loaders remember what they
made.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import importlib
import importlib.util
import json
import multiprocessing.dummy
import random
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import torch

PACKAGES = ("torch", "torchvision", "transformers", "timm", "numpy", "scipy", "opencv-python", "decord")
RESULTS = "results.json"
SHORT = 6  # frames; from here on a joint that is seen once is left out (pose_utils.py, analyze_joint_angles)
FOLDERS = ("Grounded-Segment-Anything", "Grounded-SAM-2", "co-tracker", "mmpose", "VideoMAEv2", "bench_utils")
# What an array is pickled with: published checkpoints hold the joints' colours and weights so.
ARRAYS: tuple[Any, ...] = (
    np.zeros(0).__reduce__()[0],
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("f4", "u1")),
)
DETECTED = ("--box_threshold", "0.25", "--text_threshold", "0.20")
DETECTOR, POSE = "rtmdet_m_8xb32-100e_coco-obj365-person-235e8209.pth", (
    "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.pth"
)  # fmt: skip


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`metric`: pas, ois, tcs, mss or cas; `weights`: the folder in VMBench's layout; `seed`: of what is drawn.

    A request has a path, a prompt, the subject_noun, and for mss the clip's perceptible_amplitude_score.
    """
    torch.set_num_threads(arguments["threads"])
    torch.serialization.add_safe_globals([argparse.Namespace, *ARRAYS])  # in training checkpoints, beside the values
    torch.load = functools.partial(torch.load, weights_only=True)
    device = arguments["device"] if arguments["device"] != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    root = repository()
    arrange(root, Path(arguments["weights"]))
    script, words = PROGRAMS[arguments["metric"]](device)
    program = str(root / script)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        frames = count(request["path"])
        clip = Path("clip").with_suffix(Path(request["path"]).suffix).absolute()
        clip.unlink(missing_ok=True)  # of a process that died
        clip.symlink_to(request["path"])  # the scripts take names with spaces or brackets apart
        given = {key: value for key, value in request.items() if key != "path"}
        before = {**given, "index": "0001", "filepath": str(clip)}
        Path(RESULTS).write_text(json.dumps([before]), encoding="utf-8")
        try:
            reseed(arguments["seed"])
            run(program, words)
            (entry,) = json.loads(Path(RESULTS).read_text(encoding="utf-8"))
        except ValueError as error:
            if arguments["metric"] == "ois" and frames < SHORT:
                raise ValueError(f"frames: {frames}; below {SHORT} OIS fails on a joint that is seen once") from error
            raise
        finally:
            clip.unlink()
        return {"entry": {key: value for key, value in entry.items() if key not in before}, "frames": frames}

    return answer


def repository() -> Path:
    """Where VMBench lies: its root is on the search path."""
    found = importlib.util.find_spec("perceptible_amplitude_score")
    if found is None or found.origin is None:
        raise FileNotFoundError("the VMBench repository is not on the search path")
    return Path(found.origin).parent


def arrange(root: Path, weights: Path) -> None:
    """The scripts look for everything in the working directory; a process that follows a failed one finds it there."""
    for link, target in (*((name, root / name) for name in FOLDERS), (".cache", weights)):
        Path(link).unlink(missing_ok=True)
        Path(link).symlink_to(target)
    for name in ("Grounded-Segment-Anything", "Grounded-Segment-Anything/GroundingDINO",
                 "Grounded-Segment-Anything/segment_anything", "co-tracker"):  # fmt: skip
        sys.path.append(str(Path(name).absolute()))


def run(program: str, words: list[str]) -> None:
    """As from a shell. One of the scripts ends with exit(0)."""
    sys.argv = [program, *words]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RuntimeError(f"{Path(program).name} ended with {end.code}") from end


def leave(code: int | None = None) -> NoReturn:
    """As `exit`, which would first close standard input, and wait for ever for the thread that reads it."""
    raise SystemExit(code)


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, called the first time only: a process runs one script with one set of networks."""
    made: list[Any] = []

    def remembered(*words: Any, **options: Any) -> Any:
        if not made:
            made.append(make(*words, **options))
        return made[0]

    return remembered


# ---- the five -----------------------------------------------------------------------------------------------------


def pas(device: str) -> tuple[str, list[str]]:
    grounding()
    segment = importlib.import_module("segment_anything")
    segment.sam_model_registry["vit_h"] = once(segment.sam_model_registry["vit_h"])
    words = ["--meta_info_path", RESULTS, *DETECTED, "--grid_size", "30", "--device", device]
    return "perceptible_amplitude_score.py", words


def tcs(device: str) -> tuple[str, list[str]]:
    sys.path.insert(0, str(Path("Grounded-SAM-2").absolute()))
    grounding()
    sam2: Any = importlib.import_module("sam2.build_sam")
    for name in ("build_sam2_video_predictor", "build_sam2"):
        setattr(sam2, name, once(getattr(sam2, name)))
    words = ["--meta_info_path", RESULTS, *DETECTED, "--grid_size", "50", "--device", device]
    return "temporal_coherence_score.py", words


def ois(device: str) -> tuple[str, list[str]]:
    del torch.optim.Adafactor  # transformers has one too, and mmengine refuses to register the name twice
    detection: Any = importlib.import_module("mmdet.apis")
    pose: Any = importlib.import_module("mmpose.apis")
    detection.init_detector, pose.init_model = once(detection.init_detector), once(pose.init_model)
    words = ["--meta-info-path", RESULTS, "--save-predictions", "--device", device]
    return "object_integrity_score.py", [
        *words, "--det_checkpoint", f".cache/{DETECTOR}", "--pose_checkpoint", f".cache/{POSE}",
    ]  # fmt: skip


def mss(device: str) -> tuple[str, list[str]]:
    builder: Any = importlib.import_module("q_align.model.builder")
    builder.load_pretrained_model = once(builder.load_pretrained_model)
    return "motion_smoothness_score.py", ["--meta_info_path", RESULTS, "--device", device]


def cas(device: str) -> tuple[str, list[str]]:
    """The script never reads its checkpoint (--finetune): as published it scores with random weights. Here the network
    gets the checkpoint as soon as it is made, and a checkpoint that does not fit is an error."""
    sys.path.insert(0, str(Path("VideoMAEv2").absolute()))
    models: Any = importlib.import_module("timm.models")
    models.create_model = once(with_weights(models.create_model))
    sys.modules["deepspeed"] = types.ModuleType("deepspeed")  # imported, but used for training only
    distributed: Any = torch.distributed
    distributed.barrier = lambda: None  # there is one process
    builtins.exit = leave  # type: ignore[assignment]
    data: Any = torch.utils.data
    data.DataLoader = in_this_process(data.DataLoader)
    merging: Any = importlib.import_module("bench_utils.cas_utils")
    merging.Pool = lambda _: multiprocessing.dummy.Pool(1)  # instead of 64 processes for one video
    return "commonsense_adherence_score.py", [
        "--model", "vit_giant_patch14_224", "--data_set", "Commonsense-Adherence", "--nb_classes", "5",
        "--meta_info_path", RESULTS, "--data_path", ".", "--output_dir", ".", "--batch_size", "10",
        "--input_size", "224", "--num_workers", "2", "--drop_path", "0.3", "--eval", "--device", device,
    ]  # fmt: skip


PROGRAMS = {"pas": pas, "ois": ois, "tcs": tcs, "mss": mss, "cas": cas}


def grounding() -> None:
    """GroundingDINO and CoTracker, made once. On a GPU the former wants an operator that it compiles; its own PyTorch
    form of the same takes over."""
    models: Any = importlib.import_module("GroundingDINO.groundingdino.models")
    models.build_model = once(models.build_model)
    loader: Any = torch
    loader.load = functools.cache(torch.load)  # the scripts fill the same network with the same values at every run
    for name in [name for name in sys.modules if name.endswith("groundingdino.models.GroundingDINO.ms_deform_attn")]:
        plain_operators(sys.modules[name])
    tracker: Any = importlib.import_module("cotracker.predictor")
    tracker.CoTrackerPredictor = once(tracker.CoTrackerPredictor)


def plain_operators(module: Any) -> None:
    if not hasattr(module, "_C"):
        module.MultiScaleDeformableAttnFunction = argparse.Namespace(
            apply=lambda value, shapes, _, places, shares, __: module.multi_scale_deformable_attn_pytorch(
                value, shapes, places, shares
            )
        )


def in_this_process(make: Callable[..., Any]) -> Callable[..., Any]:
    """A data loader without helpers, which are forks: this process has threads, and one video needs none."""
    return lambda *words, **options: make(*words, **{**options, "num_workers": 0, "persistent_workers": False})


def with_weights(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*words: Any, **options: Any) -> Any:
        model = make(*words, **options)
        checkpoint = torch.load(".cache/vit_g_vmbench.pt", map_location="cpu")
        model.load_state_dict(next((checkpoint[key] for key in ("model", "module") if key in checkpoint), checkpoint))
        return model

    return made


# ---- helpers ------------------------------------------------------------------------------------------------------


def reseed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def count(path: str) -> int:
    """Frames that OpenCV reads. Some of the scripts go on for ever, or skip the video, when there are none."""
    capture, frames = cv2.VideoCapture(path), 0
    while capture.grab():
        frames += 1
    capture.release()
    if not frames:
        raise ValueError("OpenCV reads no frame of it")
    return frames
