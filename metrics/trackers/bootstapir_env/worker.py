"""BootsTAPIR v2 by its official PyTorch code: run by `metrics/workers/serve.py`.

Everything around the network is that of TRAJAN's demonstration (tapnet, colabs/trajan_demo.ipynb): frames resized as
mediapy does it, softmax_temperature 10 where the PyTorch class has 20, the visibility rule, and positions scaled by the
ratio of the sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from tapnet.torch import tapir_model

PACKAGES = ("torch", "numpy", "pillow", "dm-tree", "einshape")


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Load the file `checkpoint`; frames are resized to `resolution` (height, width)."""
    torch.set_num_threads(arguments["threads"])
    device = arguments["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    net = tapir_model.TAPIR(pyramid_level=1, extra_convs=True, softmax_temperature=10.0)
    net.load_state_dict(torch.load(arguments["checkpoint"], map_location="cpu", weights_only=True))
    net = net.to(device).eval()
    height, width = arguments["resolution"]

    @torch.inference_mode()
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        """Reads `video` [T, H, W, 3] and `queries` [N, 3] (t, x, y), npy files; writes `tracks` and `visible`."""
        torch.manual_seed(0)  # the official code shuffles the queries before it cuts them into chunks
        video, queries = np.load(request["video"]), np.load(request["queries"])
        scale = np.array([width / video.shape[2], height / video.shape[1]], np.float32)
        small = [
            np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)) for frame in video
        ]
        frames = torch.from_numpy(np.stack(small)).to(device)[None].float() / 255 * 2 - 1
        points = np.column_stack([queries[:, 0], queries[:, 2] * scale[1], queries[:, 1] * scale[0]])
        out = net(
            frames, torch.from_numpy(points.astype(np.float32)).to(device)[None], query_chunk_size=request["batch_size"]
        )
        seen = (1 - torch.sigmoid(out["occlusion"])) * (1 - torch.sigmoid(out["expected_dist"])) > 0.5
        np.save(request["tracks"], out["tracks"][0].cpu().numpy() / scale)
        np.save(request["visible"], seen[0].cpu().numpy())
        return {}

    return answer
