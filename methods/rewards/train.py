"""Trains the networks of the embedded world's rewards: `python -m methods.rewards.train shapes-reader --steps 800`.

Clips of the train split are rendered once, then every step damages some of them (`damage`) and takes a lesson
(`lessons`). All randomness is a function of (seed, step) and the state file is written every `--save-every` steps, so a
killed run continues where it stopped with the same numbers. At the end the weights are written, the state file is
deleted, and accuracies on clean and on damaged held-out clips are printed for the card (`weights/README.md`).

This script alone looks a dataset and a backbone up by name; the rewards see nothing but frames and captions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from harness.api import ClipSpec, derive_seed
from harness.networks.state_file import load_state, save_state
from harness.registry import backbones, datasets
from methods.rewards.lessons import Clips, Lesson, ReaderLesson, VideoTextLesson
from methods.rewards.networks import Reader, VideoText
from methods.rewards.shapes import WEIGHTS

LESSONS: Mapping[str, tuple[type[Lesson], type[nn.Module]]] = {
    ReaderLesson.name: (ReaderLesson, Reader),
    VideoTextLesson.name: (VideoTextLesson, VideoText),
}
PEAK_RATE, DECAY, CLIP_NORM = 2e-3, 1e-2, 1.0


def clips(split: str, seed: int, size: int) -> Clips:
    """Clean clips of the embedded world with their short captions."""
    cls: Any = datasets.get("shapes")
    return Clips.render(cls(cls.Config(size=size, seed=seed, split=split), ClipSpec()))


class EmbeddedCodec:
    """Clips in [0, 1] through the embedded backbone's codec, with noise of a given deviation on the latents."""

    def __init__(self, seed: int) -> None:
        cls: Any = backbones.get("wan")
        self.backbone = cls.load(cls.Config(), torch.device("cpu"))
        self.seed = seed

    def __call__(self, video: Tensor, level: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(derive_seed(self.seed, *level.tolist()))
        latents = self.backbone.encode(2 * video - 1)
        noise = torch.randn(latents.shape, generator=draw)
        decoded: Tensor = self.backbone.decode(latents + level.view(-1, 1, 1, 1, 1) * noise)
        return (decoded / 2 + 0.5).clamp(0, 1)


def train(options: argparse.Namespace) -> Lesson:
    """Train, or go on from the state file, to `options.steps`."""
    kind, network = LESSONS[options.name]
    torch.manual_seed(derive_seed(options.seed, options.name))
    net = network()
    optimiser = torch.optim.AdamW(net.parameters(), PEAK_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, options.steps, pct_start=0.1)
    parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
    first = int(load_state(options.state, protocol(options), parts)["step"])
    lesson = kind(net, clips("train", options.seed, options.clips), EmbeddedCodec(options.seed), options.seed)
    mean, start = 0.0, time.monotonic()
    for step in range(first, options.steps):
        value = lesson.loss(step)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        optimiser.step()
        schedule.step()
        mean = value.item() if step == first else 0.98 * mean + 0.02 * value.item()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(options.state, step + 1, protocol(options), parts)
            print(f"step {step + 1}/{options.steps} loss {mean:.4f} {time.monotonic() - start:.0f} s", flush=True)
    net.eval()
    return lesson


def protocol(options: argparse.Namespace) -> dict[str, Any]:
    """The options that decide the numbers."""
    return {name: getattr(options, name) for name in ("name", "steps", "clips", "seed", "threads")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", choices=sorted(LESSONS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--clips", type=int, default=5000, help="clips of the train split, kept in memory (0.2 MB each)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; part of what makes runs identical")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--out", type=Path, help="weights file; the shipped one by default")
    parser.add_argument("--state", type=Path, help="what a killed run resumes from")
    parser.add_argument("--held-out", type=int, default=800, help="held-out clips of the final measurement")
    options = parser.parse_args()
    options.out = options.out or WEIGHTS / f"{options.name}.safetensors"
    options.state = options.state or Path(f"{options.name}.state.pt")
    torch.set_num_threads(options.threads)
    lesson = train(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save(lesson.net.state_dict()))
    options.state.unlink()
    held_out = clips("heldout", options.seed, options.held_out)
    for damaged in (False, True):
        for what, value in lesson.measure(held_out, damaged):
            print(f"{'damaged' if damaged else 'clean'}, {options.held_out} held-out clips: {what} {value:.4f}")


if __name__ == "__main__":
    main()
