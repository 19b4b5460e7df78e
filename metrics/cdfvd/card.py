"""Measures the shipped encoder: `python -m metrics.cdfvd.card` prints the table of `weights/README.md`.

For every corruption: the Frechet distance to clean held-out clips, as the encoder sees clips and as it sees single
frames (each shown twice, the features averaged over time), and how well the distance of a batch of 16 clips tells
corrupted batches from real ones. `--reference` first makes `weights/reference.npz` anew.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness import video
from harness.api import Dataset, derive_seed
from harness.corruptions import CORRUPTIONS
from harness.features import extract_key
from metrics.cdfvd.frechet import Gaussian, distance
from metrics.cdfvd.networks import small
from metrics.cdfvd.networks.small import SmallEncoder
from metrics.cdfvd.sampling import fit
from metrics.cdfvd.shapes import FRAMES, REFERENCE, SIDE, ShapesOptions, extractor_of
from metrics.cdfvd.statistics import write
from metrics.cdfvd.train_shapes import shapes_dataset

KNOWN, TESTED = 768, 160  # held-out clips of the reference, and those corrupted
BATCH, BATCHES = 16, 50
STILLS = 8  # frames whose features stand for a clip
SPATIAL, TEMPORAL = "warp, held", "warp, changing"  # whose single frames are bent alike
Frames = NDArray[np.uint8]
Features = NDArray[np.float32]


def through_a_file(frames: Frames) -> Frames:
    """As a metric sees a clip: written and read by the project's own encoder and decoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        video.write(path, frames, 8.0)
        return video.read(path).frames


def clip_feature(net: SmallEncoder, frames: Frames) -> Features:
    """What `cdfvd-shapes` computes of a clip of the world, `[D]`."""
    x = fit(torch.from_numpy(frames[:FRAMES].copy()).permute(0, 3, 1, 2), SIDE)
    return net(small.pixels(x).transpose(0, 1)[None])[0].numpy()


def still_feature(net: SmallEncoder, frames: Frames) -> Features:
    """The same encoder on frames out of time: each as a clip of two equal frames; their mean `[D]`."""
    chosen = np.linspace(0, FRAMES - 1, STILLS).round().astype(int)
    return net.stills(small.pixels(torch.from_numpy(frames[chosen]).permute(0, 3, 1, 2))).mean(0).numpy()


def conditions() -> dict[str, Callable[[Frames, int], Frames]]:
    """Every corruption by name, the clean clips first."""
    made: dict[str, Callable[[Frames, int], Frames]] = {"real": lambda frames, seed: frames}
    made |= {SPATIAL: partial(_warped, changing=False), TEMPORAL: partial(_warped, changing=True)}
    return made | {name: corruption.apply for name, corruption in CORRUPTIONS.items()}


def _warped(frames: Frames, seed: int, changing: bool) -> Frames:
    from metrics.cdfvd.warps import warp

    return warp(frames, seed, changing)


def features(
    net: SmallEncoder, data: Dataset, indices: range, change: Callable[[Frames, int], Frames]
) -> tuple[Features, Features]:
    """Of the clips and of their stills, each `[N, D]`."""
    pairs = []
    with torch.inference_mode():
        for index in indices:
            frames = through_a_file(change(data.video(index), index))
            pairs.append((clip_feature(net, frames), still_feature(net, frames)))
    clips, stills = zip(*pairs, strict=True)
    return np.stack(clips), np.stack(stills)


def batch_distances(found: Features, reference: Gaussian, seed: int) -> NDArray[np.float64]:
    """Of random batches."""
    rng = np.random.default_rng(derive_seed("cdfvd-card", seed))
    draws = [rng.permutation(len(found))[:BATCH] for _ in range(BATCHES)]
    return np.array([distance(Gaussian.of_features(found[draw]), reference) for draw in draws])


def auc(real: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Probability that one of `other` is greater than one of `real`."""
    return float((other[:, None] > real).mean() + 0.5 * (other[:, None] == real).mean())


def table(net: SmallEncoder, data: Dataset) -> Iterator[str]:
    """Lines of the card's table, as they are known."""
    known = [Gaussian.of_features(found) for found in features(net, data, range(KNOWN), conditions()["real"])]
    rows: dict[str, list[float]] = {}
    real: list[NDArray[np.float64]] = []
    for name, change in conditions().items():
        found = features(net, data, range(KNOWN, KNOWN + TESTED), change)
        batches = [batch_distances(f, g, seed) for seed, (f, g) in enumerate(zip(found, known, strict=True))]
        real = real or batches
        rows[name] = [distance(Gaussian.of_features(f), g) for f, g in zip(found, known, strict=True)]
        rows[name] += [auc(of_real, of_other) for of_real, of_other in zip(real, batches, strict=True)]
    yield "| clips | distance | stills | over real | stills | AUC | stills |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, (clips, stills, auc_clips, auc_stills) in rows.items():
        over = clips / rows["real"][0], stills / rows["real"][1]
        yield (
            f"| {name} | {clips:.2f} | {stills:.2f} | {over[0]:.2f} | {over[1]:.2f} "
            f"| {auc_clips:.3f} | {auc_stills:.3f} |"
        )
    clips, stills = (rows[TEMPORAL][k] / rows[SPATIAL][k] for k in (0, 1))
    yield f"{TEMPORAL} over {SPATIAL}: {clips:.2f}, stills {stills:.2f}"


def write_reference(net: SmallEncoder, data: Dataset, path: Path) -> None:
    """Features of the reference's clips."""
    with torch.inference_mode():
        found = np.stack([clip_feature(net, through_a_file(data.video(index))) for index in range(KNOWN)])
    write(path, found, extract_key(extractor_of(ShapesOptions())))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--reference", action="store_true", help="make the reference anew first")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = time.process_time()
    net, data = small.load(), shapes_dataset("heldout", 0, KNOWN + TESTED)
    if options.reference:
        write_reference(net, data, REFERENCE)
    for line in table(net, data):
        print(line, flush=True)
    print(f"{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
