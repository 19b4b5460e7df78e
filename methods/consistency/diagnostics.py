"""Consistency distillation's pictures: the distillation loss, the rewards, and what motion guidance does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from methods.diagnosis import GATE, Log, column, house, log_scale, panels, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

REWARD = "reward_"
SKIPPED = "reward_skipped"


# ---- numbers ----------------------------------------------------------------------------------------------------


def rewards(log: Log) -> list[str]:
    """Names of the rewards that were logged, in that order."""
    keys = dict.fromkeys(key for row in log for key in row if key.startswith(REWARD) and key != SKIPPED)
    return [key.removeprefix(REWARD) for key in keys]


def paired(log: Log) -> tuple[Array, Array]:
    """(before, after): mean energy of the guided clips of every update that had some."""
    rows = [row for row in log if (row.get("energy_before") or 0) > 0 and row.get("energy_after") is not None]
    return np.array([float(r["energy_before"]) for r in rows]), np.array([float(r["energy_after"]) for r in rows])


def change(before: Array, after: Array) -> Array:
    """after / before - 1 of each pair: below 0, guidance brought the step's motion nearer to the clip's own."""
    return after / before - 1


# ---- pictures ---------------------------------------------------------------------------------------------------


def figures(log: Log, before: Array | None = None, after: Array | None = None) -> dict[str, Figure]:
    """All pictures of a consistency run.

    Args:
        before, after: energies of single clips, `[N]` each, where guidance was prepared for them.
    """
    return {**distillation(log), **energies(log, before, after)}


@house
def distillation(log: Log) -> dict[str, Figure]:
    """The distillation loss, and each reward on its own scale."""
    steps, _ = column(log, "cd")
    if not len(steps):
        return {}
    names = rewards(log)
    count = 1 + len(names)
    across = 2 if count == 4 else min(count, 3)
    down = -(-count // across)
    skipped = int(column(log, SKIPPED)[1].sum())
    figure, axes = panels(
        *(down, across, "Distillation" + (" and rewards" if names else "") + " over training"),
        "The distance between the student's answers at both ends of a solver step"
        + (", and the mean raw reward of its clean clips" if names else "")
        + (f"; {skipped} reward values were not finite and left out." if skipped else "."),
        ({1: 6.4, 2: 9.6, 3: 11.6}[across], 0.5 + 3 * down),
    )
    trace(axes[0], log, "cd", color="C0")
    axes[0].set_title("Distillation loss L_CD")
    for number, (ax, name) in enumerate(zip(axes[1:], names, strict=False), 1):
        trace(ax, log, REWARD + name, color=f"C{number % 7}")
        ax.set_title(f"Reward: {name.replace('_', ' ')}")
    for ax in axes[:count]:
        ax.set_xlabel("step")
    for ax in axes[count:]:
        ax.set_visible(False)
    return {"Distillation": figure}


@house
def energies(log: Log, before: Array | None = None, after: Array | None = None) -> dict[str, Figure]:
    """Motion energy after a guided step against that after the plain one, and how much it changed."""
    batches, clips = paired(log), _positive(before, after)
    known = clips if len(clips[0]) >= len(batches[0]) else batches
    if not len(known[0]):
        return {}
    changes = change(*known)
    what = "clips" if known is clips else "updates"
    figure, (left, right) = panels(
        *(1, 2, f"Motion guidance lowered the energy of {(changes < 0).mean():.0%} of {len(changes)} {what}"),
        "Energy: how far the temporal attention of a solver step's result is from that of the inverted training clip. "
        "Below the diagonal, and left of zero, guidance brought the step nearer to the clip's motion. Dots: means over "
        f"the guided clips of one update; rings: clips of the probe batch. Median change {np.median(changes):+.2%}.",
        (9.6, 4.2),
    )
    _scatter(left, batches, clips)
    right.hist(100 * changes, bins=min(30, max(5, len(changes) // 4)), color="C0", alpha=0.85, edgecolor="white")
    right.axvline(0, color=GATE, linewidth=1.2)
    right.axvline(100 * float(np.median(changes)), color="C1", linewidth=1.8, label="median")
    right.set_title("Change of the energy")
    right.set_xlabel("after / before - 1 (%)")
    right.set_ylabel(what)
    right.legend()
    return {"Motion guidance": figure}


def _scatter(ax: Axes, batches: tuple[Array, Array], clips: tuple[Array, Array]) -> None:
    ax.plot(*batches, "o", color="C0", alpha=0.5, markersize=4.5, markeredgewidth=0, label="updates")
    if len(clips[0]):
        ax.plot(*clips, "o", markerfacecolor="none", color="C1", markersize=8, markeredgewidth=1.6, label="probe clips")
    values = np.concatenate([*batches, *clips])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 10 * low:
        log_scale(ax)
        log_scale(ax, "x")
        low, high = low / 1.2, high * 1.2
    else:
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    ax.plot([low, high], [low, high], color=GATE, linewidth=1.2, zorder=0)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    ax.set_title("Energy of the guided step")
    ax.set_xlabel("before (plain step)")
    ax.set_ylabel("after (guided step)")
    ax.legend(loc="upper left")


def _positive(before: Array | None, after: Array | None) -> tuple[Array, Array]:
    """Pairs with a positive energy; clips without motion to follow have none."""
    if before is None or after is None:
        return np.empty(0), np.empty(0)
    known = before > 0
    return before[known], after[known]
