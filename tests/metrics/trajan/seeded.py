"""Seeded parameters and inputs for TRAJAN, by numpy alone: `record.py` gives them to the official code, the tests to
ours, so that only the official outputs are stored.

Bits come from `random_raw`, whose stream numpy keeps the same in all versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# fields of the official TrackAutoEncoder; its transformers and the decoder's width cannot be made smaller
SMALL = {
    "num_output_frames": 24,
    "num_latent_tokens": 16,
    "latent_token_dim": 16,
    "num_frequencies": 8,
    "track_token_dim": 64,
    "encoder_latent_dim": 128,
}
DEFAULT: dict[str, int] = {}
STACKS = (  # name, width field or number, layers, hidden
    ("input_track_transformer", "track_token_dim", 2, 1024),
    ("tracks_to_latents", "encoder_latent_dim", 6, 2048),
    ("decompress_attn", 1024 - 128, 3, 2048),
    ("track_readout_attn", 1024, 4, 1024),
)


def uniform(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """In [0, 1), a function of the key."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16])
    raw = np.random.Philox(seed).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).reshape(shape)


def shapes(config: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the official checkpoint of a configuration, written down from the official source."""
    c = {
        "num_output_frames": 150, "num_latent_tokens": 128, "latent_token_dim": 64, "num_frequencies": 32,
        "track_token_dim": 256, "encoder_latent_dim": 512, **config,
    }  # fmt: skip
    n = c["num_frequencies"]
    found: dict[str, tuple[int, ...]] = {
        "initializer/state_init": (c["num_latent_tokens"], c["encoder_latent_dim"]),
        **dense("track_token_projection", 6 * n, c["track_token_dim"]),
        **dense("compressor", c["encoder_latent_dim"], c["latent_token_dim"]),
        **dense("decompressor", c["latent_token_dim"], 1024 - 128),
        **dense("query_encoder", (4 * n + 1) * 2 * n, 1024),
        **dense("track_predictor", 1024, 4 * c["num_output_frames"]),
    }
    for name, size, layers, hidden in STACKS:
        width = c[size] if isinstance(size, str) else size
        for i in range(layers):
            found |= attention(f"{name}/layer_{i}/self_att", width, width)
            if name == "tracks_to_latents":
                found |= attention(f"{name}/layer_{i}/cross_att", width, c["track_token_dim"])
            found |= {f"{name}/layer_{i}/{norm}/scale": (width,) for norm in ("norm_q", "norm_attn")}
            found |= dense(f"{name}/layer_{i}/MLP_in", width, hidden) | dense(
                f"{name}/layer_{i}/MLP_out", hidden, width
            )
        found[f"{name}/norm_encoder/scale"] = (width,)
    return found


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def attention(name: str, width: int, source: int) -> dict[str, tuple[int, ...]]:
    found = {f"{name}/dense_{kind}/kernel": (width, 8, 64) for kind in ("query",)}
    found |= {f"{name}/dense_{kind}/kernel": (source, 8, 64) for kind in ("key", "value")}
    found |= {f"{name}/norm_{kind}/scale": (64,) for kind in ("query", "key")}
    return found | {f"{name}/dense_out/kernel": (8, 64, width), f"{name}/dense_out/bias": (width,)}


def parameters(config: Mapping[str, int], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Arrays by official name: kernels of deviation 1 / sqrt(inputs), scales near 1, biases near 0."""
    arrays = {}
    for name, shape in shapes(config).items():
        signed = (2 * uniform(f"{seed} {name}", shape) - 1) * np.float32(3**0.5)  # deviation 1
        if name.endswith("scale"):
            signed = 1 + np.float32(0.2) * signed
        elif name.endswith("bias"):
            signed = np.float32(0.1) * signed
        elif name.endswith("kernel"):
            inputs = shape[0] * shape[1] if name.endswith("dense_out/kernel") else shape[0]
            signed = signed * np.float32(inputs**-0.5)
        arrays[name] = signed.astype(np.float32)
    return arrays


def inputs(frames: int, boundaries: tuple[int, ...], support: int, queries: int, seed: int = 0) -> dict[str, Any]:
    """Random walks with gaps, in the official layout; track 0 is never visible, track 1 only in padding if any."""
    batch = len(boundaries)
    steps = uniform(f"{seed} steps", (batch, support, frames, 2)) - np.float32(0.5)
    start = uniform(f"{seed} start", (batch, support, 1, 2))
    tracks = (start + np.cumsum(steps, axis=2, dtype=np.float32) * np.float32(0.05)).astype(np.float32)
    visible = (uniform(f"{seed} visible", (batch, support, frames, 1)) > 0.3).astype(np.float32)
    for clip, boundary in enumerate(boundaries):
        visible[clip, :, boundary:] = 0
        visible[clip, 1, :boundary] = 0
        visible[clip, 1, boundary:] = 1
    visible[:, 0] = 0
    points = uniform(f"{seed} points", (batch, queries, 3))
    points[..., 0] = np.minimum(np.floor(points[..., 0] * frames * 2) / 2, frames - 1)  # halves too
    points[0, 0, 0] = 2.5  # rounds to 2
    points[0, 1, 0] = frames - 1  # the window of channels that is furthest out
    return {
        "support_tracks": tracks * visible,
        "support_tracks_visible": visible,
        "query_points": points,
        "boundary_frame": np.array(boundaries, np.int32),
    }


def targets(tracks: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """True tracks for predicted ones `[B, Q, T, 2]`, off by up to a fortieth of the frame, and flags `[B, Q, T, 1]`."""
    off = (uniform(f"{seed} off", tracks.shape) - np.float32(0.5)) * np.float32(0.05)
    seen = (uniform(f"{seed} seen", (*tracks.shape[:-1], 1)) > 0.4).astype(np.float32)
    return tracks + off * uniform(f"{seed} how far", (*tracks.shape[:2], 1, 1)), seen
