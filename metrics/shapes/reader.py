"""Reads a clip of the embedded world: which objects, what each does, what the camera does.

The colour names the object: the world never shows one colour twice in a clip, so each of the six colours is a slot
that is either empty or holds one object. `frontend` finds the colours, a shipped network (see `weights/README.md`)
reads every slot. Judges read clips of any size and length; they are brought to 17 frames of 64 x 64 first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from metrics.shapes.colours import CAMERAS, COLOURS, DIRECTIONS, MOTIONS, SHAPES, to_raster
from metrics.shapes.frontend import views

if TYPE_CHECKING:
    from metrics.shapes.network import ReaderNet

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
TRAIN_COMMAND = "python -m metrics.shapes.train_reader"


@dataclass(frozen=True)
class Slot:
    """What was read of one colour. Probabilities, each a mapping from label to [0, 1] that sums to 1.

    `present` is the probability that the clip holds an object of this colour; the others suppose that it does, and
    `directions` that it drifts.
    """

    present: float
    shapes: Mapping[str, float]
    motions: Mapping[str, float]
    directions: Mapping[str, float]

    @property
    def shape(self) -> str:
        """The likeliest shape; of a morph, the one it starts from."""
        return max(self.shapes, key=self.shapes.__getitem__)

    @property
    def motion(self) -> str:
        return max(self.motions, key=self.motions.__getitem__)

    @property
    def direction(self) -> str:
        return max(self.directions, key=self.directions.__getitem__)


@dataclass(frozen=True)
class Reading:
    """What was read of a clip: a slot for each of the six colours, and the probabilities of the camera's motions."""

    slots: Mapping[str, Slot]
    cameras: Mapping[str, float]

    @property
    def camera(self) -> str:
        return max(self.cameras, key=self.cameras.__getitem__)

    @property
    def objects(self) -> dict[str, Slot]:
        """The slots that hold an object: those likelier present than not."""
        return {colour: slot for colour, slot in self.slots.items() if slot.present >= 0.5}


def read(frames: NDArray[np.uint8], weights: Path = WEIGHTS) -> Reading:
    """Read a clip, uint8 RGB `[F, H, W, 3]` with F >= 2 of any size.

    Raises:
        UserError: fewer than two frames, or the weights are missing.
    """
    import torch

    if frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2:
        raise UserError(f"the reader needs RGB clips of at least 2 frames, got {frames.shape}", "give it [F, H, W, 3]")
    net = load(weights)
    seen = views(to_raster(frames))
    crops, moments, camera = (torch.from_numpy(a) for a in (seen.crops, seen.moments, seen.camera))
    with torch.inference_mode():
        logits = net.slots(crops, moments, camera.expand(len(COLOURS), *camera.shape))
        cameras = _named(CAMERAS, net.camera(camera[None])[0].softmax(-1).tolist())
    present = logits.present.sigmoid().tolist()
    shapes, motions, directions = (a.softmax(-1).tolist() for a in (logits.shape, logits.motion, logits.direction))
    slots = {
        colour: Slot(
            present[k], _named(SHAPES, shapes[k]), _named(MOTIONS, motions[k]), _named(DIRECTIONS, directions[k])
        )
        for k, colour in enumerate(COLOURS)
    }
    return Reading(slots, cameras)


@cache
def load(weights: Path = WEIGHTS) -> ReaderNet:
    """The network, in evaluation mode on the CPU. Raises UserError when the file is missing or of another network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from metrics.shapes.network import ReaderNet

    if not weights.is_file():
        raise UserError(f"the shapes reader's weights are missing: {weights}", f"make them with: {TRAIN_COMMAND}")
    net = ReaderNet()
    try:
        net.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(f"{weights} does not fit the reader network", f"make it anew with: {TRAIN_COMMAND}") from error
    return net.eval().requires_grad_(False)


def _named(labels: tuple[str, ...], values: list[float]) -> dict[str, float]:
    return dict(zip(labels, values, strict=True))
