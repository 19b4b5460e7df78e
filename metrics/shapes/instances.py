"""Blobs of the embedded world's colours, followed through a clip. NumPy and OpenCV, nothing learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from metrics.shapes.colours import COLOURS, colour_masks, resized, unit

SHORT_SIDE = 64  # pixels a frame's shorter side is brought to; what follows is in these pixels
LEVEL = 0.25  # of the soft colour mask
MIN_AREA = 24  # pixels: a third of the area of the world's smallest object passing out of the frame
REACH = 4  # how far a blob's outline may move in a frame and still be linked
BESIDE = 4  # blobs this near to another colour's blob may be hidden by it
BORDER = 2  # blobs this near to the border may be leaving or entering
GAP_SECONDS = 0.4  # a blob may be gone this long and be the same one; a shorter life is a flash
EVENTS = ("merged", "split", "vanished", "appeared")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class History:
    """What became of the blobs: their usual number in a frame (at least 1), and how often each event happened."""

    objects: float
    events: Mapping[str, int]

    @property
    def preserved(self) -> float:
        """objects / (objects + events)."""
        return self.objects / (self.objects + sum(self.events.values()))


@dataclass
class Track:
    """One blob through time. `begun` and `ended` name what happened then, None for nothing wrong."""

    masks: dict[int, Mask] = field(default_factory=dict)
    begun: str | None = None
    ended: str | None = None

    @property
    def first(self) -> int:
        return min(self.masks)

    @property
    def last(self) -> int:
        return max(self.masks)


def follow(frames: NDArray[np.uint8], fps: float) -> History | None:
    """History of a clip, uint8 RGB `[F, H, W, 3]`, F >= 2; None when nothing in it has one of the six colours."""
    masks = colour_masks(unit(shrink(frames))) > LEVEL
    gap = max(1, round(GAP_SECONDS * fps))
    blobs = [[components(mask) for mask in clip] for clip in masks]
    solid = np.array([[union(found, masks.shape[2:]) for found in clip] for clip in blobs])
    count, events = np.zeros(len(frames)), Counter[str]()
    for colour in range(len(COLOURS)):
        others = np.logical_or.reduce(np.delete(solid, colour, 0))
        tracks = [t for t in link(blobs[colour], gap, others) if t.last - t.first >= gap or len(frames) <= gap + 1]
        for track in tracks:
            count[track.first : track.last + 1] += 1
            events.update(event for event in (track.begun, track.ended) if event)
    return History(max(1.0, float(np.median(count))), events) if count.any() else None


def shrink(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames with the shorter side at 64 pixels, aspect kept."""
    height, width = frames.shape[1:3]
    scale = SHORT_SIDE / min(height, width)
    return resized(frames, round(height * scale), round(width * scale))


def components(mask: Mask) -> list[Mask]:
    """Connected blobs of at least MIN_AREA pixels, after an opening that cuts bridges of a pixel."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    n, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    return [labels == k for k in range(1, n) if stats[k, cv2.CC_STAT_AREA] >= MIN_AREA]


def union(blobs: list[Mask], shape: tuple[int, ...]) -> Mask:
    """All pixels of some blobs; specks, such as the odd hue of a soft edge, are in none."""
    return np.logical_or.reduce([np.zeros(shape, bool), *blobs])


def link(blobs: list[list[Mask]], gap: int, others: Mask) -> list[Track]:
    """Tracks of one colour's blobs `[frame][blob]`; `others` `[F, H, W]` is where the other colours are.

    Each blob goes on the track it overlaps most, each track takes one blob; a track survives `gap` frames unseen.
    """
    tracks: list[Track] = []
    for now, found in enumerate(blobs):
        alive = [t for t in tracks if now - t.last <= gap + 1]
        overlap = np.array([[_touch(t, now, blob) for blob in found] for t in alive]).reshape(len(alive), len(found))
        free = overlap.copy()
        taken: dict[int, Track] = {}
        while free.size and free.max() > 0:
            i, j = divmod(int(free.argmax()), len(found))
            taken[j] = alive[i]
            free[i], free[:, j] = 0, 0
        for j, blob in enumerate(found):
            if j not in taken:
                parted = any(overlap[i, j] > 0 for i in range(len(alive)))
                begun = None if now <= gap or excused(blob, others[now]) else "split" if parted else "appeared"
                tracks.append(Track({now: blob}, begun))
        for j, track in taken.items():
            track.masks[now] = found[j]
    for track in tracks:
        track.ended = _ending(track, tracks, len(blobs) - 1 - gap, others)
    return tracks


def excused(blob: Mask, others: Mask) -> bool:
    """Whether a blob may begin or end here: at the border of the frame, or beside another colour's blob."""
    inner = blob[BORDER:-BORDER, BORDER:-BORDER]
    return bool(inner.sum() < blob.sum() or (grow(blob, BESIDE) & others).any())


def grow(mask: Mask, pixels: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _touch(track: Track, now: int, blob: Mask) -> int:
    """Pixels of a blob within REACH of a track's last one, farther after a gap."""
    return int((grow(track.masks[track.last], REACH * (now - track.last)) & blob).sum())


def _ending(track: Track, tracks: list[Track], latest: int, others: Mask) -> str | None:
    """What the end of a track is: nothing in the clip's last frames or where it may end, else merged or vanished."""
    last = track.last
    if last >= latest or excused(track.masks[last], others[last]):
        return None
    rest = [t for t in tracks if t is not track and last in t.masks and last + 1 in t.masks]
    swallowed = any((t.masks[last + 1] & grow(track.masks[last], 1)).sum() * 2 > track.masks[last].sum() for t in rest)
    return "merged" if swallowed else "vanished"
