"""Trains the network of `trajan-shapes` on the embedded world: `python -m metrics.trajan.train_shapes`.

Every step takes some clips of the train split, half of them mirrored, follows random points through them, shows the
encoder one half as a tracker might see them (a little off, lost after an occlusion) and asks for the other. All
randomness is a function of (seed, step), and the state file is written every `--save-every` steps, so a killed run goes
on with the same numbers. The learning rate is flat until the last `--decay` steps: before those, a run can be resumed
towards another end. At the end the weights are written and the state file is deleted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

from harness.api import ClipSpec, UserError, derive_seed
from metrics.trajan.checkpoint import arrays_of
from metrics.trajan.model import Decoded, TrackAutoEncoder
from metrics.trajan.sizes import SMALL
from metrics.trajan.table import SHAPES_WEIGHTS
from metrics.trajan.world import Motion, draw_queries, motion, world

REST, RIDGE = (16, 256), 1e-3  # clips and points at rest of the first fit
USED, WAVES, WAVE = 48, 6, 0.5  # directions that it uses; movements in the others, cosines in time, and their size
SIDE = 256.0  # pixels in which errors are counted, whatever the clip's size
EARLY = 1000  # steps in which ever fewer points are asked for from the frame in which they are first seen
THINNED, KEPT = 0.85, 0.35  # share of clips whose support tracks are shown in a share of their frames, which is cheaper
INSIDE = 10.0  # weight of what keeps latents in [-1, 1], outside of which they are clipped and do not learn
NEAR = 6.0  # pixels: a prediction that is nearer is one the network should be certain of
CORNER = 2.0  # pixels: where the loss turns from square to linear
ON_THINGS = 0.5  # share of the points that are put on things; the rest falls anywhere
USUAL = 0.6  # share of clips of 17 frames of 64x64 at 8 fps
LENGTHS, SHAPES, RATES = (9, 13, 16, 21, 25, 32), ((64, 64), (64, 96), (48, 80), (96, 64)), (8.0, 12.0, 16.0)
PEAK_RATE, WARM_UP, WEIGHT_DECAY, CLIP_NORM = 5e-4, 100, 1e-2, 1.0
SHARES = {"track_predictor": 0.2, "query_encoder": 0.1}  # of the learning rate, where a pixel is a small change

Batch = dict[str, Tensor]
Array = NDArray[Any]


def draw_spec(rng: np.random.Generator) -> ClipSpec:
    """The usual clip, or one of another length, shape and rate."""
    if rng.random() < USUAL:
        return ClipSpec()
    height, width = SHAPES[rng.integers(len(SHAPES))]
    return ClipSpec(
        frames=LENGTHS[rng.integers(len(LENGTHS))], height=height, width=width, fps=RATES[rng.integers(len(RATES))]
    )


def blemish(tracks: Array, visible: Array, queries: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Tracks as a tracker gives them: off by up to about a pixel of 256, and in half of the clips not found again
    once lost, some of them lost for no reason."""
    spread = rng.choice([0.0, 0.25, 0.75], p=[0.3, 0.5, 0.2]) / SIDE
    moved = tracks + rng.normal(0, 1, tracks.shape) * spread
    if rng.random() < 0.5:
        return moved, visible
    kept = visible & (rng.random(visible.shape) >= 0.02)
    frames, start = np.arange(visible.shape[1]), queries[:, :1]
    later = np.where(frames >= start, kept, True).cumprod(1)
    earlier = np.where(frames <= start, kept, True)[:, ::-1].cumprod(1)[:, ::-1]
    return moved, kept & (later * earlier).astype(bool)


@cache
def clip_motion(seed: int, index: int) -> Motion:
    """The motion of clip `index` of the train split, which has its own length, shape and rate."""
    spec = draw_spec(np.random.default_rng(derive_seed(seed, "spec", index)))
    return motion(world("train", seed, index + 1, spec), index)


def make_clip(seed: int, index: int, points: int, early: float, rng: np.random.Generator) -> dict[str, Array]:
    """One clip's share of a batch: `points` support tracks and as many targets, padded to the network's frames."""
    move = clip_motion(seed, index)
    queries = draw_queries(move, 2 * points, ON_THINGS, rng)
    tracks, visible, _ = move.follow(queries)
    height, width = move.size
    tracks = tracks / (width, height)
    if rng.random() < 0.5:
        tracks[..., 0] = 1 - tracks[..., 0]
    frames = tracks.shape[1]
    shown, seen = blemish(tracks[:points], visible[:points], queries[:points], rng)
    if rng.random() < THINNED:
        seen &= rng.random(seen.shape) < KEPT
    from_start = rng.random(points) < early
    asked = np.array(
        [
            row.argmax() if e else rng.choice(np.flatnonzero(row))
            for e, row in zip(from_start, visible[points:], strict=True)
        ]
    )
    at = tracks[points + np.arange(points), asked]
    pad = ((0, 0), (0, SMALL.frames - frames))
    return {
        "support": np.pad(np.where(seen[..., None], shown, 0), (*pad, (0, 0))),
        "seen": np.pad(seen, pad),
        "boundary": np.array(frames),
        "queries": np.concatenate([asked[:, None], at], 1),
        "targets": np.pad(tracks[points:], (*pad, (0, 0))),
        "visible": np.pad(visible[points:], pad),
        "real": np.pad(np.ones((points, frames), bool), pad),
        "shape": np.array([width / max(width, height), height / max(width, height)]),
    }


