"""A scene: a cast with a layout, a pure function of (seed, index, split)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.data.world.casting import Cast, draw_cast
from harness.data.world.dice import Dice
from harness.data.world.grammar import split_of
from harness.data.world.layout import Body, Ripple, lay_out, ripples
from harness.errors import UserError, did_you_mean

WORLD_VERSION = 1  # raise it when any pixel, caption or score changes
SPLITS = ("train", "heldout")
_CAST, _LAYOUT, KNOBS, NOISE, ORDER, POINTS = range(6)  # names of independent streams


@dataclass(frozen=True)
class Scene:
    """Everything that decides the pixels of an undegraded clip, whatever its clip spec."""

    seed: int
    index: int
    cast: Cast
    bodies: tuple[Body, ...]
    ripples: tuple[Ripple, ...]
    tint: tuple[float, float, float]

    def dice(self, stream: int) -> Dice:
        """A fresh stream of this scene, e.g. `scene.dice(NOISE)`."""
        return Dice(stream, self.seed, self.index)


def cast(seed: int, index: int, split: str = "train", lively: bool = False) -> Cast:
    """The cast alone, at a fraction of the cost: drawn again until it belongs to `split` (and does something)."""
    if split not in SPLITS:
        raise UserError(f'no split is called "{split}"', did_you_mean(split, SPLITS))
    dice = Dice(_CAST, seed, index)
    while True:
        drawn = draw_cast(dice)
        if (drawn.lively or not lively) and split_of(drawn) == split:
            return drawn


def scene(seed: int, index: int, split: str = "train", lively: bool = False) -> Scene:
    """The scene of clip `index` of the stream `seed`; both non-negative."""
    drawn = cast(seed, index, split, lively)
    dice = Dice(_LAYOUT, seed, index)
    bodies, waves = lay_out(drawn, dice), ripples(drawn, dice)
    tint = (dice.between(-7, 7), dice.between(-4, 4), dice.between(-7, 9))
    return Scene(seed, index, drawn, bodies, waves, tint)
