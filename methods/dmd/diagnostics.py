"""Distribution matching's pictures: the gradient by temporal frequency, its size, and the two losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from methods.diagnosis import GATE, Log, column, house, logged, panels, shades, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

BASE, TOTAL = "dmd", "total"  # names in the logs `<name>_f<k>`: DMD's own gradient, and that with all terms


# ---- numbers ----------------------------------------------------------------------------------------------------


def spectrum(log: Log, name: str) -> Array:
    """S_k of every student update that has them, `[updates, F]`; no rows and no columns where they were not logged."""
    frames = 0
    while logged(log, f"{name}_f{frames}"):
        frames += 1
    columns = [column(log, f"{name}_f{k}")[1] for k in range(frames)]
    return np.stack(columns, 1) if columns else np.empty((0, 0))


def terms(log: Log) -> list[str]:
    """Names of the gradient terms added to DMD's, in the order they were logged."""
    names = (key.removesuffix("_f0") for row in log for key in row if key.endswith("_f0"))
    return [name for name in dict.fromkeys(names) if name not in {BASE, TOTAL}]


def gain(log: Log) -> Array:
    """S_k(total) / S_k(dmd) of every update, `[updates, F]`; NaN where DMD has no gradient at a frequency."""
    base, total = spectrum(log, BASE), spectrum(log, TOTAL)
    return np.divide(total, base, out=np.full_like(base, np.nan), where=base > 0)


def still_share(spectra: Array) -> float:
    """sum S_0^2 / sum_k S_k^2: the share of the gradient's energy that is the same on all frames; NaN without any."""
    energy = np.square(spectra).sum(0)
    return float(energy[0] / energy.sum()) if energy.sum() > 0 else float("nan")


# ---- pictures ---------------------------------------------------------------------------------------------------


def figures(log: Log, expected: Sequence[float] | None = None) -> dict[str, Figure]:
    """All pictures of a distribution matching run.

    Args:
        expected: gain on each temporal frequency that theory gives for the terms in use, `[F]`.
    """
    return {**frequencies(log, expected), **sizes(log)}


@house
def frequencies(log: Log, expected: Sequence[float] | None = None) -> dict[str, Figure]:
    """Gradient norms by temporal frequency over training, on average, and what the further terms multiply them by."""
    base, more = spectrum(log, BASE), terms(log)
    if not base.size:
        return {}
    figure, axes = panels(
        *(1, 3 if more else 2, f"{still_share(base):.0%} of DMD's gradient energy is the same on all frames"),
        "The student's gradient split by an orthonormal cosine transform over latent frames: k = 0 is the mean over "
        "frames, higher k is faster change; norm per clip, mean over clips. Energy is the squared norm. "
        + (
            "Right: what the further terms multiply each frequency by, median and middle half of updates."
            if more
            else ""
        ),
        (11.6 if more else 9.6, 3.9),
    )
    _lines(axes[0], log, base.shape[1])
    k = np.arange(base.shape[1])
    for name, label in ((BASE, "DMD"), *((term, term.upper()) for term in more), *([(TOTAL, "total")] if more else [])):
        middle = np.median(spectrum(log, name), axis=0)
        axes[1].plot(k[: len(middle)], middle, "o-", markersize=5, label=label)
    axes[1].set_title("Median over training")
    axes[1].set_ylim(bottom=0)
    if more:
        axes[1].legend()
        _gain(axes[2], gain(log), expected)
    for ax in axes[1:]:
        ax.set_xlabel("temporal frequency k")
        ax.set_xticks(k if len(k) <= 12 else k[:: len(k) // 8])
    return {"Gradient by temporal frequency": figure}


def _lines(ax: Axes, log: Log, frames: int) -> None:
    """DMD's gradient over steps, one line a frequency, the slow ones dark."""
    for k, colour in enumerate(shades(frames)):
        label = {0: "k = 0 (mean)", frames - 1: f"k = {frames - 1} (fastest)"}.get(
            k, f"k = {k}" if frames <= 6 else None
        )
        trace(ax, log, f"{BASE}_f{k}", dots=False, color=colour, label=label)
    ax.set_title("DMD's gradient norm over training")
    ax.set_xlabel("step")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.35 if ax.get_yscale() == "log" else high + 0.35 * (high - low))
    ax.legend(loc="upper right", ncols=2)


def _gain(ax: Axes, gains: Array, expected: Sequence[float] | None) -> None:
    k = np.arange(gains.shape[1])
    low, middle, high = np.nanquantile(gains, (0.25, 0.5, 0.75), axis=0)
    ax.fill_between(k, low, high, color="C0", alpha=0.15, linewidth=0)
    if expected is not None:
        ax.plot(k, expected, color=GATE, linestyle=(0, (4, 3)), linewidth=1.4, label="theory")
    ax.plot(k, middle, "o", color="C0", markersize=6, label="measured")
    ax.set_title("Gain: total over DMD")
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower right")


@house
def sizes(log: Log) -> dict[str, Figure]:
    """Mean |g|, the normaliser, and the losses of student and fake score."""
    if not logged(log, "g_abs", "norm"):
        return {}
    figure, (left, middle, right) = panels(
        *(1, 3, "Student, teacher and fake score while they train"),
        "Left: mean |g|, g = (fake - real) / n: how differently teacher and fake score judge the student's clips. "
        "Middle: the normaliser n = mean |x - real|, how far those clips are from what the teacher would make of them. "
        "Right: the fake score must stay near the loss it began with, or the gradient means nothing.",
        (11.6, 3.6),
    )
    trace(left, log, "g_abs", color="C0")
    trace(middle, log, "norm", color="C2")
    trace(right, log, "kl", color="C0", label="student L_KL")
    trace(right, log, "loss", role="fake", color="C1", label="fake score L_fake")
    right.legend()
    for ax, title in ((left, "Mean |g|"), (middle, "Normaliser n (latent units)"), (right, "Losses")):
        ax.set_title(title)
        ax.set_xlabel("step")
    return {"Scores and losses": figure}
