"""What a clip shows, before anything has a place: its things, what each does, the camera and the background."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.data.world.dice import Dice

SHAPES = ("disk", "square", "triangle", "ring", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
TEXTURES = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "large")
SPEEDS = ("slowly", "quickly")
DIRECTIONS = ("left", "right", "up", "down")
DISPLACING = ("drift", "bounce", "orbit", "zigzag", "occlude")
STAYING = ("still", "pulse", "flicker", "spin", "morph")
MOTIONS = (*DISPLACING, *STAYING)
CAMERAS = ("still", "pan left", "pan right", "zoom in", "zoom out")
TONES = ("dark", "grey")
PATTERNS = ("cloudy", "striped", "dotted")

_COUNT = {1: 10, 2: 7, 3: 3}
_CAMERA = {"still": 26, "pan left": 4, "pan right": 4, "zoom in": 3, "zoom out": 3}  # 65 % still; 70 % with n = 3
_OCCLUDE = {True: 3, False: 7}  # of the clips with more than one thing
_FREE = tuple(m for m in MOTIONS if m != "occlude")
_PANNED = tuple(m for m in _FREE if m != "zigzag")  # a pan would cancel what travels sideways
_UNHURRIED = ("still", "morph", "occlude")
_TURNING = ("square", "triangle", "cross")  # a disk or a ring that spins looks still
_SOLID = ("disk", "square", "triangle")  # what can hide something


@dataclass(frozen=True)
class Thing:
    """One object, in words."""

    shape: str
    colour: str
    motion: str
    direction: str | None  # of a drift
    morph_to: str | None
    behind: int | None  # index of the thing this one passes behind
    size: str
    texture: str
    speed: str | None  # of what has more than one


@dataclass(frozen=True)
class Cast:
    """A clip, in words. Things are in caption order; their colours differ."""

    things: tuple[Thing, ...]
    camera: str
    tone: str
    pattern: str

    @property
    def lively(self) -> bool:
        """Some thing does something."""
        return any(thing.motion != "still" for thing in self.things)


def draw_cast(dice: Dice) -> Cast:
    """Draw a cast; every choice that could crowd the frame is excluded here, so that a layout always exists."""
    n = dice.weigh(_COUNT)
    camera = dice.weigh(_CAMERA) if n < 3 else "still"
    passer, cover = -1, -1
    if n > 1 and dice.weigh(_OCCLUDE):
        passer, cover = dice.sample(range(n), 2)
    panned = camera.startswith("pan")
    things = []
    for i, colour in enumerate(dice.sample(COLOURS, n)):
        if i == passer:
            motion = "occlude"
        elif i == cover:
            motion = dice.pick(("still", "spin", "flicker", "pulse"))
        else:
            motion = dice.pick(_PANNED if panned else _FREE)
        thing = _draw_thing(dice, colour, motion, n, i == cover, panned)
        things.append(replace(thing, behind=cover) if i == passer else thing)
    return Cast(tuple(things), camera, dice.pick(TONES), dice.pick(PATTERNS))


def _draw_thing(dice: Dice, colour: str, motion: str, n: int, covers: bool, panned: bool) -> Thing:
    shape = dice.pick([s for s in SHAPES if (motion != "spin" or s in _TURNING) and (not covers or s in _SOLID)])
    return Thing(
        shape=shape,
        colour=colour,
        motion=motion,
        direction=dice.pick(DIRECTIONS[2:] if panned else DIRECTIONS) if motion == "drift" else None,
        morph_to=dice.pick([s for s in SHAPES if s != shape]) if motion == "morph" else None,
        behind=None,
        size=_size(dice, motion, n, covers),
        texture=dice.pick(TEXTURES),
        speed=_speed(dice, motion, n),
    )


def _size(dice: Dice, motion: str, n: int, covers: bool) -> str:
    if covers:
        return "large"
    roomy = n == 1 or (n == 2 and motion in STAYING)
    return dice.pick(SIZES) if roomy else "small"


def _speed(dice: Dice, motion: str, n: int) -> str | None:
    if motion in _UNHURRIED:
        return None
    return "slowly" if motion == "drift" and n == 3 else dice.pick(SPEEDS)
