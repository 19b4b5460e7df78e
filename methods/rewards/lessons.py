"""What the two networks of the embedded world's rewards are taught: batches, losses and held-out measurements.

A lesson is handed clean rendered clips; every batch is a function of (seed, step), and its clips are damaged anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from harness.api import derive_seed
from methods.rewards.damage import Codec, damage
from methods.rewards.language import COLOURS, SHAPES, phrases
from methods.rewards.networks import CLASSES, Reader, VideoText
from methods.rewards.scoring import number, strided

DEEDS = (
    *("stays still", "drifts left", "drifts right", "drifts up", "drifts down"),
    *("bounces", "orbits", "zigzags", "pulses", "flickers", "spins"),
)
CAMERAS = ("pans left", "pans right", "zooms in", "zooms out")
TURNING = ("square", "triangle", "cross")  # a disk or a ring that spins looks still
SEEN, HIDDEN = 0.3, 0.05  # shares of its largest visible area at which an object counts as there, and as absent


@dataclass(frozen=True)
class Clips:
    """Rendered clips: frames uint8 `[N, F, H, W, 3]`, captions, objects, and each object's visible pixels `[F, n]`."""

    frames: NDArray[np.uint8]
    captions: Sequence[str]
    things: Sequence[Sequence[Mapping[str, Any]]]
    areas: Sequence[NDArray[np.float32]]

    @classmethod
    def render(cls, data: Any) -> Clips:
        """All rows of the world's dataset."""
        rows = data.rows()
        return cls(
            np.stack([data.video(i) for i in range(len(rows))]),
            [row.prompt for row in rows],
            [row.meta["objects"] for row in rows],
            [data.truth(i).masks.sum((2, 3)).astype(np.float32) for i in range(len(rows))],
        )

    def video(self, index: NDArray[np.int64]) -> Tensor:
        """`[B, 3, F, H, W]` in [0, 1]."""
        return torch.from_numpy(self.frames[index]).permute(0, 4, 1, 2, 3).float() / 255


