"""TQD's pictures: the plane of motion and visual quality with what is kept of it, and the times each clip trains at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

from methods.diagnosis import GATE, Log, column, house, panels, pearson
from methods.supervised import Supervised
from methods.supervised.parts import score_column
from methods.tqd.equations import beta_parameters
from methods.tqd.parts import Quality, TqdBeta, TqdRetention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

BINS = 200  # of the densities over time
MOST = 2000  # clips that the mixture is computed from; of a larger set, evenly spread rows
QUADRANTS = {  # by (motion high, looks high)
    (True, True): ("both high", "#009E73"),
    (True, False): ("motion only", "#D55E00"),
    (False, True): ("looks only", "#0072B2"),
    (False, False): ("both low", "#CC79A7"),
}


@dataclass(frozen=True)
class Law:
    """t = shift(Beta(a, b)) clamped to [t_min, t_max]: what `TqdBetaOptions` says, with the shift as a number."""

    k_base: float
    k_max: float
    floor: float
    t_min: float
    t_max: float
    shift: float = 1.0

    @classmethod
    def of(cls, part: TqdBeta) -> Law:
        c = part.config
        return cls(c.k_base, c.k_max, c.floor, c.t_min, c.t_max, part.shift)


# ---- numbers ----------------------------------------------------------------------------------------------------


def split(scores: Array) -> float:
    """The threshold between low and high: two groups with the least variance within them (Otsu, 1979).

    Between the modes where there are two, as TQD's thresholds are; near the median where there is one.
    """
    ordered = np.sort(scores)
    counts = np.arange(1, len(ordered))
    low = np.cumsum(ordered)[:-1] / counts
    high = (ordered.sum() - counts * low) / counts[::-1]
    between = counts * counts[::-1] * (high - low) ** 2
    if not len(between) or not between.any():
        return float(np.median(ordered))
    best = int(between.argmax())
    return float(ordered[best : best + 2].mean())


def quadrants(m: Array, q: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Is a clip high in motion, and in looks; two bool `[N]`."""
    return m > split(m), q > split(q)


def representatives(m: Array, q: Array) -> dict[tuple[bool, bool], int]:
    """The clip nearest to the centre of each quadrant that has clips."""
    lively, fine = quadrants(m, q)
    found = {}
    for key in QUADRANTS:
        rows = np.flatnonzero((lively == key[0]) & (fine == key[1]))
        if len(rows):
            distance = (m[rows] - np.median(m[rows])) ** 2 + (q[rows] - np.median(q[rows])) ** 2
            found[key] = int(rows[distance.argmin()])
    return found


def bin_density(cdf: Array) -> Array:
    """Mean density in each of `BINS` equal bins of [0, 1] from the distribution function at their edges, `[..., BINS]`.

    Sums to exactly `cdf[-1] - cdf[0]` times `BINS`: poles of a Beta law at 0 and 1 stay finite.
    """
    return np.diff(cdf, axis=-1) * BINS


def beta_cdf(m: Array, q: Array, law: Law) -> Array:
    """P(t <= e) of each clip at the bin edges e, `[N, BINS + 1]`, with shift and clamp."""
    a, b = beta_parameters(m, q, law.k_base, law.k_max, law.floor)
    edges = np.linspace(0, 1, BINS + 1)
    u = edges / (law.shift - (law.shift - 1) * edges)  # the shift undone
    return clamped(betainc(a[:, None], b[:, None], u), edges, law.t_min, law.t_max)


def logit_normal_cdf(m: float, s: float, t_min: float, t_max: float) -> Array:
    """P(t <= e) of logit-normal time at the bin edges e, `[BINS + 1]`."""
    edges = np.linspace(0, 1, BINS + 1)
    inner = np.log(edges[1:-1] / (1 - edges[1:-1]))
    return clamped(np.concatenate([[0.0], ndtr((inner - m) / s), [1.0]]), edges, t_min, t_max)


def clamped(cdf: Array, edges: Array, low: float, high: float) -> Array:
    """The distribution function of a time that is clamped to [low, high]: what lies beyond gathers at the ends."""
    return np.where(edges >= high, 1.0, np.where(edges < low, 0.0, cdf))


def mixture(m: Array, q: Array, keep: Array, law: Law) -> Array:
    """p(t) = sum_i p_i Beta_i(t) / sum_i p_i `[BINS]`: the times that training really sees."""
    rows = np.linspace(0, len(m) - 1, min(len(m), MOST)).astype(int)
    rows = rows[keep[rows] > 0]
    return np.asarray(np.average(bin_density(beta_cdf(m[rows], q[rows], law)), axis=0, weights=keep[rows]))


# ---- pictures ---------------------------------------------------------------------------------------------------


