"""The closed language of captions."""

from __future__ import annotations

import hashlib

from harness.data.world.casting import (
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    PATTERNS,
    SHAPES,
    SIZES,
    SPEEDS,
    TEXTURES,
    TONES,
    Cast,
    Thing,
)

HELDOUT_SHARE = 8  # one caption in eight is kept from training

_VERBS = {
    "still": "stays still",
    "bounce": "bounces",
    "orbit": "orbits",
    "zigzag": "zigzags",
    "pulse": "pulses",
    "flicker": "flickers",
    "spin": "spins",
}
_CAMERA = {
    "still": "stays still",
    "pan left": "pans left",
    "pan right": "pans right",
    "zoom in": "zooms in",
    "zoom out": "zooms out",
}


def short_caption(cast: Cast) -> str:
    """E.g. `a red square drifts left, a blue disk spins, the camera pans right`; a still camera goes unmentioned."""
    parts = [f"a {t.colour} {t.shape} {_does(t, cast)}" for t in cast.things]
    if cast.camera != "still":
        parts.append(f"the camera {_CAMERA[cast.camera]}")
    return ", ".join(parts)


def long_caption(cast: Cast) -> str:
    """The short caption with sizes, textures, speeds, the background and the camera, always in that order."""
    parts = [f"a {t.size} {t.texture} {t.colour} {t.shape} {_does(t, cast)}{_how(t)}" for t in cast.things]
    parts.append(f"on a {cast.tone} {cast.pattern} background")
    parts.append(f"the camera {_CAMERA[cast.camera]}")
    return ", ".join(parts) + "."


def key(cast: Cast) -> str:
    """What the short caption means whatever the order of its things: they are sorted by colour."""
    things = sorted(cast.things, key=lambda t: t.colour)
    return " | ".join([*(f"{t.colour} {t.shape} {_does(t, cast)}" for t in things), cast.camera])


def split_of(cast: Cast) -> str:
    """`train` or `heldout`, a property of the meaning of the short caption alone."""
    return "train" if hashlib.sha256(key(cast).encode()).digest()[0] % HELDOUT_SHARE else "heldout"


def tokens(caption: str) -> list[str]:
    """Words and punctuation of a caption, all in `VOCABULARY`."""
    return caption.replace(",", " ,").replace(".", " .").split()


def _does(thing: Thing, cast: Cast) -> str:
    if thing.motion == "drift":
        return f"drifts {thing.direction}"
    if thing.motion == "morph":
        return f"morphs into a {thing.morph_to}"
    if thing.behind is not None:
        cover = cast.things[thing.behind]
        return f"passes behind the {cover.colour} {cover.shape}"
    return _VERBS[thing.motion]


def _how(thing: Thing) -> str:
    return f" {thing.speed}" if thing.speed else ""


VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *(",", ".", "a", "the", "on", "into", "in", "out", "behind", "background", "camera"),
            *(*COLOURS, *SHAPES, *SIZES, *TEXTURES, *TONES, *PATTERNS, *DIRECTIONS, *SPEEDS),
            *("drifts", "morphs", "passes"),
            *(word for phrase in (*_VERBS.values(), *(_CAMERA[c] for c in CAMERAS)) for word in phrase.split()),
        ]
    )
)
