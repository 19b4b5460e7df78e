"""T2V-CompBench's motion binding from tracked displacements (Tracking_eval/motion_binding_score_cal.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 856, 480  # every clip is tracked at this size
UNDETECTED = -1.0
FLOOR, SPAN = 0.2, 0.8  # of a clip in which an object was found

Shift = tuple[float, float]  # (right, down), pixels from the first frame to the last with visible points


@dataclass(frozen=True)
class Thing:
    """An object that should move: what it is called, and where to (left, right, up, down)."""

    name: str
    direction: str


def found_in(rows: Sequence[Mapping[str, str]]) -> dict[str, Shift]:
    """Displacements in the foreground table by the object's name, in the table's order; empty rows are objects that
    were not found. The name stands in that of the mask, `mask_foreground_<name>.jpg`."""
    return {
        row["mask_name"].removeprefix("mask_foreground_").removesuffix(".jpg"): shift
        for row in rows
        if (shift := shift_in(row)) is not None
    }


def shift_in(row: Mapping[str, str]) -> Shift | None:
    """The displacement in a row of either table; None if its object, or the background, was not found."""
    if row["change_in_x"] == "" or row["change_in_y"] == "":
        return None
    return float(row["change_in_x"]), float(row["change_in_y"])


def things_in(row: Mapping[str, str]) -> list[Thing]:
    """One or two objects that should move, as every row repeats them."""
    return [Thing(row[f"object_{n}"], row[f"d_{n}"]) for n in (1, 2) if row[f"object_{n}"]]


def travelled(shift: Shift, background: Shift | None, direction: str) -> float:
    """How far an object went the right way against the background, as a share of the frame; 0 if the other way.

    Without a background the official script takes every object for still.
    """
    if background is None:
        return 0.0
    left, up = background[0] - shift[0], background[1] - shift[1]
    way = {"left": left / WIDTH, "right": -left / WIDTH, "up": up / HEIGHT, "down": -up / HEIGHT}
    if direction not in way:
        raise ValueError(f"{direction!r} is no direction (left, right, up, down)")
    return max(way[direction], 0.0)


def combined(shares: Sequence[float | None]) -> float:
    """One object's share, or half the sum of two; `UNDETECTED` if none was found (None).

    An object that was not found counts 0 beside one that was.
    """
    if all(share is None for share in shares):
        return UNDETECTED
    return sum(share or 0.0 for share in shares) / len(shares)


def normalised(score: float) -> float:
    """0 for `UNDETECTED`, else 0.2 + 0.8 of it (`model_score`)."""
    return 0.0 if score < 0 else score * SPAN + FLOOR


def motion_binding(things: Sequence[Thing], shifts: Mapping[str, Shift], background: Shift | None) -> float:
    """The clip's score: objects are matched with `shifts` by name."""
    return _score(things, [shifts.get(thing.name) for thing in things], background)


def as_listed(things: Sequence[Thing], shifts: Sequence[Shift], background: Shift | None) -> float:
    """The same as the official table has it: the first mask in the folder's listing is the first object, and so on.

    Listings have no order, so that two objects may change places; and the second one is taken for the first when only
    it was found.
    """
    found = [shifts[index] if index < len(shifts) else None for index in range(len(things))]
    return _score(things, found, background)


def _score(things: Sequence[Thing], found: Sequence[Shift | None], background: Shift | None) -> float:
    shares = [
        None if shift is None else travelled(shift, background, thing.direction)
        for thing, shift in zip(things, found, strict=True)
    ]
    return normalised(combined(shares))
