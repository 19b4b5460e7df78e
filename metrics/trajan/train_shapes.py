"""Trains the network of `trajan-shapes` on the embedded world: `python -m metrics.trajan.train_shapes`.

Every step takes some clips of the train split in which things go somewhere, half of them mirrored, follows random
points through them, shows the encoder some as a tracker might see them (a little off, lost after an occlusion) and asks
for others. All randomness is a function of (seed, step), and the state file is written every `--save-every` steps, so a
killed run goes on with the same numbers. The learning rate is flat until the last `--decay` steps: before those, a run
can be resumed towards another end. At the end the weights are written and the state file is deleted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
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
from harness.networks.state_file import load_state, save_state
from metrics.trajan.checkpoint import arrays_of
from metrics.trajan.model import Decoded, TrackAutoEncoder
from metrics.trajan.rest import start_at_rest
from metrics.trajan.sizes import SMALL
from metrics.trajan.table import SHAPES_WEIGHTS
from metrics.trajan.world import Motion, draw_queries, motion, world

SIDE = 256.0  # pixels in which errors are counted, whatever the clip's size
EARLY = 1000  # steps in which ever fewer points are asked for from the frame in which they are first seen
THINNED, KEPT = 0.85, 0.35  # share of clips whose support tracks are shown in a share of their frames, which is cheaper
INSIDE = 10.0  # weight of what keeps latents in [-1, 1], outside of which they are clipped and do not learn
NEAR = 6.0  # pixels: a prediction that is nearer is one the network should be certain of
CORNER = 2.0  # pixels: where the loss turns from square to linear
ON_THINGS = 0.7  # share of the points that are put on things; the rest falls anywhere
BOUNCES = 0.5  # share of clips in which something bounces, the one motion that knows up from down; in the rest
GOING = ("drift", "orbit", "zigzag", "occlude")  # something does one of these
USUAL = 0.8  # share of clips of 17 frames of 64x64 at 8 fps
SEARCHED = 8  # clips that are looked through for one that is used
LENGTHS, SHAPES, RATES = (9, 13, 16, 21, 25, 32), ((64, 64), (64, 96), (48, 80), (96, 64)), (8.0, 12.0, 16.0)
MUON_RATE, PEAK_RATE, WARM_UP, WEIGHT_DECAY, CLIP_NORM = 2e-3, 1e-3, 100, 1e-2, 1.0
SHARES = {"track_predictor": 0.2, "query_encoder": 0.1}  # of the learning rate, where a pixel is a small change
TRANSFORMERS = ("input_track_transformer", "tracks_to_latents", "decompress_attn", "track_readout_attn")

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
    found = motion(world("train", seed, index + 1, spec), index)
    return replace(found, shown=found.shown.astype(np.int8))  # thousands are kept


@cache
def chosen_clips(seed: int, clips: int) -> NDArray[np.int64]:
    """Which clips of the train split are used, `[clips]`: the first that fit, in random order."""
    wanted = {True: round(BOUNCES * clips), False: clips - round(BOUNCES * clips)}
    found = list[int]()
    for index, row in enumerate(world("train", seed, SEARCHED * clips).rows()):
        motions = {thing["motion"] for thing in row.meta["objects"]}
        bounces = "bounce" in motions
        if wanted[bounces] and (bounces or motions & set(GOING)):
            wanted[bounces] -= 1
            found.append(index)
    if any(wanted.values()):
        raise UserError(f"{SEARCHED * clips} clips of the world hold too few that fit", "raise --clips")
    return np.random.default_rng(derive_seed(seed, "chosen")).permutation(found)


def make_clip(move: Motion, points: int, targets: int, early: float, rng: np.random.Generator) -> dict[str, Array]:
    """One clip's share of a batch: `points` support tracks and `targets` others, padded to the network's frames."""
    queries = draw_queries(move, points + targets, ON_THINGS, rng)
    tracks, visible, _ = move.follow(queries)
    height, width = move.size
    tracks = tracks / (width, height)
    if rng.random() < 0.5:
        tracks[..., 0] = 1 - tracks[..., 0]
    frames = tracks.shape[1]
    shown, seen = blemish(tracks[:points], visible[:points], queries[:points], rng)
    if rng.random() < THINNED:
        seen &= rng.random(seen.shape) < KEPT
    from_start = rng.random(targets) < early
    asked = np.array(
        [
            row.argmax() if e else rng.choice(np.flatnonzero(row))
            for e, row in zip(from_start, visible[points:], strict=True)
        ]
    )
    at = tracks[points + np.arange(targets), asked]
    pad = ((0, 0), (0, SMALL.frames - frames))
    return {
        "support": np.pad(np.where(seen[..., None], shown, 0), (*pad, (0, 0))),
        "seen": np.pad(seen, pad),
        "boundary": np.array(frames),
        "queries": np.concatenate([asked[:, None], at], 1),
        "targets": np.pad(tracks[points:], (*pad, (0, 0))),
        "visible": np.pad(visible[points:], pad),
        "real": np.pad(np.ones((targets, frames), bool), pad),
        "shape": np.array([width / max(width, height), height / max(width, height)]),
    }


def make_batch(options: argparse.Namespace, step: int) -> Batch:
    made, used = [], chosen_clips(options.seed, options.clips)
    for place in range(options.batch):
        rng = np.random.default_rng(derive_seed(options.seed, "trajan-shapes", step, place))
        move = clip_motion(options.seed, int(used[(step * options.batch + place) % options.clips]))
        made.append(make_clip(move, options.points, options.targets, 1 - step / EARLY, rng))
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


def train(options: argparse.Namespace) -> TrackAutoEncoder:
    """Train, or go on from the state file, to `options.steps`."""
    torch.manual_seed(derive_seed(options.seed, "trajan-shapes"))
    net = TrackAutoEncoder(SMALL)
    start_at_rest(net, options.seed)
    muon, adam = optimisers(net)
    parts = {"net": net, "muon": muon, "adam": adam}
    first, mean, start = resume(options, parts), 0.0, time.monotonic()
    for step in range(first, options.steps):
        batch = make_batch(options, step)
        latents = net.encode(batch["support"], batch["seen"], batch["boundary"])
        out = net.decode(latents, batch["queries"], options.targets)
        value = loss(out, batch) + INSIDE * (latents.abs() - 1).relu().square().mean()
        net.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        for optimiser in (muon, adam):
            for group in optimiser.param_groups:
                group["lr"] = rate(step, options) * group["peak"]
            optimiser.step()
        mean = value.item() if step == first else 0.98 * mean + 0.02 * value.item()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(options.state, step + 1, protocol(options), parts, end=(options.steps, options.decay))
            print(f"step {step + 1}/{options.steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    return net.eval()


def optimisers(net: TrackAutoEncoder) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the transformers, AdamW for everything else."""
    muon, adam = list[dict[str, Any]](), list[dict[str, Any]]()
    for name, value in net.named_parameters():
        if value.ndim == 2 and name.startswith(TRANSFORMERS):
            muon.append({"params": [value], "peak": MUON_RATE})
        else:
            share = next((share for part, share in SHARES.items() if name.startswith(part)), 1.0)
            adam.append({"params": [value], "peak": PEAK_RATE * share})
    return (
        torch.optim.Muon(muon, MUON_RATE, WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(adam, PEAK_RATE, weight_decay=WEIGHT_DECAY),
    )


def rate(step: int, options: argparse.Namespace) -> float:
    """Share of the peak learning rate: rising, flat, then falling to nothing."""
    return min(1.0, (step + 1) / WARM_UP, (options.steps - step) / options.decay)


def resume(options: argparse.Namespace, parts: Mapping[str, Any]) -> int:
    """Load the state file into `parts`; its step. UserError when it is of another run, or near another end."""
    saved = load_state(options.state, protocol(options), parts)
    step, (steps, decay) = int(saved["step"]), saved.get("end", (options.steps, options.decay))
    if step > min(steps - decay, options.steps - options.decay) and (steps, decay) != (options.steps, options.decay):
        raise UserError(f"{options.state} is in its last {decay} steps, to {steps}", "go on to that end")
    return step


def protocol(options: argparse.Namespace) -> dict[str, int]:
    """The options that decide the numbers, besides where it ends."""
    return {name: getattr(options, name) for name in ("batch", "points", "targets", "clips", "seed", "threads")}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=24, help="clips a step")
    parser.add_argument(
        "--decay", type=int, default=4000, help="last steps, in which the learning rate falls to nothing"
    )
    parser.add_argument("--points", type=int, default=32, help="support tracks of a clip")
    parser.add_argument("--targets", type=int, default=48, help="tracks that are asked for")
    parser.add_argument("--clips", type=int, default=2400, help="clips of the train split that are used")
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
