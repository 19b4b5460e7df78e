"""Fits the quality judges to rendered clips: `python -m metrics.shapes.train_quality`; `--measure` for the card alone.

Every clip, its damage and every batch is a function of (seed, index); marks are saved on the way, so that a killed run
goes on and ends in the same bytes. A third of the clips goes through the video codec that generated clips go through.
Some are damaged in ways the world's knobs do not know, with the motion quality we give them: shaken clips count as
fully shuffled, clips that jump three times as shuffled to 0.6; a swapped object changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from harness import video
from harness.api import ClipSpec, derive_seed
from harness.corruptions import CORRUPTIONS
from harness.data.world import Knobs, render, scene
from harness.data.world.dice import Dice
from harness.data.world.knobs import draw_knobs
from metrics.shapes.quality import CLIP, LOOKS, WEIGHTS, Which, marks

STEPS, BATCH, RATE, DECAY, WIDTH = 1500, 128, 4e-3, 0.1, 64
CHUNK = 250  # clips between saves
HALVES = {"blur": 2.0, "noise": 24.0, "compression": 12.0}
SHAKEN = {"jitter": 1.0, "teleport": 0.6, "object_swap": 0.0}  # as what share of shuffled frames they count
LIVELY = 0.3  # motion quality above which a scene in which nothing moves would contradict its score


@dataclass(frozen=True)
class Example:
    """A training clip and what it is worth, in [0, 1]."""

    knobs: Knobs
    lively: bool
    corruption: str
    coded: bool

    @property
    def mq(self) -> float:
        return self.knobs.mq * (1 - 0.8 * SHAKEN.get(self.corruption, 0.0))

    def frames(self, seed: int, index: int) -> NDArray[np.uint8]:
        """`[17, 64, 64, 3]`."""
        frames = render(scene(seed, index, "train", self.lively), ClipSpec(), self.knobs)
        if self.corruption:
            frames = CORRUPTIONS[self.corruption].apply(frames, derive_seed(seed, index))
        return through_codec(frames) if self.coded else frames


def draw(seed: int, index: int) -> Example:
    """Three in five from TQD's set A, the others with any amounts of damage; some corrupted on top."""
    dice = Dice(derive_seed(seed, "quality", index))
    knobs = draw_knobs(dice, "set-a") if dice.below(5) < 3 else broad(dice)
    lively = knobs.mq >= LIVELY or dice.below(2) == 0
    corruption = dice.pick(sorted(SHAKEN)) if lively and dice.below(6) == 0 else ""
    return Example(knobs, lively, corruption, dice.below(3) == 0)


def broad(dice: Dice) -> Knobs:
    """Up to three kinds of damage to the looks in any proportion, any pace, often frozen or shuffled in part."""
    names = dice.sample(sorted(HALVES), 1 + dice.below(3))
    shares = [dice.between(0.05, 1) for _ in names]
    total = dice.between(0, 4) if dice.below(4) else 0.0
    amounts: dict[str, Any] = {
        name: round(total * share / sum(shares) * HALVES[name]) for name, share in zip(names, shares, strict=True)
    }
    pace = dice.between(0, 1.25)
    knobs = Knobs(pace=pace, start=dice.between(0, max(0.0, 1 - pace)), **amounts)
    kind = dice.below(4)
    frozen, shuffle = dice.between(0, 1), dice.between(0, 1)
    return replace(knobs, frozen=frozen * (kind in (1, 3)), shuffle=shuffle * (kind in (2, 3)))


def through_codec(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is left of frames `[F, H, W, 3]` after the file format of generated clips."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        video.write(path, frames, ClipSpec().fps)
        return video.read(path).frames


def prepare(options: argparse.Namespace) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Marks `[N, 247]` and qualities `[N, 2]` (mq, vq) of the training clips, from the state file as far as it goes."""
    found, wanted = list[Any](), list[Any]()
    if options.state.is_file():
        with np.load(options.state, allow_pickle=False) as state:
            if int(state["seed"]) == options.seed:
                found, wanted = list(state["marks"]), list(state["wanted"])
    for index in range(len(found), options.clips):
        example = draw(options.seed, index)
        found.append(marks(example.frames(options.seed, index)))
        wanted.append((example.mq, example.knobs.vq))
        if len(found) % CHUNK == 0 or len(found) == options.clips:
            fresh = options.state.with_suffix(".part.npz")
            np.savez(fresh, marks=np.stack(found), wanted=np.array(wanted, np.float32), seed=options.seed)
            fresh.replace(options.state)
            print(f"{len(found)}/{options.clips} clips", flush=True)
    return np.stack(found[: options.clips]), np.array(wanted[: options.clips], np.float32)


def fit(found: NDArray[np.float32], wanted: NDArray[np.float32], which: Which, seed: int) -> Iterator[tuple[str, Any]]:
    """Least squares of one judge on its own marks; yields the named parts that `quality` reads."""
    torch.manual_seed(derive_seed(seed, "quality", which))
    own = found[:, LOOKS:] if which == "mq" else found[:, :LOOKS]
    mean, scale = own.mean(0), own.std(0) + 1e-3
    x = torch.from_numpy((own - mean) / scale).clamp(-CLIP, CLIP)
    y = torch.from_numpy(wanted[:, 0 if which == "mq" else 1])
    net = nn.Sequential(
        nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH // 2), nn.SiLU(), nn.Linear(WIDTH // 2, 1)
    )
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(derive_seed(seed, which, step))
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        blurred = x[rows] + 0.1 * torch.randn(BATCH, x.shape[1], generator=generator)
        loss = (net(blurred)[:, 0].sigmoid() - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    print(f"{which}: root mean square error of the last batch {3 * loss.item() ** 0.5:.3f} raw", flush=True)
    yield f"{which}.mean", mean
    yield f"{which}.scale", scale
    for name, part in net.state_dict().items():
        yield f"{which}.{name}", part.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips", type=int, default=3000, help="clips of the train split that are used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--state", type=Path, default=Path("quality.state.npz"), help="what a killed run resumes from")
    parser.add_argument("--measure", action="store_true", help="only measure the weights, as the card does")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.measure:
        found, wanted = prepare(options)
        both: tuple[Which, ...] = ("mq", "vq")
        parts = dict(part for which in both for part in fit(found, wanted, which, options.seed))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_bytes(save({name: np.ascontiguousarray(part) for name, part in sorted(parts.items())}))
        options.state.unlink()
    from metrics.shapes.measure_quality import card

    for line in card(options.out):
        print(line, flush=True)


if __name__ == "__main__":
    main()
