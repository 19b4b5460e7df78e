"""RTMDet and RTMPose of VMBench's own configurations, seeded, in the published format.

Runs in the worker's environment with its layer `pose`:

    PYTHON small_pose.py WEIGHTS REPOSITORY        writes what metrics/vmbench/weights.yaml lists for ois

The networks are random, but their normalisations have seen a picture, the detector's head is biased so that a few boxes
pass, and the joints' scores are stretched so that they are read.
"""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORKER = Path(__file__).parents[3] / "metrics" / "vmbench" / "official_env" / "worker.py"
DETECTOR = "demo/mmdetection_cfg/rtmdet_m_640-8xb32_coco-person.py"
POSE = "configs/body_2d_keypoint/rtmpose/body8/rtmpose-m_8xb256-420e_body8-256x192.py"


def main(weights: Path, repository: Path) -> None:
    """Both checkpoints."""
    sys.path[:0] = [str(repository), str(repository / "mmpose")]
    spec = spec_from_file_location("worker", WORKER)
    worker = module_from_spec(spec)
    spec.loader.exec_module(worker)
    del torch.optim.Adafactor  # as the worker does
    from mmdet.apis import init_detector
    from mmpose.apis import init_model

    torch.manual_seed(0)
    weights.mkdir(parents=True, exist_ok=True)
    os.chdir(repository / "mmpose")  # the pose network's configuration names the joints in a file from here
    detector = init_detector(DETECTOR, device="cpu")
    with torch.no_grad():
        for layer in detector.bbox_head.rtm_reg:  # boxes of one size
            layer.weight.zero_()
            layer.bias.fill_(1.5)
    scores, _ = look(detector, lambda picture: detector.bbox_head(detector.extract_feat(picture)), (640, 640))
    with torch.no_grad():
        for layer, score in zip(detector.bbox_head.rtm_cls, scores, strict=True):
            layer.bias.add_(-20.0 if layer is not detector.bbox_head.rtm_cls[-1] else -1.0 - third(score))
    save(detector, {"classes": ("person",), "palette": [(220, 20, 60)]}, weights / worker.DETECTOR)
    pose = init_model(POSE, device="cpu")
    look(pose, lambda picture: pose.head(pose.extract_feat(picture)), (256, 192))
    with torch.no_grad():
        for layer in (pose.head.cls_x, pose.head.cls_y):
            layer.weight.mul_(20.0)
    save(pose, pose.dataset_meta, weights / worker.POSE)


def look(model: Any, run: Any, size: tuple[int, int]) -> Any:
    """Every normalisation takes the statistics of one picture of random squares; what `run` then makes of it."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for module in norms:
        module.train()
        module.momentum = 1.0
    height, width = size
    noise = np.random.default_rng(0).normal(size=(1, 3, height // 32, width // 32)).astype(np.float32)
    picture = torch.from_numpy(noise.repeat(32, 2).repeat(32, 3))
    with torch.no_grad():
        run(picture)
        for module in norms:
            module.eval()
        return run(picture)


def third(scores: torch.Tensor) -> float:
    """The third highest."""
    return float(scores.flatten().sort(descending=True).values[2])


def save(model: Any, trained_on: dict[str, Any], file: Path) -> None:
    """As OpenMMLab publishes: arrays are in what a pose network was trained on."""
    torch.save({"meta": {"epoch": 1, "dataset_meta": trained_on}, "state_dict": model.state_dict()}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
