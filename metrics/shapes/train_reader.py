"""Trains the reader on rendered clips: `python -m metrics.shapes.train_reader`.

Every step renders a fresh batch of the train split, damages most of its clips (`augment`) and fits presence, shape,
motion, direction and camera. All randomness is a function of (seed, step), and the state file is written every
`--save-every` steps, so a killed run continues where it stopped with the same numbers. At the end the weights are
written, the state file is deleted, and the accuracy on clean and on damaged held-out clips is printed for the card.

This script alone looks a dataset up by name; the metrics see nothing but frames and `meta`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from harness.api import ClipSpec, Dataset, derive_seed
from harness.networks.state_file import load_state, save_state
from harness.registry import datasets
from metrics.shapes.agreement import Agreement, agree, total
from metrics.shapes.augment import augment
from metrics.shapes.colours import CAMERAS, COLOURS, DIRECTIONS, MOTIONS, SHAPES, Array, to_raster
from metrics.shapes.frontend import views
from metrics.shapes.network import ReaderNet
from metrics.shapes.reader import WEIGHTS, read

EMPTY_SLOTS = 1  # shown of each clip beside its own colours
FROZEN_SHARE = 0.08  # of the clips, shown as one frame: what a generator that learnt no motion makes
MISLEADING = ("occlude", "flicker", "morph")  # a single frame may show no object, or another shape
PEAK_RATE, DECAY, CLIP_NORM = 2e-3, 1e-2, 1.0
NO_LABEL = -100  # what cross_entropy ignores

Batch = dict[str, Tensor]


def shapes_dataset(split: str, seed: int, size: int) -> Dataset:
    """Clean clips of the embedded world."""
    cls: Any = datasets.get("shapes")
    return cls(cls.Config(size=size, seed=seed, split=split), ClipSpec())


def labels(meta: Mapping[str, Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """`[slots, 5]`: colour, present, shape, motion, direction of the captioned objects and of some empty colours."""
    rows = []
    for thing in meta["objects"]:
        direction = DIRECTIONS.index(thing["direction"]) if thing["direction"] else NO_LABEL
        shape, motion = SHAPES.index(thing["shape"]), MOTIONS.index(thing["motion"])
        rows.append((COLOURS.index(thing["colour"]), 1, shape, motion, direction))
    empty = sorted(set(range(len(COLOURS))) - {row[0] for row in rows})
    rows += [(k, 0, NO_LABEL, NO_LABEL, NO_LABEL) for k in rng.permutation(empty)[:EMPTY_SLOTS]]
    return np.array(rows, np.int64)


def freeze(video: Array, meta: Mapping[str, Any], rng: np.random.Generator) -> tuple[Array, Mapping[str, Any]]:
    """One frame for the whole clip, and the captions that fit it; clips whose single frames mislead are left alone."""
    if any(thing["motion"] in MISLEADING for thing in meta["objects"]):
        return video, meta
    still = [{**thing, "motion": "still", "direction": None} for thing in meta["objects"]]
    return np.repeat(video[[rng.integers(len(video))]], len(video), 0), {"objects": still, "camera": "still"}


def make_batch(data: Dataset, seed: int, step: int, size: int) -> Batch:
    """Views and labels of the slots of `size` clips, concatenated; `clip` says which clip a slot is of."""
    rows = data.rows()
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("crops", "moments", "label", "clip")}
    films, moves = [], []
    for place in range(size):
        rng = np.random.default_rng(derive_seed(seed, "reader", step, place))
        index = (step * size + place) % len(rows)
        video, meta = to_raster(data.video(index)), rows[index].meta
        if rng.random() < FROZEN_SHARE:
            video, meta = freeze(video, meta, rng)
        seen = views(augment(video, rng))
        label = labels(meta, rng)
        parts["crops"].append(seen.crops[label[:, 0]])
        parts["moments"].append(seen.moments[label[:, 0]])
        parts["label"].append(label)
        parts["clip"].append(np.full(len(label), place))
        films.append(seen.camera)
        moves.append(CAMERAS.index(meta["camera"]))
    batch = {name: torch.from_numpy(np.concatenate(part)) for name, part in parts.items()}
    return {**batch, "film": torch.from_numpy(np.stack(films)), "camera": torch.tensor(moves)}


def loss(net: ReaderNet, batch: Batch) -> Tensor:
    """Sum of the five cross entropies; shape and motion count where an object is, direction where it drifts."""
    logits = net.slots(batch["crops"], batch["moments"], batch["film"][batch["clip"]])
    _, present, shape, motion, direction = batch["label"].T
    drifts = (direction != NO_LABEL).sum().clamp(min=1)
    return (
        binary_cross_entropy_with_logits(logits.present, present.float())
        + cross_entropy(logits.shape, shape)
        + cross_entropy(logits.motion, motion)
        + cross_entropy(logits.direction, direction, reduction="sum") / drifts
        + cross_entropy(net.camera(batch["film"]), batch["camera"])
    )


def train(options: argparse.Namespace) -> ReaderNet:
    """Train, or go on from the state file, to `options.steps`."""
    torch.manual_seed(derive_seed(options.seed, "reader"))
    net = ReaderNet()
    optimiser = torch.optim.AdamW(net.parameters(), PEAK_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, options.steps, pct_start=0.1)
    parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
    first = int(load_state(options.state, protocol(options), parts)["step"])
    data = shapes_dataset("train", options.seed, options.clips)
    mean, start = 0.0, time.monotonic()
    for step in range(first, options.steps):
        value = loss(net, make_batch(data, options.seed, step, options.batch))
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        optimiser.step()
        schedule.step()
        mean = value.item() if step == first else 0.98 * mean + 0.02 * value.item()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(options.state, step + 1, protocol(options), parts)
            print(f"step {step + 1}/{options.steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    return net.eval()


def protocol(options: argparse.Namespace) -> dict[str, int]:
    """The options that decide the numbers."""
    return {name: getattr(options, name) for name in ("steps", "batch", "clips", "seed", "threads")}


def measure(weights: Path, seed: int, count: int) -> Iterator[tuple[str, Agreement]]:
    """Agreement with the truth over `count` held-out clips, as rendered and damaged as in training."""
    data = shapes_dataset("heldout", seed, count)
    for kind in ("clean", "damaged"):
        found = []
        for index, row in enumerate(data.rows()):
            frames = data.video(index)
            if kind == "damaged":
                rng = np.random.default_rng(derive_seed(seed, "damage", index))
                frames = np.rint(255 * augment(to_raster(frames), rng)).astype(np.uint8)
            found.append(agree(row.meta, read(frames, weights)))
        yield kind, total(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--clips", type=int, default=20000, help="clips of the train split that are used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; part of what makes runs identical")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--state", type=Path, default=Path("reader.state.pt"), help="what a killed run resumes from")
    parser.add_argument("--held-out", type=int, default=1000, help="held-out clips of the final measurement")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = train(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save(net.state_dict()))
    options.state.unlink()
    for kind, a in measure(options.out, options.seed, options.held_out):
        print(f"{kind}: n={options.held_out} clips, {a.captioned} objects, {a.drifting} drifts, {a.spurious} spurious")
        for name in ("objects", "motion", "direction", "camera"):
            value = getattr(a, name)
            print(f"  {name} {value:.4f}" if value is not None else f"  {name} -")


if __name__ == "__main__":
    main()
