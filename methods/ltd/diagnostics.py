"""LTD's pictures: where a clip moves and where the network errs, and both frame by frame (paper, Figs. 1 and 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api import Backbone, Batch
from methods.diagnosis import house, panels, pearson, shades
from methods.ltd.equations import latent_difference, windowed_mean
from methods.supervised.trainer import squared_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

TIMES = (0.25, 0.5, 0.75)  # where the error is measured; three keep it under a second on one thread
MOST = 8  # probe clips that are measured
COLUMNS = 6  # latent frames of a clip that are shown, evenly spread
LINES = 5  # clips drawn as lines; all are points of the scatter
SEED = 0  # of the noise, so that runs can be compared


@dataclass(frozen=True)
class Probe:
    """What was measured on a few training clips."""

    prompts: list[str]  # [B]
    discrepancy: Array  # D, [B, F, H, W], per voxel whatever the method's norm
    error: Array  # squared error of the native prediction, mean over channels and TIMES, [B, F, H, W]
    video: Array  # decoded latents in [0, 1], [2, F, height, width, 3] of the calmest and the liveliest clip
    shown: tuple[int, int]  # which two


@torch.no_grad()
def measure(student: Backbone, batch: Batch, tau: int) -> Probe:
    """D and the student's error on the probe clips, and the decoded frames of the calmest and the liveliest."""
    x0, cond = batch.latent[:MOST], batch.cond[:MOST]
    d = windowed_mean(latent_difference(x0), tau).double().cpu().numpy()
    generator = torch.Generator().manual_seed(SEED)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float32).to(x0)
    mode = student.net.training
    student.net.eval()
    error = sum(native_error(student, x0, eps, time, cond) for time in TIMES) / len(TIMES)
    student.net.train(mode)
    motion = d.mean((1, 2, 3))
    shown = (int(motion.argmin()), int(motion.argmax()))
    video = (student.decode(x0[list(shown)]).clamp(-1, 1) + 1) / 2
    pick = np.linspace(0, video.shape[2] - 1, x0.shape[2]).round().astype(int)  # the last pixel frame a latent sees
    frames = video[:, :, pick].permute(0, 2, 3, 4, 1).double().cpu().numpy()
    return Probe(list(batch.prompt[:MOST]), d, np.asarray(error), frames, shown)


@torch.no_grad()
def native_error(student: Backbone, x0: Tensor, eps: Tensor, time: float, cond: Tensor) -> Array:
    """mean_c (native_hat - native)^2 at one time, `[B, F, H, W]`."""
    t = torch.full((len(x0),), time, dtype=torch.float64, device=x0.device)
    x_t = student.schedule.add_noise(x0, eps, t.reshape(-1, 1, 1, 1, 1)).to(x0.dtype)
    prediction = student.predict(x_t, t, cond, "native")
    return np.asarray(squared_error(prediction, student.target(x0, eps, t)).mean(1).double().cpu().numpy())


def figures(probe: Probe) -> dict[str, Figure]:
    """Both pictures of a probe."""
    return {**maps(probe), **frames(probe)}


@house
def maps(probe: Probe) -> dict[str, Figure]:
    """Frames, ln(e + D) and error of the calmest and the liveliest clip: a row each, a column per latent frame."""
    shown, frames = list(probe.shown), probe.discrepancy.shape[1]
    at = np.linspace(0, frames - 1, min(frames, COLUMNS)).round().astype(int)
    side = 7.0 / len(at)  # inches of a frame's width
    figure, axes = panels(
        *(6, 1, "Where a clip moves, and where the network errs"),
        "The calmest and the liveliest of the probe clips. Frames decoded from the latent; ln(e + D), the weight that "
        f"LTD adds, one square a latent voxel; squared error of the prediction, mean over channels and t in {TIMES}. "
        "One colour scale a quantity for both clips.",
        (8.1, 1.3 + 6.3 * side * probe.error.shape[2] / probe.error.shape[3]),
    )
    layers = (
        ("decoded", probe.video, None),
        ("ln(e + D)", np.log(np.e + probe.discrepancy[shown]), "cividis"),
        ("error", probe.error[shown], "magma"),
    )
    for number, ax in enumerate(axes):
        place, (name, pictures, cmap) = number // 3, layers[number % 3]
        strip, low, high = montage(pictures[place][at]), float(pictures.min()), float(pictures.max())
        width = strip.shape[1] / strip.shape[0]
        image = ax.imshow(strip, cmap=cmap, vmin=low, vmax=high, extent=(0, width, 0, 1))
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_yticks([])
        ax.set_ylabel(name)
        labels = [f"latent frame {f + 1}" for f in at] if number == len(axes) - 1 else []
        ax.set_xticks([(f + 0.5) * width / len(at) for f in range(len(labels))], labels)
        if cmap:
            figure.colorbar(image, ax=ax, shrink=0.9, pad=0.01).outline.set_visible(False)
        ax.set_anchor("W")  # after the colour bar, which moves it
        if number % 3 == 0:
            ax.set_title(f'{("Calmest", "Liveliest")[place]}: "{_short(probe.prompts[shown[place]])}"')
    return {"Discrepancy map": figure}


def montage(pictures: Array) -> Array:
    """Frames `[F, H, W]` or `[F, H, W, 3]` side by side on a grid fine enough for thin gaps of NaN (or white)."""
    _, height, width = pictures.shape[:3]
    fine = -(-192 // height)
    large = pictures.repeat(fine, 1).repeat(fine, 2)
    gap = np.full((height * fine, width * fine // 24, *pictures.shape[3:]), 1.0 if pictures.ndim == 4 else np.nan)
    return np.concatenate([part for frame in large for part in (frame, gap)], axis=1)[:, : -gap.shape[1]]


@house
def frames(probe: Probe) -> dict[str, Figure]:
    """Frame means of D and of the error, and one against the other."""
    d, error = probe.discrepancy.mean((2, 3)), probe.error.mean((2, 3))
    r = pearson(d.ravel(), error.ravel())
    figure, (left, middle, right) = panels(
        *(1, 3, f"Does the loss follow the motion, frame by frame? r = {r:+.2f}"),
        f"Means over space of D and of the squared error (t in {TIMES}) for each latent frame of {len(d)} probe clips; "
        f"the lines are {min(LINES, len(d))} of them, from calm (dark) to lively (light). The first and last frame "
        "have one neighbour only.",
        (11.6, 3.7),
    )
    order = d.mean(1).argsort()
    chosen = order[np.linspace(0, len(order) - 1, min(LINES, len(order))).round().astype(int)]
    at = np.arange(1, d.shape[1] + 1)
    for clip, colour in zip(chosen, shades(len(chosen)), strict=True):
        left.plot(at, d[clip], "o-", color=colour, markersize=4)
        middle.plot(at, error[clip], "o-", color=colour, markersize=4)
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    right.scatter(d.ravel(), error.ravel(), s=22, linewidths=0, c=np.repeat(rank, d.shape[1]), cmap="viridis")
    for ax, title, x, y in (
        (left, "Discrepancy", "latent frame", "mean D (latent units)"),
        (middle, "Loss", "latent frame", "mean squared error"),
        (right, "Loss against discrepancy", "mean D (latent units)", "mean squared error"),
    ):
        ax.set_title(title)
        ax.set_xlabel(x)
        ax.set_ylabel(y)
    left.set_xticks(at)
    middle.set_xticks(at)
    return {"Loss and discrepancy by frame": figure}


def _short(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
