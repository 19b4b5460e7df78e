"""Did a metric move the way it should when clips were damaged in a known way? Pure numbers; `doctor --metrics` asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

OfSet = Callable[[tuple[int, ...]], float]
Verdict = Literal["ok", "no", "unclear", "no expectation", "no value"]
LEVEL = 0.95  # two-sided, of what counts as having moved
SAME, NEGLIGIBLE = 0.1, 0.01  # of the undamaged clips' own size or spread, whichever is larger
UNANIMOUS = 6  # 2 / 2^6 = 0.03
GROUPS = 4  # a metric of a whole set is taken again without each of so many parts of it


@dataclass(frozen=True)
class Change:
    """Mean change of a value from undamaged to damaged clips, with its standard error over clips (NaN: unknown)."""

    difference: float
    se: float
    n: int  # clips that have both values, or parts of the set
    scale: float  # of the undamaged values: the larger of |mean| and standard deviation
    agreeing: int = 0  # clips that moved the way the mean did

    @property
    def clear(self) -> bool:
        """More than chance explains: by Student's t, or all of at least six clips went the same way (sign test)."""
        from scipy.stats import t

        if self.n < 2 or self.difference == 0 or math.isnan(self.se):
            return False
        if self.agreeing == self.n >= UNANIMOUS:
            return True
        return bool(abs(self.difference) > t.ppf((1 + LEVEL) / 2, self.n - 1) * self.se)


NOTHING = Change(math.nan, math.nan, 0, math.nan)


def paired(real: Mapping[str, float], damaged: Mapping[str, float]) -> Change:
    """Over the clips that have a value in both."""
    both = [clip for clip in real if clip in damaged]
    if not both:
        return NOTHING
    before, after = (np.array([side[clip] for clip in both], np.float64) for side in (real, damaged))
    steps = after - before
    se = float(steps.std(ddof=1) / math.sqrt(len(both))) if len(both) > 1 else math.nan
    scale = max(abs(float(before.mean())), float(before.std()))
    return Change(float(steps.mean()), se, len(both), scale, int((steps * steps.mean() > 0).sum()))


def jackknife(count: int, real: OfSet, damaged: OfSet) -> Change:
    """For a value of a whole set of clips: the standard error from leaving out each of `GROUPS` parts in turn.

    SE^2 = (g - 1) / g * sum_i (d_i - mean d)^2 over the g differences d_i (Efron and Stein 1981).

    Args:
        real, damaged: the value of the set made of the clips with these numbers, each below `count`.
    """
    everything, groups = tuple(range(count)), min(GROUPS, count)
    whole = real(everything)
    difference = damaged(everything) - whole
    if groups < 2:
        return Change(difference, math.nan, groups, abs(whole))
    rests = [tuple(i for i in everything if i % groups != part) for part in range(groups)]
    steps = np.array([damaged(rest) - real(rest) for rest in rests])
    se = math.sqrt((groups - 1) / groups * float(np.square(steps - steps.mean()).sum()))
    return Change(difference, se, groups, abs(whole))


def judge(expected: str, change: Change) -> Verdict:
    """Whether a change is what was expected: "down", "up", "same", or "" for no expectation.

    "no" needs a clear change the wrong way (for "same", one above a tenth of the metric's own scale); one that is not
    clear, or under a hundredth of that scale, is "unclear".
    """
    if change.n == 0:
        return "no value"
    if not expected:
        return "no expectation"
    if expected == "same":
        small = abs(change.difference) <= SAME * change.scale
        return "ok" if small else "no" if change.clear else "unclear"
    if not change.clear or abs(change.difference) <= NEGLIGIBLE * change.scale:
        return "unclear"
    return "ok" if (change.difference > 0) == (expected == "up") else "no"
