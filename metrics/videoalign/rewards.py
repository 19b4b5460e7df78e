"""VideoReward's three rewards and their sum (Improving Video Generation with Human Feedback, arXiv 2501.13918)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.api import Clip, Score, register_metric
from metrics.workers.judge import Judge, JudgeOptions, prompt_of

NAMES = ("VQ", "MQ", "TA")


class RewardOptions(JudgeOptions):
    """`fps`, `num_frames` and `max_pixels` as in the official `reward`; None: what the checkpoint's config says."""

    form: Literal["normalised", "raw"] = Field("normalised", description="raw: the reward head's own scale")
    fps: float | None = Field(None, gt=0, description="frames a second that are looked at [default: the checkpoint's]")
    num_frames: int | None = Field(None, ge=2, description="frames that are looked at, instead of fps")
    max_pixels: int | None = Field(None, gt=0, description="of a frame; larger ones are shrunk")


class Reward(Judge):
    """A reward; unbounded, higher is better, and only comparable under the same options. Parts: all, in both forms."""

    tool = "videoalign"
    Config = RewardOptions
    config: RewardOptions
    range = (-50.0, 50.0)  # rewards have no bounds; the published checkpoint's spread is 2.5 at most around 1 to 4
    reward: ClassVar[str]

    @classmethod
    def excluded(cls, config: RewardOptions) -> str:
        return "fps and num_frames exclude each other" if config.fps and config.num_frames else ""

    @classmethod
    def warning(cls, config: RewardOptions) -> str:
        told = [super().warning(config), "raw rewards" if config.form == "raw" else ""]
        return "; ".join(filter(None, told))

    def request(self, clip: Clip) -> dict[str, Any]:
        config = self.config
        sampling = {"fps": config.fps, "num_frames": config.num_frames, "max_pixels": config.max_pixels}
        return {"prompt": prompt_of(clip), **sampling}

    def read(self, answer: Mapping[str, Any]) -> Score:
        raw = {name: float(answer["rewards"][name]) for name in NAMES}
        normalised = normalise(raw, answer["calibration"])
        parts = {"raw": total(raw, self.reward), "normalised": total(normalised, self.reward)}
        return Score(parts[self.config.form], parts)


def normalise(raw: Mapping[str, float], calibration: Mapping[str, float]) -> dict[str, float]:
    """(reward - mean) / std with the `inference_config` of the checkpoint (inference.py, `_norm`).

    The published one: VQ 3.6757, 2.2476; MQ 1.1646, 1.3811; TA 2.8105, 2.5121.
    """
    return {name: (raw[name] - calibration[f"{name}_mean"]) / calibration[f"{name}_std"] for name in NAMES}


def total(rewards: Mapping[str, float], name: str) -> float:
    """One of them, or "Overall", their plain sum (inference.py, `reward`)."""
    return sum(rewards[each] for each in NAMES) if name == "Overall" else rewards[name]


@register_metric
class VisualQuality(Reward):
    """Clarity, aesthetics, and whether single frames are reasonable."""

    name, reward = "videoalign/vq", "VQ"


@register_metric
class MotionQuality(Reward):
    """Stability, naturalness and amplitude of motion; nearly still clips score low."""

    name, reward = "videoalign/mq", "MQ"


@register_metric
class TextAlignment(Reward):
    """How well subject, motion, surroundings, style and camera match the prompt."""

    name, reward = "videoalign/ta", "TA"


@register_metric
class Overall(Reward):
    """The sum of the three."""

    name, reward = "videoalign/overall", "Overall"
