"""Knobs that spoil a clip, and the scores they leave it with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.data.world.dice import Dice, fix

MQ_THRESHOLD, VQ_THRESHOLD = 2.5, 2.7  # TQD, experimental setup: what "high" means
QUADRANTS = ("HMHV", "HMLV", "LMHV", "LMLV")
PRESETS: dict[str, dict[str, int]] = {
    "clean": {},
    "set-a": {"HMHV": 100, "HMLV": 80, "LMHV": 80, "LMLV": 20},  # TQD, appendix: thousands of clips
    "set-b": {"HMLV": 80, "LMHV": 80},
    "set-c": {"HMHV": 100},
}
_HALVES = {"blur": 2.0, "noise": 24.0, "compression": 12.0}  # the amount of each that alone halves the visual quality


@dataclass(frozen=True)
class Knobs:
    """Amounts of damage; the defaults do none.

    `pace` scales time (0 = still, 1 = as captioned, above = hurried) and `start` says where in [0, 1] the clip begins.
    """

    blur: int = 0  # passes of a 3x3 box
    noise: int = 0  # levels: each value moves by a uniform integer in [-noise, noise]
    compression: int = 0  # quarter levels to which the mean of an 8x8 block is rounded; its details are rounded more
    pace: float = 1.0
    start: float = 0.0
    frozen: float = 0.0  # share of the clip, at its end, in which the picture stands still
    shuffle: float = 0.0  # share of the frames that are out of place

    @property
    def vq(self) -> float:
        """Visual quality in (0, 1]: 1 / (1 + the sum of the relative amounts of damage)."""
        return 1 / (1 + sum(getattr(self, name) / half for name, half in _HALVES.items()))

    @property
    def mq(self) -> float:
        """Motion quality in [0, 1]: pace (saturating), less what is frozen, less most of what is shuffled."""
        brisk = min(1.0, 1.25 * self.pace / (self.pace + 0.35))
        return brisk * (1 - self.frozen) * (1 - 0.8 * self.shuffle)

    def scores(self) -> dict[str, float]:
        """Raw columns on the scale of VideoAlign: mq in [0.8, 3.8], vq in (1.2, 4.2]."""
        return {"mq": fix(0.8 + 3 * self.mq), "vq": fix(1.2 + 3 * self.vq)}

    def quadrant(self) -> str:
        """One of `QUADRANTS`."""
        raw = self.scores()
        return ("HM" if raw["mq"] >= MQ_THRESHOLD else "LM") + ("HV" if raw["vq"] >= VQ_THRESHOLD else "LV")

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def draw_knobs(dice: Dice, preset: str) -> Knobs:
    """Knobs of one clip of a preset (a key of `PRESETS`)."""
    if not PRESETS[preset]:
        return Knobs()
    quadrant = dice.weigh(PRESETS[preset])
    knobs = _lively(dice) if quadrant.startswith("HM") else _lifeless(dice)
    return _fine(dice, knobs) if quadrant.endswith("HV") else _poor(dice, knobs)


def _lively(dice: Dice) -> Knobs:
    return Knobs(pace=dice.between(0.8, 1.25))


def _lifeless(dice: Dice) -> Knobs:
    """Nearly still (twice as often), frozen from early on, or out of order."""
    kind = dice.below(4)
    if kind == 0:
        return Knobs(shuffle=dice.between(0.6, 1))
    if kind == 1:
        return Knobs(frozen=dice.between(0.6, 1))
    pace = dice.between(0, 0.18)
    return Knobs(pace=pace, start=dice.between(0, 1 - pace))


def _fine(dice: Dice, knobs: Knobs) -> Knobs:
    """Damage nobody sees: up to three levels of noise and a fine quantisation."""
    return replace(knobs, noise=dice.below(4), compression=dice.below(3))


def _poor(dice: Dice, knobs: Knobs) -> Knobs:
    """One dominant damage and a little of another, together 1.2 to 4 times what halves the visual quality."""
    total, second = dice.between(1.2, 4), dice.between(0, 0.3)
    first, other = dice.sample(list(_HALVES), 2)
    amounts: dict[str, Any] = {
        first: round(total * (1 - second) * _HALVES[first]) + 1,
        other: round(total * second * _HALVES[other]),
    }
    return replace(knobs, **amounts)
