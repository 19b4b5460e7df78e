"""Seven small clips, a pure function of `SEED`, on which the official package's scores are recorded.

Integer arithmetic only, so that the frames are the same on every machine; `harness.video.write` promises the same of
the bytes. `record.py` writes the official scores beside this file, `recorded.py` reads them for the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video

SEED = 0
COLOURS = ((220, 40, 40), (40, 180, 60), (50, 70, 220), (240, 220, 50), (245, 245, 245), (20, 20, 20), (240, 140, 20))
LONG = (
    "A very long caption that goes on and on, about a red ball and a blue cube that slide over a patterned floor while "
    "the camera follows them slowly from the left to the right, past a wooden chair, two green bottles, a sleeping cat "
    "and an open window through which the evening light falls on the wall, until both of them come to rest at last"
)


@dataclass(frozen=True)
class Shot:
    """One clip: its size, how the camera (`pan`) and the disc (`drift`) move a frame, and what the text dimensions
    are asked of it."""

    frames: int
    height: int
    width: int
    fps: float
    pan: tuple[int, int] = (0, 0)  # down, right, in pixels
    drift: tuple[int, int] = (0, 0)
    flicker: int = 0  # grey levels by which every other frame is brighter
    prompt: str = ""
    style: str = ""
    action: str = ""
    colour: str = ""

    @property
    def auxiliary(self) -> dict[str, Any]:
        """As VBench's prompt list has it, in words that the networks of `seed_official_only.py` know."""
        return {
            "object_class": {"object": "dog"},
            "multiple_objects": {"object": "dog and white"},
            "color": {"color": self.colour},
            "spatial_relationship": {
                "spatial_relationship": {"object_a": "dog", "object_b": "white", "relationship": "on the right of"}
            },
            "scene": {"scene": {"scene": "beach"}},
            "appearance_style": {"appearance_style": self.style},
        }


SHOTS: dict[str, Shot] = {
    "still": Shot(8, 128, 160, 8, prompt="a red disc", style="black and white", action="playing chess", colour="red"),
    "slow": Shot(
        9, 128, 160, 8, (0, 1), (1, 1),
        prompt="a cat rides a bike, pan left", style="Van Gogh style", action="yoga", colour="white",
    ),
    "fast": Shot(
        13, 160, 128, 24, (3, 5), (0, -7),
        prompt=LONG, style="in super slow motion", action="riding a bike", colour="blue",
    ),
    "wide": Shot(
        5, 128, 560, 12, (0, 6), (0, 12), prompt="a wide street", style="cyberpunk", action="jogging", colour="black",
    ),
    "odd": Shot(
        10, 90, 70, 30, (1, 0), (2, 1),
        prompt="café “été” & 東京", style="oil painting", action="archery", colour="pink",
    ),
    "flicker": Shot(7, 144, 144, 20, (2, 2), flicker=24, style="watercolor", action="bowling", colour="gray"),
    "pair": Shot(
        2, 128, 128, 8, (0, 4), (0, 4),
        prompt="two frames", style="pixel art", action="dunking basketball", colour="green",
    ),
}  # fmt: skip


def render(name: str) -> NDArray[np.uint8]:
    """`[F, H, W, 3]`: a window that pans over a coloured pattern, with a disc that drifts in front of it."""
    shot, order = SHOTS[name], list(SHOTS).index(name)
    reach = [abs(step) * (shot.frames - 1) for step in shot.pan]
    pattern = _pattern(shot.height + reach[0], shot.width + reach[1], SEED * len(SHOTS) + order)
    colour = np.array(COLOURS[(order + SEED) % len(COLOURS)], np.uint8)
    rows, columns = np.ogrid[: shot.height, : shot.width]
    radius = min(shot.height, shot.width) // 4
    out = []
    for index in range(shot.frames):
        top, left = (
            step * index if step >= 0 else far + step * index for step, far in zip(shot.pan, reach, strict=True)
        )
        frame = pattern[top : top + shot.height, left : left + shot.width].copy()
        y, x = shot.height // 2 + shot.drift[0] * index, shot.width // 2 + shot.drift[1] * index
        frame[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = colour
        out.append(np.minimum(frame.astype(np.int64) + shot.flicker * (index % 2), 255).astype(np.uint8))
    return np.stack(out)


def write(folder: Path, *names: str) -> dict[str, Path]:
    """The clips (all of them unless named) as `folder/<name>.mp4`, by name."""
    paths = {name: folder / f"{name}.mp4" for name in names or SHOTS}
    for name, path in paths.items():
        video.write(path, render(name), SHOTS[name].fps)
    return paths


def _pattern(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Three scales of coloured noise, box-blurred: `[height, width, 3]`."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.int64)
    for scale, weight in ((4, 2), (16, 4), (48, 6)):
        coarse = random.integers(0, 256, (height // scale + 3, width // scale + 3, 3), np.int64)
        fine = coarse.repeat(scale, 0).repeat(scale, 1)
        for axis in (0, 1):
            sums = np.cumsum(fine, axis)
            far, near = np.split(sums, [-scale], axis)[0], np.split(sums, [scale], axis)[1]
            fine = (near - far) // scale
        total += weight * fine[:height, :width]
    return (total // 12).astype(np.uint8)
