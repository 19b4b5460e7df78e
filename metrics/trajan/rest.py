"""Initial weights under which points rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.api import derive_seed
from metrics.trajan.model import TrackAutoEncoder

REST, RIDGE = (16, 256), 1e-3  # clips and points at rest of the first fit
USED, WAVES, WAVE = 48, 6, 0.5  # directions that it uses; movements in the others, cosines in time, and their size


@torch.no_grad()
def start_at_rest(net: TrackAutoEncoder, seed: int) -> None:
    """Initial weights with which points stay where they are asked for, so that what is left to learn is motion.

    A pixel is a four-thousandth of what the network's layers usually put out. So the query's token is made large and
    smooth in (x, y), the layers after it small, and the last one is the least-squares fit of points at rest. Heads look
    at few tokens rather than at all, and latents depend on tracks more than on which latent they are.
    """
    for name, value in net.named_parameters():
        if name.startswith("track_readout_attn") and name.endswith(("dense_out.weight", "MLP_out.weight")):
            value.mul_(0.3)
        if name.endswith(("norm_query.weight", "norm_key.weight")):
            value.mul_(1.6)
    net.initializer.mul_(0.3)
    scales = torch.tensor([2 ** (i / 3) for i in range(net.sizes.frequencies)]).repeat(2)
    inner = torch.cat([scales, scales, torch.ones(1)])
    net.query_encoder.weight.div_((inner[:, None] * scales).flatten())
    rng, (clips, points) = np.random.default_rng(derive_seed(seed, "rest")), REST
    queries = torch.from_numpy(rng.random((clips, points, 3)) * (net.sizes.frames, 1, 1)).float()
    gain = 3 / net._query_tokens(queries[..., 1:], queries[..., 0].long()).std(dim=(0, 1)).mean()
    net.query_encoder.weight.mul_(gain)
    net.query_encoder.bias.mul_(gain)
    _fit_rest(net, queries, torch.from_numpy(rng.uniform(-1, 1, (clips, net.sizes.latents, net.sizes.latent_width))))


def _fit_rest(net: TrackAutoEncoder, queries: Tensor, latents: Tensor) -> None:
    """Sets the last layer: places by the ridge regression of queries' places on what reaches it, for all frames;
    and beside it, in directions that points at rest do not use, random movements that are smooth in time."""
    seen: list[Tensor] = []
    hook = net.track_predictor.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net.decode(latents.float(), queries, queries.shape[1])
    hook.remove()
    features = torch.cat(seen).double()
    places = queries[..., 1:].flatten(0, 1).double()
    centre, middle = features.mean(0), places.mean(0)
    spread = (features - centre).T @ (features - centre) / len(features)
    ridge = RIDGE * torch.eye(len(spread), dtype=torch.float64)
    fit = torch.linalg.solve(spread + ridge, (features - centre).T @ (places - middle) / len(features))
    used = torch.linalg.eigh(spread).eigenvectors[:, -USED:]
    free = torch.randn(2, WAVES, len(spread), dtype=torch.float64) * WAVE * len(spread) ** -0.5
    free = free - free @ used @ used.T
    frames = net.sizes.frames
    time = (torch.arange(frames, dtype=torch.float64) + 0.5) / frames
    waves = torch.stack([(torch.pi * k * time).cos() for k in range(WAVES)], 1)  # [T, waves]
    for axis in range(2):
        rows = slice(axis * frames, (axis + 1) * frames)
        weight = fit[:, axis] + waves @ free[axis]
        net.track_predictor.weight[rows] = weight.float()
        net.track_predictor.bias[rows] = (middle[axis] - weight @ centre).float()