class Lesson(ABC):
    """A network with its training batches. `clips` a step are damaged, then shown."""

    name: ClassVar[str]
    clips: ClassVar[int]

    def __init__(self, net: nn.Module, data: Clips, codec: Codec, seed: int) -> None:
        self.net, self.data, self.codec, self.seed = net, data, codec, seed

    def pick(self, step: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        """Rows of this step's clips, and the generator of its further choices."""
        dice = np.random.default_rng(derive_seed(self.seed, self.name, step))
        return dice.choice(len(self.data.captions), self.clips, replace=False), dice

    @torch.no_grad()
    def damaged(self, video: Tensor, frames: NDArray[np.int64], *stream: object) -> Tensor:
        """Frames `[B, K]` of damaged clips `[B, 3, F, H, W]`, as drawn by a stream of that name."""
        draw = torch.Generator().manual_seed(derive_seed(self.seed, self.name, *stream))
        return damage(video, torch.from_numpy(frames), draw, self.codec)

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """Scalar to minimise at a step."""

    @abstractmethod
    def measure(self, data: Clips, damaged: bool) -> Iterator[tuple[str, float]]:
        """Named accuracies on held-out clips."""

    def shown(self, data: Clips, first: int, size: int, frames: Sequence[int], damaged: bool) -> Tensor:
        """Frames `[B, 3, K, H, W]` of the held-out clips from `first` on, damaged on request."""
        video = data.video(np.arange(first, min(first + size, len(data.captions))))
        if damaged:
            return self.damaged(video, np.tile(np.array(frames), (len(video), 1)), "held out", first)
        return video[:, :, frames]


class ReaderLesson(Lesson):
    """Which shape each colour has in a single frame, or that it is not there."""

    name = "shapes-reader"
    clips = 16
    looks: ClassVar[int] = 4  # frames of each clip
    net: Reader

    def label(self, row: int, frame: int) -> tuple[Tensor, Tensor]:
        """Class probabilities `[6, 6]` and weights `[6]`: a morph is between two shapes, the half hidden left out."""
        target, weight = torch.zeros(len(COLOURS), CLASSES), torch.ones(len(COLOURS))
        target[:, -1] = 1
        areas, last = self.data.areas[row], len(self.data.areas[row]) - 1
        for i, thing in enumerate(self.data.things[row]):
            k, there = COLOURS.index(thing["colour"]), areas[frame, i] / max(areas[:, i].max(), 1)
            if there >= SEEN:
                later = min(max((frame / last - 0.2) / 0.6, 0), 1)  # the world morphs in the middle three fifths
                target[k] = 0
                target[k, SHAPES.index(thing["shape"])] += 1 - later
                target[k, SHAPES.index(thing["morph_to"] or thing["shape"])] += later
            elif there > HIDDEN:
                weight[k] = 0
        return target, weight

    def loss(self, step: int) -> Tensor:
        index, dice = self.pick(step)
        length = self.data.frames.shape[1]
        frames = np.stack([dice.choice(length, self.looks, replace=False) for _ in index])
        shown = self.damaged(self.data.video(index), frames, step).transpose(1, 2).flatten(0, 1)
        labels = [self.label(index[i], f) for i, row in enumerate(frames) for f in row]
        target, weight = (torch.stack(part) for part in zip(*labels, strict=True))
        each = cross_entropy(
            self.net(shown).flatten(0, 1), target.flatten(0, 1), reduction="none", label_smoothing=0.02
        )
        return (each * weight.flatten()).sum() / weight.sum()

    @torch.no_grad()
    def measure(self, data: Clips, damaged: bool) -> Iterator[tuple[str, float]]:
        teacher = type(self)(self.net, data, self.codec, self.seed)
        right = {"objects": [0.0, 0.0], "empty colours": [0.0, 0.0]}
        for first in range(0, len(data.captions), 50):
            instants = (0, data.frames.shape[1] // 2, data.frames.shape[1] - 1)
            video = self.shown(data, first, 50, instants, damaged)
            for place, frame in enumerate(instants):
                guess = self.net(video[:, :, place]).argmax(-1)
                for row in range(len(video)):
                    target, weight = teacher.label(first + row, frame)
                    for k in range(len(COLOURS)):
                        if weight[k] and target[k].max() > 0.5:
                            kind = right["empty colours" if target[k, -1] else "objects"]
                            kind[0] += float(guess[row, k] == target[k].argmax())
                            kind[1] += 1
        yield from ((name, hit / count) for name, (hit, count) in right.items())


class VideoTextLesson(Lesson):
    """Which caption belongs to a clip, among those of the batch and among near misses."""

    name = "shapes-video-text"
    clips = 32
    misses: ClassVar[int] = 6  # altered captions per clip
    frozen: ClassVar[float] = 0.08  # share of clips shown as one frame and captioned as still
    net: VideoText

    def loss(self, step: int) -> Tensor:
        index, dice = self.pick(step)
        video = self.data.video(index)
        captions = [self.data.captions[i] for i in index]
        for place, row in enumerate(index):
            still = [t["motion"] not in ("occlude", "flicker", "morph") for t in self.data.things[row]]
            if dice.random() < self.frozen and all(still):
                video[place] = video[place, :, dice.integers(video.shape[2])][:, None]
                captions[place] = ", ".join(f"a {t['colour']} {t['shape']} stays still" for t in self.data.things[row])
        near = [altered(caption, dice) for caption in captions for _ in range(self.misses)]
        frames = np.tile(strided(video.shape[2], int(dice.integers(2))), (len(index), 1))
        clips = normalize(self.net.video(self.damaged(video, frames, step)), dim=-1)
        texts = normalize(self.net.text(number([*captions, *near])), dim=-1)
        logits = self.net.scale.exp() * clips @ texts.T
        meaning = [frozenset(phrases(caption)) for caption in captions]
        same = torch.tensor([[a == b for b in meaning] for a in meaning]).fill_diagonal_(False)
        b, own = len(index), torch.eye(len(index), dtype=torch.bool)
        among = logits[:, :b].masked_fill(same, -torch.inf)
        beside = logits[:, b:][own.repeat_interleave(self.misses, 1)].view(b, self.misses)
        truth = torch.arange(b)
        return cross_entropy(torch.cat([among, beside], 1), truth) + cross_entropy(among.T, truth)

    @torch.no_grad()
    def measure(self, data: Clips, damaged: bool) -> Iterator[tuple[str, float]]:
        top, motion = [], []
        frames = strided(data.frames.shape[1], 0)
        for first in range(0, len(data.captions) - 15, 16):
            captions = data.captions[first : first + 16]
            clips = normalize(self.net.video(self.shown(data, first, 16, frames, damaged)), dim=-1)
            likeness = clips @ normalize(self.net.text(number(captions)), dim=-1).T
            top += [captions[j] == c for j, c in zip(likeness.argmax(1).tolist(), captions, strict=True)]
            for clip, caption in zip(clips, captions, strict=True):
                motion += list(self._motions(clip, caption))
        yield "top-1 of 16 captions", float(np.mean(top))
        yield f"motion of {len(motion)} objects", float(np.mean(motion))

    def _motions(self, clip: Tensor, caption: str) -> Iterator[bool]:
        """For each object that does one of DEEDS: whether its caption beats those in which it does another."""
        parts = caption.split(", ")
        for place, part in enumerate(parts):
            deed = part.split(" ", 3)[-1]
            if deed in DEEDS and not part.startswith("the camera"):
                head = part[: -len(deed)]
                choices = [", ".join([*parts[:place], head + d, *parts[place + 1 :]]) for d in DEEDS if able(part, d)]
                texts = normalize(self.net.text(number(choices)), dim=-1)
                yield choices[int((texts @ clip).argmax())] == caption


def able(phrase: str, deed: str) -> bool:
    """Whether one could see this object do it."""
    return deed != "spins" or any(f" {shape} " in f"{phrase} " for shape in TURNING)


def altered(caption: str, dice: np.random.Generator) -> str:
    """A caption with one thing changed: what an object does (mostly), its shape or colour, or the camera."""
    parts = caption.split(", ")
    place, kind = int(dice.integers(len(parts))), dice.random()
    part = parts[place]
    if part.startswith("the camera"):
        others = [f"the camera {move}" for move in CAMERAS if not part.endswith(move)]
    elif kind < 0.1 and len(parts) < 3 and not parts[-1].startswith("the camera"):
        return f"{caption}, the camera {dice.choice(CAMERAS)}"
    else:
        _, colour, shape, deed = part.split(" ", 3)
        if kind < 0.25:
            others = [f"a {colour} {other} {deed}" for other in SHAPES if other != shape]
        elif kind < 0.4:
            others = [f"a {other} {shape} {deed}" for other in COLOURS if f" {other} " not in f" {caption}"]
        else:
            others = [f"a {colour} {shape} {other}" for other in DEEDS if other != deed and able(part, other)]
    return ", ".join([*parts[:place], str(dice.choice(others)), *parts[place + 1 :]])
