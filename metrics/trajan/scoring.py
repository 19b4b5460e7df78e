"""Numbers of one clip: how well its tracks were predicted, and how much there was to predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metrics.trackers.accuracy import THRESHOLDS, tapvid
from metrics.trajan.protocol import SIDE, Episode

Rule = Literal["colab", "visible_and_certain"]
Resolution = Literal["native", "256"]

RULES: tuple[Rule, ...] = get_args(Rule)
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
ACCURACIES = (
    "average_jaccard",
    "occlusion_accuracy",
    "average_pts_within_thresh",
    *(f"jaccard_{threshold}" for threshold in THRESHOLDS),
    *(f"pts_within_{threshold}" for threshold in THRESHOLDS),
)
NUMBERS = (*ACCURACIES, "moving_jaccard")
STILL = 4.0  # pixels of the 256x256 square: a track that stays within a box of this diagonal does not move
MOTION = ("still", "mean_path", "mean_reach")


def is_occluded(
    visible_logits: NDArray[np.floating], certain_logits: NDArray[np.floating], rule: Rule
) -> NDArray[np.bool_]:
    """Where a point is predicted to be hidden.

    "colab" is what the released code does: `(1 - sigmoid(visible)) * (1 - sigmoid(certain)) > 0.5`, so only where both
    are low (postprocess_occlusions, meant for logits of occlusion and of distance, applied to their opposites).
    "visible_and_certain" is the model's own property of that name, negated: not `sigmoid * sigmoid > 0.5`.
    """
    visible, certain = _sigmoid(visible_logits), _sigmoid(certain_logits)
    if rule == "colab":
        return np.asarray((1 - visible) * (1 - certain) > 0.5)
    return ~np.asarray(visible * certain > 0.5)


def _sigmoid(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def accuracies(
    episode: Episode, tracks: NDArray[np.float32], occluded: NDArray[np.bool_], height: float, width: float
) -> dict[str, float]:
    """TAP-Vid's numbers of the targets, by the names in `ACCURACIES`; NaN where there is nothing to divide by.

    As the colab: all query frames are given as 0, so frame 0 is left out of every track and the frame of the query is
    counted.

    Args:
        tracks: predicted, `[Q, T, 2]` in [0, 1]. occluded: `[Q, T]`.
        height, width: of the frame in whose pixels the thresholds are.
    """
    real, size = slice(episode.frames), np.array([width, height], np.float32)
    found = tapvid(
        np.zeros(len(tracks)),
        episode.targets[:, real] * size,
        episode.target_visible[:, real],
        tracks[:, real] * size,
        ~occluded[:, real],
        "strided",
    )
    return {name: float(found[name]) for name in ACCURACIES}


def numbers(
    episode: Episode, tracks: NDArray[np.float32], occluded: NDArray[np.bool_], height: float, width: float
) -> dict[str, float]:
    """`accuracies`, and `moving_jaccard`: the Average Jaccard of the targets that move, which no still ground can lift.

    That last one is not in the published protocol. NaN where nothing moves.
    """
    found = accuracies(episode, tracks, occluded, height, width)
    moving = reaches(episode.targets, episode.target_visible) >= STILL
    part = replace(episode, targets=episode.targets[moving], target_visible=episode.target_visible[moving])
    return {
        **found,
        "moving_jaccard": accuracies(part, tracks[moving], occluded[moving], height, width)["average_jaccard"],
    }


def reaches(tracks: NDArray[np.float32], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Diagonal of the box around a track's visible positions, in pixels of the 256x256 square, `[N]`; 0 if unseen."""
    low = np.where(visible[..., None], tracks, np.inf).min(1)
    high = np.where(visible[..., None], tracks, -np.inf).max(1)
    return np.where(visible.any(1), np.hypot(*np.maximum(high - low, 0).T.astype(np.float64)), 0.0) * SIDE


def stillness(tracks: NDArray[np.float32], visible: NDArray[np.bool_]) -> dict[str, float]:
    """How little moves, from all tracks of a clip, in pixels of the 256x256 square; names in `MOTION`.

    A track's reach is the diagonal of the box around its visible positions, its path the way between successive visible
    ones. `still` is the share of tracks that reach less than `STILL`; NaN where no track is visible in two frames.

    Args:
        tracks: `[N, F, 2]` in [0, 1]. visible: `[N, F]`.
    """
    seen = visible.sum(1) > 1
    if not seen.any():
        return dict.fromkeys(MOTION, float("nan"))
    reach, paths = reaches(tracks[seen], visible[seen]), []
    for track, flags in zip(tracks[seen], visible[seen], strict=True):
        paths.append(np.hypot(*np.diff(track[flags].astype(np.float64) * SIDE, axis=0).T).sum())
    still = float(np.mean(reach < STILL))
    return {"still": still, "mean_path": float(np.mean(paths)), "mean_reach": float(reach.mean())}
