"""The embedded world's closed language of captions, as its two rewards read it. Imports no torch.

A caption is phrases between commas: `a red square drifts left, a blue disk spins, the camera pans right`. Long captions
say more (`a small striped red square drifts left slowly, on a dark cloudy background, the camera stays still.`); what
they add about size, texture, speed and background is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.errors import UserError

COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("disk", "square", "triangle", "ring", "cross")
UNREAD = ("small", "large", "plain", "striped", "dotted", "checked", "slowly", "quickly")  # size, texture, speed
WORDS = (
    *("a", "the", "in", "out", "into", "behind", "camera", *COLOURS, *SHAPES),
    *("left", "right", "up", "down", "stays", "still", "drifts", "bounces", "orbits", "zigzags", "passes"),
    *("pulses", "flickers", "spins", "morphs", "pans", "zooms"),
)
LONGEST = 8  # words of a phrase: a red square passes behind the blue disk
_NAMED = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b(?: morphs into a ({'|'.join(SHAPES)})\b)?")
_UNSAID = (("the", "camera", "stays", "still"),)  # short captions leave a still camera out

Phrase = tuple[str, ...]


def phrases(caption: str) -> tuple[Phrase, ...]:
    """The words of each phrase that are read, e.g. `(("a", "red", "square", "drifts", "left"),)`.

    Raises:
        UserError: the caption is empty, or a word is not of the language.
    """
    found = []
    for part in caption.lower().rstrip(". ").split(","):
        words = tuple(word for word in part.split() if word not in UNREAD)
        if words and words[0] != "on" and words not in _UNSAID:
            found.append(words)
    strange = next((word for phrase in found for word in phrase if word not in WORDS), None)
    if strange or not found or max(map(len, found)) > LONGEST:
        problem = f'"{strange}" is not a word of it' if strange else "it is not one of its captions"
        raise UserError(
            f'this reward knows only the embedded world\'s captions: "{caption}": {problem}',
            'write e.g. "a red square drifts left, a blue disk spins", or choose a reward that reads any text',
        )
    return tuple(found)


def objects(caption: str) -> Mapping[str, frozenset[str]]:
    """Each colour that is named, with the shapes its object may have: two for a morph.

    Raises:
        UserError: no object is named.
    """
    plain = " ".join(word for word in caption.lower().split() if word not in UNREAD)
    found: dict[str, frozenset[str]] = {}
    for colour, shape, later in _NAMED.findall(plain):
        found[colour] = found.get(colour, frozenset()) | {shape} | ({later} if later else set())
    if not found:
        raise UserError(
            f'no object of the embedded world is named in "{caption}"',
            f"this reward reads a colour ({', '.join(COLOURS)}) before a shape ({', '.join(SHAPES)})",
        )
    return found
