"""AVD's pictures: the temporal term against its gate, and the regression with its weight and running averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from methods.avd.equations import threshold_variance
from methods.diagnosis import GATE, Log, column, house, log_scale, logged, mark, panels, shades, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

BAND = (0.05, 0.2)  # of |w_temp dL_temp/dx| over |dL_kl/dx|, where the temporal term neither vanishes nor rules


def closed(log: Log) -> list[tuple[float, float]]:
    """Intervals of steps, from one update to the next, in which the gate kept the temporal term off."""
    steps, gate = column(log, "gate")
    if not len(steps):
        return []
    ends = np.append(steps[1:], steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1))
    found: list[tuple[float, float]] = []
    for start, end, share in zip(steps, ends, gate, strict=True):
        if share >= 0.5:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], float(end))
        else:
            found.append((float(start), float(end)))
    return found


def figures(log: Log, times: Sequence[float], square: bool = True, eps: float = 1e-6) -> dict[str, Figure]:
    """The pictures of the terms that were logged.

    Args:
        times: the student's list, which the running averages are kept by.
        square, eps: of L_temp, to put its threshold on the variance.
    """
    return {**temporal(log, square, eps), **regression(log, times)}


@house
def temporal(log: Log, square: bool = True, eps: float = 1e-6) -> dict[str, Figure]:
    """L_temp and its threshold, the variance behind it, and how strong the term is next to the matching gradient."""
    if not logged(log, "temp", "variance", "threshold"):
        return {}
    threshold = float(column(log, "threshold")[1][-1])
    _, gate = column(log, "gate")
    figure, (left, middle, right) = panels(
        *(1, 3, f"The temporal term was on in {gate.mean():.0%} of the student's updates"),
        "Grey stretches: the term is off, because the student's clips vary enough over time. L_temp falls as the "
        "variance V over frames grows; both thresholds are the same one. Right: the term's gradient in the clip over "
        f"that of the matching loss; between {BAND[0]:.0%} and {BAND[1]:.0%} it neither vanishes nor rules.",
        (11.6, 3.7),
    )
    trace(left, log, "temp", color="C0")
    mark(left, threshold, f"threshold {threshold:.3g}")
    trace(middle, log, "variance", color="C2")
    level = threshold_variance(threshold, square, eps)
    mark(middle, level, f"threshold {level:.3g}")
    if logged(log, "temp_ratio"):
        right.axhspan(*(100 * edge for edge in BAND), color="#009E73", alpha=0.12, linewidth=0)
        steps, ratio = column(log, "temp_ratio")
        trace(
            right, [{"step": s, "percent": 100 * r} for s, r in zip(steps, ratio, strict=True)], "percent", color="C1"
        )
        if (ratio > 0).all():
            log_scale(right)
    for ax, title in ((left, "L_temp"), (middle, "Variance V over frames"), (right, "Term over matching gradient (%)")):
        for start, end in closed(log):
            ax.axvspan(start, end, color=GATE, alpha=0.1, linewidth=0, zorder=0)
        ax.set_title(title)
        ax.set_xlabel("step")
    return {"Temporal regularisation": figure}


@house
def regression(log: Log, times: Sequence[float]) -> dict[str, Figure]:
    """L_reg with its running average at each time of the list, and the weight that follows from both."""
    if not logged(log, "reg", "w"):
        return {}
    _, weight = column(log, "w")
    caches = [k for k in range(len(times)) if logged(log, f"cache_{k}")]
    figure, (left, right) = panels(
        *(1, 2, f"Regression on real clips, mean weight {weight.mean():.2f}"),
        "Left: L_reg of every student update"
        + (" and its running average at each time of the student's list. Right: a clip" if caches else ". Right: the")
        + (" harder than the average of its time weighs less than 0.5, an easier one more." if caches else " weight."),
        (9.6, 3.8),
    )
    steps, losses = column(log, "reg")
    left.plot(steps, losses, ".", color=GATE, alpha=0.35, markersize=5, markeredgewidth=0, label="L_reg")
    for k, colour in zip(caches, shades(len(caches)), strict=True):
        at, average = column(log, f"cache_{k}")
        left.plot(at, average, color=colour, label=f"average at t = {times[k]:g}")
    if not caches:
        trace(left, log, "reg", dots=False, color="C0")
    left.set_title("L_reg")
    _headroom(left)
    left.legend(loc="upper right", ncols=2)
    trace(right, log, "w", color="C0")
    mark(right, 0.5, "as hard as usual" if caches else "")
    right.set_title("Weight w")
    right.set_ylim(0, 1)
    for ax in (left, right):
        ax.set_xlabel("step")
    return {"Regression": figure}


def _headroom(ax: Axes, share: float = 0.45) -> None:
    """Room above the data for a legend."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + share * (high - low))
