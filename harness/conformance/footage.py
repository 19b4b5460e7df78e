"""The clips a metric is examined on: the embedded world as it is, damaged in known ways, and odd ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.api import Clip, ClipSpec
from harness.corruptions import CORRUPTIONS
from harness.data.shapes import Shapes, ShapesConfig
from harness.rng import derive_seed
from harness.store import file_digest

Frames = NDArray[np.uint8]
CLIPS = 6  # the fewest whose agreement is clear (harness.sanity)
SPEC = ClipSpec()
POOL = 100 * CLIPS
SEED = 11


class Footage:
    """Clips written under `root` when they are asked for.

    Args:
        together: two clips a prompt, numbered, as the samples of a prompt are.
    """

    def __init__(self, root: Path, together: bool) -> None:
        self.root, self.together = root, together
        self._made: dict[str, Clip] = {}

    @property
    def real(self) -> list[Clip]:
        """Held-out clips in which something moves, with caption and ground truth of their own."""
        return [self._write(f"real/{number}", frames, number) for number, frames in enumerate(self._frames)]

    def damaged(self, corruption: str, level: float = 1.0) -> list[Clip]:
        """The real clips under a corruption, in their order."""
        change = CORRUPTIONS[corruption]
        return [
            self._write(f"{corruption}-{level:g}/{n}", change.apply(frames, derive_seed(SEED, n), level), n)
            for n, frames in enumerate(self._frames)
        ]

    @cached_property
    def odd(self) -> dict[str, Clip]:
        """Clips at the edges of what may come, by what they are."""
        return {name: self._write(f"odd/{name}", frames, 0) for name, frames in _odd(self._frames[0]).items()}

    def elsewhere(self, clip: Clip, **changes: Any) -> Clip:
        """The same bytes under another file name, and whatever else changes."""
        path = self.root / "elsewhere" / f"{derive_seed(clip.id) % 10**6}-final.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.path.read_bytes())
        return replace(clip, path=path, **changes)

    @cached_property
    def _shown(self) -> list[tuple[Frames, str, Mapping[str, Any]]]:
        world = Shapes(ShapesConfig(size=POOL, seed=SEED, split="heldout"), SPEC)
        lively = islice((i for i in range(POOL) if world.scene(i).cast.lively), CLIPS)
        return [(world.video(i), world.rows()[i].prompt, world.rows()[i].meta) for i in lively]

    @property
    def _frames(self) -> list[Frames]:
        return [frames for frames, _, _ in self._shown]

    def _write(self, name: str, frames: Frames, number: int) -> Clip:
        """A clip with caption and ground truth of the real clip `number`."""
        if name not in self._made:
            path = self.root / f"{name.replace(' ', '-')}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            video.write(path, frames, SPEC.fps)
            _, prompt, _ = self._shown[self._captioned(number)]
            self._made[name] = Clip(name, path, file_digest(path), prompt, SEED)
        sample = {"sample": number % 2} if self.together else {}
        truth = copy.deepcopy(dict(self._shown[self._captioned(number)][2]))  # whoever writes into it spoils his own
        return replace(self._made[name], meta={**truth, **sample})

    def _captioned(self, number: int) -> int:
        """The clip whose caption this one has."""
        return number - number % 2 if self.together else number


def _odd(frames: Frames) -> dict[str, Frames]:
    flicker, noise = np.zeros_like(frames), np.random.default_rng(0).integers(0, 256, frames.shape, np.uint8)
    flicker[::2] = 255
    return {
        "a black clip": np.zeros_like(frames),
        "a white clip": np.full_like(frames, 255),
        "a very dark clip": frames // 16,
        "a clip that stands still": np.repeat(frames[:1], len(frames), 0),
        "a clip that flickers black and white": flicker,
        "a clip of noise": noise,
        "a clip of two frames": frames[:2],
        "a wide clip": frames[:, 16:48],
        "a clip of twice the size": frames.repeat(2, 1).repeat(2, 2),
    }
