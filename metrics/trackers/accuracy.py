"""How well tracks agree with the true ones: the metrics of TAP-Vid (Doersch et al. 2022)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

THRESHOLDS = (1, 2, 4, 8, 16)  # pixels

Flags = NDArray[np.bool_]
QueryMode = Literal["first", "strided"]


def tapvid(
    query_frames: NDArray[Any],
    true_tracks: NDArray[Any],
    true_visible: Flags,
    tracks: NDArray[Any],
    visible: Flags,
    query_mode: QueryMode,
) -> dict[str, NDArray[np.float64]]:
    """TAP-Vid metrics of each video, from 0 to 1 (the papers show percent); a benchmark is their mean over videos.

    The numbers of tapnet/tapvid/evaluation_datasets.py, compute_tapvid_metrics. Distances are in whatever pixels the
    tracks are in, which moves every threshold: TAP-Vid scales to 256x256. A ratio of nothing (no visible point to find,
    or no frame besides the query's) is NaN, as it is there: leave that video out of a mean, or count it, but say so.

    Args:
        query_frames: `[..., N]`, rounded to whole frames, halves to even; a track is not judged where it was given.
        true_tracks: (x, y) `[..., N, T, 2]`; true_visible: `[..., N, T]`. tracks, visible: the same, as predicted.
        query_mode: "first" judges the frames after the query, "strided" all other frames.

    Returns:
        Arrays of the leading shape (0-d for a single video): `occlusion_accuracy`, `jaccard_{1,2,4,8,16}` and
        `average_jaccard`, `pts_within_{1,2,4,8,16}` and `average_pts_within_thresh`.

    Raises:
        UserError: shapes do not agree, or a query is in no frame.
    """
    if not (tracks.shape == true_tracks.shape == (*visible.shape, 2) and visible.shape == true_visible.shape):
        raise UserError(
            f"tracks {tracks.shape}, {true_tracks.shape} and visibility {visible.shape}, {true_visible.shape} differ",
            "expected [..., N, T, 2] and [..., N, T]",
        )
    judged = judged_frames(query_frames, true_tracks.shape[-2], query_mode)
    if judged.shape != visible.shape:
        raise UserError(f"query frames {query_frames.shape} do not fit {visible.shape[:-1]} tracks", "one for each")
    found = {"occlusion_accuracy": _ratio((visible == true_visible) & judged, judged)}
    squared = np.square(tracks - true_tracks).sum(-1)
    positives = (true_visible & judged).sum((-2, -1))
    for threshold in THRESHOLDS:
        near = squared < threshold**2
        hits = near & true_visible & judged
        false = visible & ~(near & true_visible) & judged
        found[f"jaccard_{threshold}"] = _quotient((hits & visible).sum((-2, -1)), positives + false.sum((-2, -1)))
        found[f"pts_within_{threshold}"] = _quotient(hits.sum((-2, -1)), positives)
    found["average_jaccard"] = np.mean([found[f"jaccard_{t}"] for t in THRESHOLDS], axis=0)
    found["average_pts_within_thresh"] = np.mean([found[f"pts_within_{t}"] for t in THRESHOLDS], axis=0)
    return found


def judged_frames(query_frames: NDArray[Any], frames: int, query_mode: QueryMode) -> Flags:
    """Which frames of each track count, bool `[..., N, T]`. Raises UserError."""
    given = np.round(query_frames).astype(np.int64)[..., None]
    if ((given < 0) | (given >= frames)).any():
        raise UserError(f"a query is in frame {given.min()} or {given.max()}", f"there are frames 0 to {frames - 1}")
    if query_mode not in ("first", "strided"):
        raise UserError(f'no query mode is called "{query_mode}"', "known: first, strided")
    number = np.arange(frames)
    return np.asarray(number > given if query_mode == "first" else number != given)


def _ratio(part: Flags, whole: Flags) -> NDArray[np.float64]:
    return _quotient(part.sum((-2, -1)), whole.sum((-2, -1)))


def _quotient(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.divide(part, whole), np.float64)
