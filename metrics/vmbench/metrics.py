"""The five measures and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from harness.api import Clip, Features, Metric, Score, ScoreRow, UserError, register_metric
from metrics.vmbench.measures import FAMILY, KEYS, LEAST, MOST, PER_CENT, mean, mean_of_five
from metrics.workers.judge import Judge, JudgeOptions


class VMBenchOptions(JudgeOptions):
    """How the official scripts are run."""

    seed: int = Field(0, ge=0, description="of whatever the official scripts draw; they set none but for cas")


class Measure(Judge):
    """A measure as VMBench's script for it gives it; each has a process of its own, since their packages clash."""

    Config = VMBenchOptions
    tool = "vmbench"
    measure: ClassVar[str]  # the short name, a key of `KEYS`
    named: ClassVar[bool] = False  # it looks for the prompt's subject
    config: VMBenchOptions

    def settings(self) -> dict[str, Any]:
        return {"metric": self.measure, "seed": self.config.seed}

    def request(self, clip: Clip) -> dict[str, Any]:
        return {"prompt": clip.prompt or "", "subject_noun": subject(clip)} if self.named else {}

    def read(self, answer: Mapping[str, Any]) -> Score:
        return Score(float(answer["entry"][KEYS[self.measure]]), {"frames": float(answer["frames"])})


@register_metric
class PerceptibleAmplitude(Measure):
    """VMBench PAS: how far the subject moves, camera motion taken off where it moves more; a path over the diagonal."""

    name, range = "vmbench/pas", (0.0, MOST)
    measure, purposes, named = "pas", ("pas",), True


@register_metric
class ObjectIntegrity(Measure):
    """VMBench OIS: the share of a person's limbs and joints that keep their lengths and angles from frame to frame."""

    name, measure, purposes, layer = "vmbench/ois", "ois", ("ois",), "pose"


@register_metric
class TemporalCoherence(Measure):
    """VMBench TCS: do objects vanish or emerge without leaving the frame, shrinking, or a detector's error?"""

    name, range = "vmbench/tcs", (LEAST, 1.0)
    measure, purposes, named = "tcs", ("tcs",), True


@register_metric
class CommonsenseAdherence(Measure):
    """VMBench CAS: a five-class video network's expected rating of commonsense, over 30 views."""

    name, measure, purposes = "vmbench/cas", "cas", ("cas",)


@register_metric
class MotionSmoothness(Measure):
    """VMBench MSS: the share of frames without a jump in Q-Align's quality; more motion (PAS) allows larger jumps."""

    name, measure, purposes = "vmbench/mss", "mss", ("mss", "pas")

    def __init__(self, config: VMBenchOptions) -> None:
        super().__init__(config)
        self._amplitude = PerceptibleAmplitude(config)
        self._known: dict[str, float] = {}

    def score(self, clip: Clip, features: Features) -> Score:
        """PAS of the same clip first: asked for, or remembered from when it was scored."""
        amplitude = self._amplitude.score(clip, features).value
        assert amplitude is not None
        self._known = {clip.sha256: amplitude}
        score = super().score(clip, features)
        return Score(score.value, {**score.parts, "pas": amplitude}, score.note)

    def request(self, clip: Clip) -> dict[str, Any]:
        return {KEYS["pas"]: self._known[clip.sha256]}

    def close(self) -> None:
        self._amplitude.close()
        super().close()


@register_metric
class Mean(Metric):
    """VMBench's average: the mean of the five measures, each the mean over clips; times 100 as in its table."""

    name, unit = "vmbench/mean", "%"
    range = (PER_CENT * LEAST / len(KEYS), PER_CENT * (MOST + len(KEYS) - 1) / len(KEYS))
    level = "summary"
    inputs = tuple(FAMILY + name for name in KEYS)

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Score:
        """None, with the reason, unless every measure has a score for every clip."""
        values = {
            name: [row["value"] for row in rows.get(FAMILY + name, ()) if row["value"] is not None] for name in KEYS
        }
        clips = {row["clip"] for found in rows.values() for row in found}
        problems = [
            f"{name}: {len(found)} of {len(clips)} clips" for name, found in values.items() if len(found) < len(clips)
        ]
        means = {name: mean(found) for name, found in values.items() if found}
        parts = {name: PER_CENT * value for name, value in means.items()}
        if problems or len(means) < len(KEYS):
            return Score(None, parts, f"not all clips have all five: {', '.join(problems) or 'there are none'}")
        return Score(PER_CENT * mean_of_five(means), parts)


def subject(clip: Clip) -> str:
    """What the detector is asked to find. Raises UserError: VMBench's prompts name it, other prompts must."""
    noun = clip.meta.get("subject_noun")
    if not (isinstance(noun, str) and noun.strip()):
        raise UserError(
            f"{clip.id}: no subject_noun in its meta",
            "VMBench looks for the prompt's subject: give prompts with subject_noun, as VMBench's prompts.json has it",
        )
    return noun
