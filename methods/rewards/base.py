"""What a reward is: a differentiable judge of decoded frames, a part of kind "reward".

@register_part("reward", "brightness")
class Brightness(Reward):
    kind = "image_text"

    def __call__(self, video, prompts):
        return video.mean((1, 2, 3, 4))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.api import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class RewardOptions(Options):
    """What every reward can be told."""

    weight: float = 1.0  # its share of its kind's sum


class Reward(ABC):
    """Scores clips; gradients flow to the pixels, its own weights are frozen."""

    Config: ClassVar[type[RewardOptions]] = RewardOptions
    kind: ClassVar[Literal["image_text", "video_text"]]
    frames: ClassVar[int]  # how many frames of a clip it is shown: any M for images, evenly strided ones for videos

    def __init__(self, config: Any, device: torch.device) -> None:
        self.config, self.device = config, device

    @classmethod
    def check(cls, config: Any) -> None:
        """Raises UserError when weights or packages are missing, naming the file and the command that gets it.

        Called while a run is planned: imports no torch and loads nothing.
        """

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """Files whose bytes decide the reward. Raises UserError as `check` does; imports no torch."""
        return ()

    @abstractmethod
    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        """video `[B, 3, M, H, W]` in [0, 1], one prompt a clip, to rewards `[B]`, mean over frames for images."""
