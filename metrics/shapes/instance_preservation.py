"""Do objects stay what they are? Counting blobs of each colour through time, by classical computer vision."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Clip, Features, Metric, Score, register_metric
from metrics.shapes.instances import EVENTS, follow


@register_metric
class InstancePreservation(Metric):
    """Share of object histories without a merge, a split, a vanishing or an appearance: objects / (objects + events).

    Objects are blobs of one of the six colours of the embedded world, followed through the clip by overlap. An event
    is counted where a history ends (`vanished`; `merged` if another blob of its colour took its place) or begins
    (`appeared`; `split` if it came off another blob of its colour) inside the clip, except at the frame's border, next
    to a blob of another colour (behind which an object may pass), and for gaps and flashes of less than about 0.4 s (a
    flickering object, a frame's error). One event on one object gives 1/2, one on two objects 2/3.
    Parts: objects (the usual number in a frame, at least 1), the four counts, and intact (1 without any event).
    Needs no caption. Not applicable: a single frame, or nothing in those colours. A blob that goes behind another and
    stays there is not counted.
    """

    name: ClassVar[str] = "shapes/instance_preservation"
    moves = {"reverse": "same", "object_swap": "down"}

    def score(self, clip: Clip, features: Features) -> Score:
        if len(features.frames) < 2:
            return Score(None, note="a single frame shows no change")
        history = follow(features.frames, features.fps)
        if history is None:
            return Score(None, note="nothing in the colours of the embedded world")
        parts = {"objects": history.objects, **{name: float(history.events[name]) for name in EVENTS}}
        return Score(history.preserved, {**parts, "intact": float(history.preserved == 1)})
