"""Records what the official package computes, for the parity tests: `python tests/metrics/cdfvd/official_run.py`.

In an environment of its own: Python 3.11, `cd-fvd==0.1.1`, `scipy==1.17.1`. Writes `official_outputs.json` here.
Everything goes through the package's own functions; weights, features and clips come from `seeded.py`.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from cdfvd.fvd import cdfvd
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from cdfvd.third_party.i3d.utils import preprocess_i3d
from cdfvd.third_party.VideoMAEv2.utils import preprocess_videomae
from cdfvd.third_party.VideoMAEv2.videomaev2_finetune import VisionTransformer
from cdfvd.utils.data_utils import preprocess
from cdfvd.utils.metric_utils import FeatureStats

sys.path.insert(0, str(Path(__file__).parent))
import seeded


def stats(features: np.ndarray) -> FeatureStats:
    out = FeatureStats(capture_mean_cov=True)
    for start in range(0, len(features), 16):
        out.append(features[start : start + 16])
    return out


def frechet(case: str) -> dict[str, Any]:
    ours, reference = map(stats, seeded.features(case))
    mean, covariance = ours.get_mean_cov()
    return {
        "distance": float(cdfvd.compute_fvd_from_stats(None, ours, reference)),
        "mean": mean[:3].tolist(),
        "covariance": covariance[:2, :2].tolist(),
    }


def fitted(height: int, width: int) -> str:
    video = preprocess(torch.from_numpy(seeded.clip(2, height, width, 5)), seeded.RESOLUTION)["video"]
    return (video * 255).byte().permute(1, 0, 2, 3).contiguous().numpy().tobytes().hex()  # [T, C, h, w]


def fill(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    values = seeded.weights({name: tuple(value.shape) for name, value in net.state_dict().items()}, seed)
    missing = net.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()}, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys), missing
    return net.eval()


@torch.no_grad()
def networks() -> dict[str, list[float]]:
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    ratio = seeded.HIDDEN / seeded.TINY["embed_dim"]
    vit = fill(VisionTransformer(**seeded.TINY, mlp_ratio=ratio, qkv_bias=True, norm_layer=norm, all_frames=16), 1)
    i3d = fill(InceptionI3d(400, in_channels=3), 2)
    out = {}
    for frames in (16, 32):
        x = preprocess_videomae(seeded.clip(frames, 40, 56, 6)[None])
        out[f"videomae {frames}"] = vit.forward_features(x)[0].tolist()
    for frames in (10, 16):
        out[f"i3d {frames}"] = i3d(preprocess_i3d(seeded.clip(frames, 40, 56, 6)[None]))[0].tolist()
    return out


def main() -> None:
    torch.set_num_threads(1)
    out = {
        "made by": f"cd-fvd 0.1.1, scipy {scipy.__version__}, torch {torch.__version__}, numpy {np.__version__}",
        "frechet": {case: frechet(case) for case in seeded.FRECHET},
        "fitted": {name: fitted(*size) for name, size in seeded.SIZES.items()},
        "features": networks(),
    }
    Path(__file__).with_name("official_outputs.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
