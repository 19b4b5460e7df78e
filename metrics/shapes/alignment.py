"""Does a clip show what its caption says? Judged by the shipped reader, for captions of the embedded world."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.api import Clip, Features, Metric, Score, register_metric
from metrics.shapes import reader
from metrics.shapes.agreement import agree


@register_metric
class Alignment(Metric):
    """Objects with their colours and shapes, their motions and the camera, against the caption's ground truth.

    Parts of one clip, each in [0, 1]:
    objects = named / (captioned + spurious): captioned objects read as present in their colour with the right shape
    (a morph's is the one it starts from), over all captioned objects and colours read as present without a caption,
    so that inventing objects costs as much as missing them.
    motion = captioned objects present with the right motion class, over captioned objects.
    camera = 1 or 0.
    direction = drifting objects read as drifts in the right direction, over captioned drifts; only where there is one.
    value = mean(objects, motion, camera); direction stands beside it.
    Not applicable: a clip without ground truth, a single frame, a caption without objects.
    """

    name: ClassVar[str] = "shapes/alignment"
    moves = {"blur": "same", "noise": "same", "freeze": "down", "shuffle": "down", "object_swap": "down"}

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        return (reader.WEIGHTS,)

    def score(self, clip: Clip, features: Features) -> Score:
        if "objects" not in clip.meta or "camera" not in clip.meta:
            return Score(None, note="no ground truth")
        if not clip.meta["objects"]:
            return Score(None, note="no captioned objects")
        if len(features.frames) < 2:
            return Score(None, note="a single frame shows no motion")
        match = agree(clip.meta, reader.read(features.frames))
        found = {"objects": match.objects, "motion": match.motion, "camera": match.camera}
        parts = {name: part for name, part in found.items() if part is not None}
        return Score(match.value, parts if match.direction is None else {**parts, "direction": match.direction})