@house
def plane(m: Array, q: Array, keep: Array) -> dict[str, Figure]:
    """The training set in motion and visual quality, coloured by keep probability. All `[N]`, normalised, finite."""
    r, (lively, fine) = pearson(m, q), quadrants(m, q)
    both = float((lively & fine).mean())
    trend = "do not vary together" if not np.isfinite(r) else f"r = {r:+.3f}"
    figure, (ax,) = panels(
        *(1, 1, f"Motion and visual quality of {len(m)} clips: {trend}"),
        f"Scores are normalised to the training set. Lines part low from high (least variance within the two groups); "
        f"{both:.1%} of the clips are high in both. "
        f"Colour: the probability that a drawn clip is kept, max(m, q); on average {keep.mean():.1%}. Rings: the clips "
        "whose time laws are drawn.",
        (7.2, 5.6),
    )
    drawn = ax.scatter(m, q, c=keep, vmin=0, vmax=1, s=26, linewidths=0.35, edgecolors="#3A4454", zorder=2)
    figure.colorbar(drawn, ax=ax, label="keep probability p", shrink=0.8).outline.set_visible(False)
    ax.axvline(split(m), color=GATE, linewidth=1)
    ax.axhline(split(q), color=GATE, linewidth=1)
    for key, (name, colour) in QUADRANTS.items():
        inside = float(((lively == key[0]) & (fine == key[1])).mean())
        ax.annotate(
            *(f"{name}: {inside:.0%}", (1 if key[0] else 0, 1 if key[1] else 0)), xycoords="axes fraction",
            xytext=(-6 if key[0] else 6, 4), textcoords="offset points", color=colour, fontsize=9,
            ha="right" if key[0] else "left", fontweight="bold",
            va="bottom", bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    for key, row in representatives(m, q).items():
        ax.plot(m[row], q[row], "o", markersize=11, markerfacecolor="none", markeredgewidth=2, color=QUADRANTS[key][1])
    ax.set_xlabel("motion quality m (normalised)")
    ax.set_ylabel("visual quality q (normalised)")
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-0.1, 1.04)
    return {"Quality plane": figure}


@house
def times(m: Array, q: Array, keep: Array, law: Law, log: Log) -> dict[str, Figure]:
    """The Beta law of one clip a quadrant, and the mixture of all clips next to logit-normal time."""
    _, drawn = column(log, "t")
    whole, centres = mixture(m, q, keep, law), (np.arange(BINS) + 0.5) / BINS
    mean = float((whole * centres).mean())
    told = f" The steps taken had mean {drawn.mean():.3f}." if len(drawn) else ""
    figure, (left, right) = panels(
        *(1, 2, "Lively clips train at high noise, fine-looking ones at low noise"),
        "Left: the time law t ~ Beta(μκ, (1-μ)κ) of the ringed clip of each quadrant. Right: all laws weighted by keep "
        f"probability, which is what training sees (mean t {mean:.3f}), next to logit-normal time (mean 0.500).{told}",
        (9.6, 3.9),
        sharey=False,
    )
    for key, row in representatives(m, q).items():
        density = bin_density(beta_cdf(m[[row]], q[[row]], law))[0]
        name, colour = QUADRANTS[key]
        line(left, density, f"{name} (m {m[row]:.2f}, q {q[row]:.2f})", colour)
    line(right, whole, "all clips, as kept", "#0072B2")
    baseline = bin_density(logit_normal_cdf(0.0, 1.0, law.t_min, law.t_max))
    right.plot(centres, baseline, color=GATE, linestyle=(0, (4, 3)), linewidth=1.4, label="logit-normal")
    for ax, title in ((left, "One clip of each quadrant"), (right, "The whole training set")):
        ax.set_title(title)
        ax.set_xlabel("time t (0 clean, 1 noise)")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.35 * max(float(np.quantile(np.asarray(shown.get_ydata()), 0.99)) for shown in ax.get_lines()))
        ax.legend(loc="upper left")
    left.set_ylabel("probability density")
    return {"Time densities": figure}


def line(ax: Axes, density: Array, label: str, colour: str) -> None:
    """A density over the bins, lightly filled."""
    centres = (np.arange(BINS) + 0.5) / BINS
    ax.plot(centres, density, color=colour, label=label)
    ax.fill_between(centres, density, color=colour, alpha=0.1, linewidth=0)


def figures(log: Log, m: Array, q: Array, keep: Array, law: Law | None) -> dict[str, Figure]:
    """All pictures of a training set with normalised scores m, q and keep probabilities, each `[N]`.

    Args:
        law: None where time does not depend on quality; the densities are then left out.
    """
    known = np.isfinite(m) & np.isfinite(q)
    m, q, keep = m[known], q[known], keep[known]
    return {**plane(m, q, keep), **(times(m, q, keep, law, log) if law else {})}


def of(method: Supervised, log: Log) -> dict[str, Figure]:
    """The pictures of a method by the parts it is made of: none if neither its time nor its retention reads quality."""
    law = method.time_law if isinstance(method.time_law, TqdBeta) else None
    retention = method.retention if isinstance(method.retention, TqdRetention) else None
    part = law or retention
    if part is None:
        return {}
    raw = (score_column(method.services, name) for name in part.config.scores)
    m, q = Quality.fit(part.config, method.services)(*raw)
    return figures(log, m, q, method.retention.p, Law.of(law) if law else None)
