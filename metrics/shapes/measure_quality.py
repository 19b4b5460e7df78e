"""How well the quality judges agree with the truth, on held-out clips: the numbers of `weights/QUALITY.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.api import ClipSpec, derive_seed
from harness.corruptions import CORRUPTIONS
from harness.data.shapes import Shapes, ShapesConfig
from harness.data.world import MQ_THRESHOLD, VQ_THRESHOLD
from harness.data.world.casting import Cast
from metrics.shapes.quality import Which, marks, raw
from metrics.shapes.train_quality import through_codec

SETS: Mapping[Literal["set-a", "set-b"], int] = {"set-a": 300, "set-b": 200}  # presets and clips of each
CORRUPTED = 60  # clips of the comparison of real with corrupted
POOL = 100  # clips looked through for each
QUIET = 40  # clips of each kind in which nothing moves by itself
SEED = 31  # of the held-out stream; nothing was chosen on it
BOTH: tuple[Which, ...] = ("mq", "vq")
HIGH = {"mq": MQ_THRESHOLD, "vq": VQ_THRESHOLD}

Scores = Mapping[Which, NDArray[np.float64]]


def judged(clips: Sequence[NDArray[np.uint8]], weights: Path) -> dict[Which, NDArray[np.float64]]:
    """Both scores of every clip `[F, 64, 64, 3]`."""
    found = [marks(clip) for clip in clips]
    return {which: np.array([raw(each, which, weights) for each in found]) for which in BOTH}


def card(weights: Path) -> Iterator[str]:
    """The card's tables, a line each."""
    yield "| clips | n | mq r | mq rank r | mq error | vq r | vq rank r | vq error | quadrant |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for preset, count in SETS.items():
        data = Shapes(ShapesConfig(size=count, seed=SEED, split="heldout", preset=preset), ClipSpec())
        truth: Scores = {which: np.array([row.scores[which] for row in data.rows()]) for which in BOTH}
        clips = [data.video(index) for index in range(count)]
        for about, shown in (("as rendered", clips), ("as mp4", [through_codec(clip) for clip in clips])):
            yield agreement_line(f"{preset}, {about}", judged(shown, weights), truth)
    clips = lively(CORRUPTED)
    real = judged([through_codec(clip) for clip in clips], weights)
    yield from clean(real, weights)
    yield "| corruption | AUC of mq | mean mq | AUC of vq | mean vq |"
    yield "| --- | --- | --- | --- | --- |"
    for name, corruption in CORRUPTIONS.items():
        bad = [through_codec(corruption.apply(clip, derive_seed(SEED, i))) for i, clip in enumerate(clips)]
        found = judged(bad, weights)
        cells = [f"{auc(real[which], found[which]):.3f} | {found[which].mean():.2f}" for which in BOTH]
        yield f"| {name} | {' | '.join(cells)} |"


def clean(real: Scores, weights: Path) -> Iterator[str]:
    """Undamaged clips by what moves in them, against those in which something does: does standing still cost?"""
    yield "| clean clips, as mp4 | n | mean mq | mq high | AUC of mq | mean vq | vq high | AUC of vq |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    groups = {
        "something moves": real,
        "only the camera moves": judged([through_codec(clip) for clip in quiet(QUIET, camera=True)], weights),
        "nothing moves": judged([through_codec(clip) for clip in quiet(QUIET, camera=False)], weights),
    }
    for about, found in groups.items():
        cells = [
            f"{found[w].mean():.2f} ± {found[w].std():.2f} | {(found[w] >= HIGH[w]).mean():.3f} | "
            f"{auc(real[w], found[w]):.3f}"
            for w in BOTH
        ]
        yield f"| {about} | {len(found['mq'])} | {' | '.join(cells)} |"


def lively(count: int) -> list[NDArray[np.uint8]]:
    """Clean held-out clips in which something moves."""
    return _first(count, lambda cast: cast.lively)


def quiet(count: int, camera: bool) -> list[NDArray[np.uint8]]:
    """Clean held-out clips in which no thing moves, and the camera does or does not."""
    return _first(count, lambda cast: not cast.lively and (cast.camera != "still") == camera)


def _first(count: int, fits: Callable[[Cast], bool]) -> list[NDArray[np.uint8]]:
    size = POOL * count
    data = Shapes(ShapesConfig(size=size, seed=SEED, split="heldout"), ClipSpec())
    found = (data.video(index) for index in range(size) if fits(data.scene(index).cast))
    return [clip for clip, _ in zip(found, range(count), strict=False)]


def agreement_line(about: str, found: Scores, truth: Scores) -> str:
    """Pearson's and Spearman's correlation and root mean square error of both scores, and the share in the right
    quadrant of TQD's plane."""
    cells = []
    for which in BOTH:
        a, b = found[which], truth[which]
        pearson, spearman = np.corrcoef(a, b)[0, 1], np.corrcoef(rankdata(a), rankdata(b))[0, 1]
        cells += [f"{pearson:.3f}", f"{spearman:.3f}", f"{np.sqrt(np.square(a - b).mean()):.2f}"]
    right = np.logical_and.reduce([(found[w] >= HIGH[w]) == (truth[w] >= HIGH[w]) for w in BOTH])
    return f"| {about} | {len(right)} | {' | '.join(cells)} | {right.mean():.3f} |"


def auc(real: NDArray[np.float64], corrupted: NDArray[np.float64]) -> float:
    """Probability that an undamaged clip scores above a corrupted one; ties count half (Mann and Whitney)."""
    ranks = rankdata(np.concatenate([real, corrupted]))[: len(real)]
    return float((ranks.sum() - len(real) * (len(real) + 1) / 2) / (len(real) * len(corrupted)))
