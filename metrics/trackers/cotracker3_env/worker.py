"""CoTracker3 by its official predictor: run by `metrics/workers/serve.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cotracker.predictor import CoTrackerPredictor

PACKAGES = ("torch", "numpy")


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Load the file `checkpoint` of the offline model; the predictor resizes frames by itself."""
    torch.set_num_threads(arguments["threads"])
    device = arguments["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.load = functools.partial(torch.load, weights_only=True)
    predictor = CoTrackerPredictor(checkpoint=arguments["checkpoint"], offline=True, v2=False, window_len=60).to(device)
    if tuple(predictor.interp_shape) != tuple(arguments["resolution"]):
        raise ValueError(f"the predictor works at {predictor.interp_shape}, expected {arguments['resolution']}")

    @torch.inference_mode()
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        """Reads `video` [T, H, W, 3] and `queries` [N, 3] (t, x, y), npy files; writes `tracks` and `visible`."""
        video, queries = np.load(request["video"]), torch.from_numpy(np.load(request["queries"])).to(device)
        frames = torch.from_numpy(video).to(device).permute(0, 3, 1, 2)[None].float()
        tracks, visible = [], []
        for group in torch.split(queries, request["together"] or len(queries)):
            paths, seen = predictor(frames, queries=group[None], backward_tracking=True)
            tracks.append(paths[0].transpose(0, 1).cpu().numpy())
            visible.append(seen[0].transpose(0, 1).cpu().numpy())
        np.save(request["tracks"], np.concatenate(tracks))
        np.save(request["visible"], np.concatenate(visible))
        return {}

    return answer
