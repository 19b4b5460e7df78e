"""How far a reading agrees with a caption's ground truth: pure counting, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError
from metrics.shapes.colours import CAMERAS, COLOURS, MOTIONS
from metrics.shapes.reader import Reading


@dataclass(frozen=True)
class Agreement:
    """Counts over one clip or, added up, over many.

    Attributes:
        captioned: objects in the captions.
        named: of these, read as present with the right shape (a morph's is the shape it starts from).
        spurious: colours read as present that the caption does not have.
        moved: captioned objects read as present with the right motion class.
        drifting, directed: captioned drifts; of these, read as a drift in the right direction.
        cameras, filmed: captions that state the camera; of these, read right.
    """

    captioned: int = 0
    named: int = 0
    spurious: int = 0
    moved: int = 0
    drifting: int = 0
    directed: int = 0
    cameras: int = 0
    filmed: int = 0

    @property
    def objects(self) -> float | None:
        """Object-and-colour accuracy: named / (captioned + spurious)."""
        return _ratio(self.named, self.captioned + self.spurious)

    @property
    def motion(self) -> float | None:
        return _ratio(self.moved, self.captioned)

    @property
    def direction(self) -> float | None:
        return _ratio(self.directed, self.drifting)

    @property
    def camera(self) -> float | None:
        return _ratio(self.filmed, self.cameras)

    @property
    def value(self) -> float | None:
        """Mean of objects, motion and camera, of those that are known."""
        parts = [part for part in (self.objects, self.motion, self.camera) if part is not None]
        return sum(parts) / len(parts) if parts else None


def agree(meta: Mapping[str, Any], reading: Reading) -> Agreement:
    """Compare a reading with `Row.meta`, `{"objects": [{"shape", "colour", "motion", "direction"}], "camera"}`.

    Raises:
        UserError: an object with a colour, motion or camera the reader does not know, or without one.
    """
    found = reading.objects
    wanted = {_known(thing, "colour", COLOURS): thing for thing in meta["objects"]}
    if len(wanted) < len(meta["objects"]):
        raise UserError("two captioned objects have the same colour", "the reader tells objects by colour")
    camera = _known(meta, "camera", CAMERAS)
    named = moved = drifting = directed = 0
    for colour, thing in wanted.items():
        motion, slot = _known(thing, "motion", MOTIONS), found.get(colour)
        right = slot is not None and slot.motion == motion
        named += slot is not None and slot.shape == thing["shape"]
        moved += right
        if motion == "drift":
            drifting += 1
            directed += right and slot is not None and slot.direction == thing["direction"]
    return Agreement(
        captioned=len(wanted),
        named=named,
        spurious=len(found.keys() - wanted.keys()),
        moved=moved,
        drifting=drifting,
        directed=directed,
        cameras=1,
        filmed=int(reading.camera == camera),
    )


def total(parts: Iterable[Agreement]) -> Agreement:
    """The sum of all counts."""
    rows = [vars(part) for part in parts]
    return Agreement(**{name: sum(row[name] for row in rows) for name in vars(Agreement())})


def _known(holder: Mapping[str, Any], key: str, labels: tuple[str, ...]) -> str:
    if holder.get(key) not in labels:
        raise UserError(f'ground truth has {key} "{holder.get(key)}"', f"the shapes reader knows: {', '.join(labels)}")
    return str(holder[key])


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
