"""VBench human_action (vbench 0.1.5, human_action.py)."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Features, FrameChunk, Score, register_metric
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import IMAGENET_MOMENTS, centre_crop, normalise, short_side_size
from metrics.vbench.middle import MiddleFrames

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.vbench.networks.umt import UMT

SHORTER, SIDE = 256, 224  # frames are shrunk or enlarged to the one, their middle square has the other
TOP, CERTAIN = 5, 0.85  # an action is recognised if it is among the first five, with at least this probability


class UmtActions(MiddleFrames):
    """Probabilities `[400]` of Kinetics' actions, in the order of kinetics400.txt, each between 0 and 1 by itself."""

    name = "vbench/umt_actions"
    count: ClassVar[int] = 16

    @cached_property
    def network(self) -> UMT:
        from metrics.vbench.networks.umt import load

        return load(self.paths[0], self.name).to(self.device)

    def load(self) -> None:
        self.network  # noqa: B018

    def prepare(self, chunk: FrameChunk, place: int) -> Tensor:
        import torch

        return centre_crop(torch.tensor(to_short_side(chunk.frames[place])).permute(2, 0, 1), SIDE)

    def look(self, frames: Tensor) -> Tensor:
        video = normalise(frames, IMAGENET_MOMENTS).transpose(0, 1)[None]
        return self.network(video)[0].float().sigmoid()


@register_metric
class HumanAction(Dimension):
    """1 if the action that the prompt names is recognised in the clip, else 0.

    Recognised: among the five most probable of Kinetics' 400 actions by UMT, with a probability of at least 0.85,
    rounded to four digits. VBench reads the action off the file's name; here it is the same rule on the prompt. A
    prompt that names none of the 400 scores 0 there and under the standard protocol; a clip of your own then has no
    score, because no clip could have passed.
    """

    name = "vbench/human_action"
    dimension = "human_action"

    def skip(self, clip: Clip) -> str:
        reason = super().skip(clip)
        if reason or self.config.protocol == "standard":
            return reason
        return "" if action(clip.prompt or "") in actions() else "its prompt names none of Kinetics' 400 actions"

    def native_extractors(self) -> tuple[UmtActions]:
        return (shared(UmtActions, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        seen = features.of(*self.native_extractors())
        if not len(seen):
            return Score(None, note="no frames")
        return recognised(seen, action(clip.prompt or ""))


def recognised(probabilities: NDArray[np.float32], wanted: str) -> Score:
    """The score of a clip with these probabilities `[400]`; parts: the wanted action's, and the most probable one's."""
    parts = {"highest": float(probabilities.max())}
    if wanted not in actions():
        return Score(0.0, parts, f'"{wanted}" is none of the 400 actions')
    probability = probabilities[actions().index(wanted)]
    rank = int((probabilities > probability).sum())
    passed = rank < TOP and round(float(probability), 4) >= CERTAIN
    return Score(float(passed), {"probability": float(probability), **parts})


def action(prompt: str) -> str:
    """What a prompt says that a person is doing, in small letters: "A person is tying tie" -> "tying tie".

    The official rule for file names, applied to the prompt: a hyphen or an underscore ends it.
    """
    return prompt.lower().split("-")[0].split("person is ")[-1].split("_")[0]


@cache
def actions() -> tuple[str, ...]:
    """The actions of Kinetics-400 in the order of UMT's classes, in small letters."""
    return tuple((Path(__file__).parent / "kinetics400.txt").read_text(encoding="utf-8").splitlines())


def to_short_side(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame `[H, W, 3]` brought to a shorter side of 256 px, bilinearly, by OpenCV.

    Source: vbench 0.1.5, third_party/umt/functional.py, resize_clip.
    """
    import cv2

    height, width = frame.shape[:2]
    height, width = short_side_size(height, width, SHORTER)
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