def make_batch(options: argparse.Namespace, step: int) -> Batch:
    made = []
    for place in range(options.batch):
        rng = np.random.default_rng(derive_seed(options.seed, "trajan-shapes", step, place))
        index = (step * options.batch + place) % options.clips
        made.append(make_clip(options.seed, index, options.points, 1 - step / EARLY, rng))
    arrays = {name: np.stack([clip[name] for clip in made]) for name in made[0]}
    return {name: torch.from_numpy(a.astype(np.float32) if a.dtype.kind == "f" else a) for name, a in arrays.items()}


def loss(out: Decoded, batch: Batch) -> Tensor:
    """Huber distance where a point is visible, and cross entropies: is it visible; is the prediction near."""
    scale = SIDE * batch["shape"][:, None, None]
    off = (out.tracks - batch["targets"]) * scale
    seen = batch["visible"]
    far = huber_loss(off, torch.zeros_like(off), reduction="none", delta=CORNER).sum(-1) / CORNER
    near = (off.detach().square().sum(-1) < NEAR**2).float()
    flags = binary_cross_entropy_with_logits(out.visible_logits, seen.float(), reduction="none")
    sure = binary_cross_entropy_with_logits(out.certain_logits, near, reduction="none")
    return (
        (far * seen).sum() / seen.sum()
        + (flags * batch["real"]).sum() / batch["real"].sum()
        + (sure * seen).sum() / seen.sum()
    )


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


def train(options: argparse.Namespace) -> TrackAutoEncoder:
    """Train, or go on from the state file, to `options.steps`."""
    torch.manual_seed(derive_seed(options.seed, "trajan-shapes"))
    net = TrackAutoEncoder(SMALL)
    start_at_rest(net, options.seed)
    groups: list[dict[str, Any]] = [
        {"params": [value], "share": next((share for part, share in SHARES.items() if name.startswith(part)), 1.0)}
        for name, value in net.named_parameters()
    ]
    optimiser = torch.optim.AdamW(groups, PEAK_RATE, weight_decay=WEIGHT_DECAY)
    parts = {"net": net, "optimiser": optimiser}
    first, mean, start = resume(options, parts), 0.0, time.monotonic()
    for step in range(first, options.steps):
        batch = make_batch(options, step)
        latents = net.encode(batch["support"], batch["seen"], batch["boundary"])
        out = net.decode(latents, batch["queries"], options.points)
        value = loss(out, batch) + INSIDE * (latents.abs() - 1).relu().square().mean()
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        for group in optimiser.param_groups:
            group["lr"] = rate(step, options) * group["share"]
        optimiser.step()
        mean = value.item() if step == first else 0.98 * mean + 0.02 * value.item()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            checkpoint(options, step + 1, parts)
            print(f"step {step + 1}/{options.steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    return net.eval()


def rate(step: int, options: argparse.Namespace) -> float:
    """Rising, flat, then falling to nothing."""
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP, (options.steps - step) / options.decay)


def checkpoint(options: argparse.Namespace, step: int, parts: Mapping[str, Any]) -> None:
    """Replace the state file in one go: a kill leaves the old one or the new one."""
    states = {name: part.state_dict() for name, part in parts.items()}
    fresh = options.state.with_name(options.state.name + ".part")
    torch.save(
        {"step": step, "end": (options.steps, options.decay), "protocol": protocol(options), "states": states}, fresh
    )
    fresh.replace(options.state)


def resume(options: argparse.Namespace, parts: Mapping[str, Any]) -> int:
    """Load the state file into `parts` and return its step, 0 without one. UserError when it is of another run."""
    if not options.state.is_file():
        return 0
    saved = torch.load(options.state, weights_only=True)
    if saved["protocol"] != protocol(options):
        raise UserError(f"{options.state} is of another run: {saved['protocol']}", "delete it or give another --state")
    for name, part in parts.items():
        part.load_state_dict(saved["states"][name])
    step, (steps, decay) = int(saved["step"]), saved["end"]
    if step > min(steps - decay, options.steps - options.decay) and (steps, decay) != (options.steps, options.decay):
        raise UserError(f"{options.state} is in its last {decay} steps, to {steps}", "go on to that end")
    return step


def protocol(options: argparse.Namespace) -> dict[str, int]:
    """The options that decide the numbers, besides where it ends."""
    return {name: getattr(options, name) for name in ("batch", "points", "clips", "seed", "threads")}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument(
        "--decay", type=int, default=2000, help="last steps, in which the learning rate falls to nothing"
    )
    parser.add_argument("--points", type=int, default=32, help="support tracks of a clip, and as many targets")
    parser.add_argument("--clips", type=int, default=800, help="clips of the train split that are used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; part of what makes runs identical")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--out", type=Path, default=SHAPES_WEIGHTS)
    parser.add_argument("--state", type=Path, default=Path("trajan-shapes.state.pt"), help="what a killed run resumes")
    return parser


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    net = train(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save(arrays_of(net)))
    options.state.unlink()


if __name__ == "__main__":
    main()
