"""Trains the small video encoder on rendered clips, without labels: `python -m metrics.cdfvd.train_shapes`.

Every step renders a fresh batch of clean clips of the train split and rebuilds hidden parts of them (`pretraining`).
All randomness is a function of (seed, step), and the state file is written every `--save-every` steps, so a killed run
continues where it stopped with the same numbers. At the end the encoder is written in float16 and the state deleted;
`python -m metrics.cdfvd.card` then makes the reference and the numbers of its card.

This script and the card's alone look a dataset up by name; the metric sees nothing but clips.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from harness.api import ClipSpec, Dataset, derive_seed
from harness.networks.state_file import load_state, save_state
from harness.registry import datasets
from metrics.cdfvd.networks.small import SMALL, WEIGHTS, SmallEncoder, pixels
from metrics.cdfvd.networks.videomae import VideoMAE
from metrics.cdfvd.pretraining import Pretraining, draw_mask

PEAK_RATE, DECAY, BETAS, CLIP_NORM = 1e-3, 5e-2, (0.9, 0.95), 1.0
CALIBRATED = 384  # clips by which features are brought to mean 0 and deviation 1


def shapes_dataset(split: str, seed: int, size: int) -> Dataset:
    """Clean clips of the embedded world."""
    cls: Any = datasets.get("shapes")
    return cls(cls.Config(size=size, seed=seed, split=split), ClipSpec())


def make_batch(data: Dataset, step: int, size: int) -> Tensor:
    """The first 16 frames of the step's own clips, `[B, 3, 16, 64, 64]`, as the encoder is given them."""
    count = len(data.rows())
    clips = [data.video((step * size + place) % count)[: SMALL.frames] for place in range(size)]
    return pixels(torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3))


def train(options: argparse.Namespace) -> VideoMAE:
    """Train, or go on from the state file, to `options.steps`."""
    torch.manual_seed(derive_seed(options.seed, "cdfvd-encoder"))
    net = Pretraining(VideoMAE(SMALL))
    optimiser = torch.optim.AdamW(net.parameters(), PEAK_RATE, BETAS, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_RATE, options.steps, pct_start=0.08, cycle_momentum=False
    )
    parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
    first = int(load_state(options.state, protocol(options), parts)["step"])
    data = shapes_dataset("train", options.seed, options.clips)
    mean, start = 0.0, time.monotonic()
    for step in range(first, options.steps):
        generator = torch.Generator().manual_seed(derive_seed(options.seed, "cdfvd-mask", step))
        video, mask = make_batch(data, step, options.batch), draw_mask(SMALL, options.batch, step, generator)
        with torch.autocast("cpu", torch.bfloat16):  # half the time on a processor that has it; weights stay float32
            value = net.loss(video, mask)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        optimiser.step()
        schedule.step()
        mean = value.item() if step == first else 0.98 * mean + 0.02 * value.item()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(options.state, step + 1, protocol(options), parts)
            print(f"step {step + 1}/{options.steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    return net.encoder


def finish(encoder: VideoMAE, options: argparse.Namespace) -> None:
    """Round to float16, calibrate with the first clips of the training, write, and delete the state file."""
    net = SmallEncoder(encoder.eval().requires_grad_(False).half().float())
    data = shapes_dataset("train", options.seed, options.clips)
    net.calibrate(make_batch(data, 0, min(CALIBRATED, options.clips)))
    halves = {f"encoder.{name}": value.half() for name, value in encoder.state_dict().items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save({**net.state_dict(), **halves}))
    options.state.unlink()


def protocol(options: argparse.Namespace) -> dict[str, int]:
    """The options that decide the numbers."""
    return {name: getattr(options, name) for name in ("steps", "batch", "clips", "seed", "threads")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=12, help="clips a step")
    parser.add_argument("--clips", type=int, default=20000, help="clips of the train split that are used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; part of what makes runs identical")
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--state", type=Path, default=Path("cdfvd.state.pt"), help="what a killed run resumes from")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    finish(train(options), options)


if __name__ == "__main__":
    main()
