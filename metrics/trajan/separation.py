"""How well `trajan-shapes` tells real motion from damaged: the card's table, `python -m metrics.trajan.separation`.

Clips of the held-out split in which something moves, as they are and damaged: how often a clip scores above itself
damaged, and the area under the curve, the chance that any real clip scores above any damaged one. Once with
ground-truth tracks, once with the LK tracker on pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api import derive_seed
from harness.corruptions import CORRUPTIONS
from harness.tracking import make_tracker
from metrics.trajan.checkpoint import load
from metrics.trajan.damage import DAMAGES, turning
from metrics.trajan.metric import SHAPES_SIDE, SHAPES_TRACKER
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.protocol import SIDE, Episode, draw_queries, make_episode, normalise, resize
from metrics.trajan.reconstruction import predict
from metrics.trajan.scoring import is_occluded, numbers, stillness
from metrics.trajan.sizes import SMALL
from metrics.trajan.table import require_shapes
from metrics.trajan.world import draw_queries as draw_world_queries
from metrics.trajan.world import motion, world

Frames = NDArray[np.uint8]
Scores = dict[str, float]

SHOWN = ("moving_jaccard", "average_jaccard", "occlusion_accuracy", "still")  # the first is the metric's value
HEAD = ("damage", "value", "AJ of all", "OA", "still", "same clip", "by AJ of all", "AUC", "by AJ of all", "by OA")
ACCELERATIONS, UPSIDE_DOWN = "reversed: accelerations", "reversed: upside down"
MOVING = ("drift", "bounce", "orbit", "zigzag", "occlude", "pulse", "spin")  # points go somewhere
CURVED = ("bounce", "orbit", "zigzag")  # things have accelerations


def auc(real: Sequence[float], damaged: Sequence[float]) -> float:
    """Chance that a real clip's score is above a damaged one's; ties count half, clips without a score not."""
    gaps = np.subtract.outer(*(np.asarray(scores)[~np.isnan(scores)] for scores in (real, damaged)))
    return float(np.mean((gaps > 0) + 0.5 * (gaps == 0))) if gaps.size else float("nan")


def wins(real: Sequence[float], damaged: Sequence[float]) -> float:
    """Share of clips that score higher than the same clip damaged; ties count half, clips without a score not."""
    gaps = np.subtract(real, damaged)
    gaps = gaps[~np.isnan(gaps)]
    return float(np.mean((gaps > 0) + 0.5 * (gaps == 0))) if gaps.size else float("nan")


def score(net: TrackAutoEncoder, episode: Episode) -> Scores:
    """Numbers of one episode, as the metric has them by default."""
    tracks, visible, certain = predict(net, episode)
    return numbers(episode, tracks, is_occluded(visible, certain, "colab"), SIDE, SIDE)


def of_truth(net: TrackAutoEncoder, data: Any, index: int, points: int, name: str) -> Scores:
    """Scores of a clip's ground-truth tracks, damaged as `name` says ("" for not at all)."""
    rng = np.random.default_rng(derive_seed("separation", index, name))
    move = motion(data, index)
    if name:
        move = DAMAGES[name](move, rng)
    tracks, visible, _ = move.follow(draw_world_queries(move, 2 * points, 0.0, rng))
    height, width = move.size
    scaled = (tracks / (width, height)).astype(np.float32)
    episode = make_episode(scaled, visible, SMALL.frames, points, points, rng)
    return {**score(net, episode), **stillness(scaled, visible)}


def of_pixels(net: TrackAutoEncoder, data: Any, index: int, points: int, name: str) -> Scores:
    """Scores of a rendered clip, damaged as `name` says, as the metric with the LK tracker gives them."""
    rng = np.random.default_rng(derive_seed("separation pixels", index, name))
    frames = data.video(index)
    if name:
        frames = PIXELS[name](frames, seed=index)
    queries = draw_queries(len(frames), 2 * points, rng, SHAPES_SIDE)
    tracks, visible = make_tracker(SHAPES_TRACKER).track(resize(frames, SHAPES_SIDE), queries)
    height, width = frames.shape[1:3]
    scaled = normalise(tracks, height, width, SHAPES_SIDE)
    episode = make_episode(scaled, visible, SMALL.frames, points, points, rng)
    return {**score(net, episode), **stillness(scaled, visible)}


