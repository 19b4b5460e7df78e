"""Instance preservation as the first release of VBench-2.0 has it: objects counted by an open-vocabulary detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api import Clip, Score, register_metric
from metrics.instance.scoring import exact_counts, parse_targets
from metrics.workers.judge import Judge

DIMENSION = "Instance_Preservation"


@register_metric
class InstancePreservationCounting(Judge):
    """Share of frames in which every object of the prompt is detected exactly as often as the prompt says.

    YOLO-World is asked for each label of `meta.auxiliary_info.Instance_Preservation` ("1.orange cat and 1.white cat")
    alone, in every frame; boxes above 0.28 count. With several labels a frame scores the share that is right. Nothing
    is tracked: an object replaced by another of its kind goes unseen. Clips whose prompt names no objects: not
    applicable. Parts: frames, and the mean count of each label.
    """

    name = "instance_preservation@vbench2-0.1.1"
    tool, purposes, layer = "instance-yolo", ("counting",), "ops"

    def skip(self, clip: Clip) -> str:
        found = clip.meta.get("auxiliary_info")
        named = found.get(DIMENSION) if isinstance(found, Mapping) else None
        return "" if named else "its prompt does not say which objects to count"

    def request(self, clip: Clip) -> dict[str, Any]:
        return {"targets": str(clip.meta["auxiliary_info"][DIMENSION])}

    def read(self, answer: Mapping[str, Any]) -> Score:
        targets, counts = parse_targets(answer["targets"]), answer["counts"]
        value = exact_counts(counts, targets)
        means = [sum(frame[place] for frame in counts) / len(counts) for place in range(len(targets))]
        parts = {f"mean_{target.label.replace(' ', '_')}": mean for target, mean in zip(targets, means, strict=True)}
        return Score(value, {"frames": len(counts), **parts})
