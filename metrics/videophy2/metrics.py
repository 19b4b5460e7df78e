"""The judge's four numbers, all read from one answer a clip."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from harness.api import Clip, Score, register_metric
from metrics.videophy2.reading import VERDICTS, joint, note, rating, verdict
from metrics.workers.judge import Judge, prompt_of


class VideoPhy2(Judge):
    """Asks both ratings at once, and the rule if the clip has one (`rule` in its meta), so that the numbers cost one
    decoding and are of one state of the judge."""

    tool = "videophy2"

    def request(self, clip: Clip) -> dict[str, Any]:
        request = {"caption": prompt_of(clip)}
        return request | {"rule": clip.meta["rule"]} if clip.meta.get("rule") else request

    def read(self, answer: Mapping[str, Any]) -> Score:
        return self.of(answer["replies"])

    @abstractmethod
    def of(self, replies: Mapping[str, str]) -> Score:
        """The score in the judge's replies, by the official name of the task: sa, pc, rule."""


@register_metric
class SemanticAdherence(VideoPhy2):
    """Does the clip show what its caption says? 1 (no relevance) to 5 (perfect match), by VideoPhy-2 AutoEval."""

    name, range = "videophy2/semantic_adherence", (1.0, 5.0)

    def of(self, replies: Mapping[str, str]) -> Score:
        return Score(float(rating(replies["sa"])), note=note(replies["sa"]))


@register_metric
class PhysicalCommonsense(VideoPhy2):
    """Does the clip keep to everyday physics? 1 (significant violations) to 5 (full compliance), by AutoEval."""

    name, range = "videophy2/physical_commonsense", (1.0, 5.0)

    def of(self, replies: Mapping[str, str]) -> Score:
        return Score(float(rating(replies["pc"])), note=note(replies["pc"]))


@register_metric
class Joint(VideoPhy2):
    """1 if both VideoPhy-2 ratings are at least 4, else 0; the mean is the benchmark's joint performance."""

    name = "videophy2/joint"

    def of(self, replies: Mapping[str, str]) -> Score:
        semantic, physical = rating(replies["sa"]), rating(replies["pc"])
        parts = {"semantic_adherence": float(semantic), "physical_commonsense": float(physical)}
        return Score(joint(semantic, physical), parts)


@register_metric
class Rule(VideoPhy2):
    """1 if the clip follows the physical rule in its meta (`rule`), 0 if it violates it, by VideoPhy-2 AutoEval."""

    name = "videophy2/rule"

    def skip(self, clip: Clip) -> str:
        return "" if clip.meta.get("rule") else "the clip has no physical rule"

    def of(self, replies: Mapping[str, str]) -> Score:
        said = verdict(replies["rule"])
        if said == 2:
            return Score(None, note=VERDICTS[said])
        return Score(float(said), note=note(replies["rule"]))