def _there_and_back(frames: Frames, seed: int) -> Frames:
    return frames[turning(len(frames))]


def _upside_down(frames: Frames, seed: int) -> Frames:
    return np.ascontiguousarray(frames[:, ::-1])


PIXELS: Mapping[str, Callable[..., Frames]] = {
    "shuffle": CORRUPTIONS["shuffle"].apply,
    "teleport": CORRUPTIONS["teleport"].apply,
    "jitter": CORRUPTIONS["jitter"].apply,
    "reversed: there and back": _there_and_back,
    "reversed: there and back, as far": CORRUPTIONS["speed_up"].apply,
    UPSIDE_DOWN: _upside_down,
    "reversed: time": CORRUPTIONS["reverse"].apply,
    "freeze": CORRUPTIONS["freeze"].apply,
}


def choose(data: Any, motions: Sequence[str], count: int) -> list[int]:
    """The first clips in which something moves in one of these ways."""
    rows = enumerate(data.rows())
    fits = (i for i, row in rows if any(thing["motion"] in motions for thing in row.meta["objects"]))
    return [index for _, index in zip(range(count), fits, strict=False)]


def table(
    of: Callable[[str, int], Scores], names: Sequence[str], chosen: Sequence[int]
) -> Iterator[tuple[str, dict[str, float], list[float]]]:
    """(damage, mean scores, separations) of the real clips and of each damage.

    Separations: the same clip undamaged against damaged, by the value and by the Average Jaccard of all points; then
    the area under the curve over all pairs of clips by these two and by occlusion accuracy.
    """
    real = [of("", index) for index in chosen]
    yield "none", _means(real), [0.5] * 5
    for name in names:
        found = [of(name, index) for index in chosen]
        pairs = {key: ([s[key] for s in real], [s[key] for s in found]) for key in SHOWN[:3]}
        same = [wins(*pairs[key]) for key in SHOWN[:2]]
        yield name, _means(found), [*same, *(auc(*pair) for pair in pairs.values())]


def _means(scores: Sequence[Scores]) -> dict[str, float]:
    found = {key: [score[key] for score in scores if not np.isnan(score[key])] for key in SHOWN}
    return {key: float(np.mean(values)) if values else float("nan") for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--points", type=int, default=256, help="support tracks, and as many targets")
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = load(options.weights or require_shapes(), SMALL)
    data = world("heldout", 0, 20 * options.clips)
    sets = (
        ("ground-truth tracks, clips with motion", of_truth, tuple(DAMAGES), MOVING),
        ("ground-truth tracks, clips with a bounce, an orbit or a zigzag", of_truth, (ACCELERATIONS,), CURVED),
        ("ground-truth tracks, clips with a bounce", of_truth, (UPSIDE_DOWN, ACCELERATIONS), ("bounce",)),
        ("LK tracks of pixels, clips with motion", of_pixels, tuple(PIXELS), MOVING),
        ("LK tracks of pixels, clips with a bounce", of_pixels, (UPSIDE_DOWN,), ("bounce",)),
    )
    for title, of, names, motions in sets:
        chosen = choose(data, motions, options.clips)
        print(f"\n{title}: {len(chosen)} clips\n\n| {' | '.join(HEAD)} |\n{'| --- ' * len(HEAD)}|")
        for name, means, areas in table(partial(_call, of, net, data, options.points), names, chosen):
            cells = [f"{value:.3f}" for value in (*means.values(), *areas)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _call(of: Callable[..., Scores], net: TrackAutoEncoder, data: Any, points: int, name: str, index: int) -> Scores:
    return of(net, data, index, points, name)


if __name__ == "__main__":
    main()
