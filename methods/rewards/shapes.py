"""Rewards of the embedded world that need no download: small networks, shipped with Mutoscope.

They are not the judge: `shapes/*` metrics read clips with another network, trained apart from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.api import UserError, register_part
from harness.networks.checkpoints import fill, read
from methods.rewards.base import Reward, RewardOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "weights"


class ShippedReward(Reward):
    """A reward whose weights are in this package."""

    name: ClassVar[str]
    net: Any

    @classmethod
    def check(cls, config: Any) -> None:
        cls.weights(config)

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        path = WEIGHTS / f"{cls.name}.safetensors"
        if not path.is_file():
            raise UserError(f"{path} is missing", f"make it with `python -m methods.rewards.train {cls.name}`")
        return (path,)

    def fill(self, net: nn.Module) -> Any:
        """The network with the shipped weights, frozen, on the reward's device."""
        (path,) = self.weights(self.config)
        fill(net, read(path, self.name), path, self.name)
        return net.to(self.device).eval().requires_grad_(False)


class ReaderOptions(RewardOptions):
    """`score`: mean log-probability, whose gradient does not fade where the reader is sure, or mean probability."""

    score: Literal["log", "probability"] = "log"


@register_part("reward", "shapes-reader")
class ShapesReader(ShippedReward):
    """Whether each frame shows the objects that the caption names, and no others."""

    formula = "R = mean log p(named shapes) + mean log p(absent)"
    source = "methods/rewards/README.md"

    Config = ReaderOptions
    kind = "image_text"
    frames: ClassVar[int] = 2
    name = "shapes-reader"
    config: ReaderOptions

    def __init__(self, config: Any, device: torch.device) -> None:
        from methods.rewards.networks import Reader

        super().__init__(config, device)
        self.net = self.fill(Reader())

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        from methods.rewards.language import objects
        from methods.rewards.scoring import reading_log, reading_probability

        score = reading_log if self.config.score == "log" else reading_probability
        count = video.shape[2]
        wanted = [said for said in map(objects, prompts) for _ in range(count)]
        logits = self.net(video.transpose(1, 2).flatten(0, 1).float())
        return score(logits, wanted).unflatten(0, (-1, count)).mean(1).to(video.dtype)


@register_part("reward", "shapes-video-text")
class ShapesVideoText(ShippedReward):
    """The cosine of a clip and a caption, objects, motion and camera, under a small two-tower network."""

    formula = "R = cos(clip, caption)"
    source = "methods/rewards/README.md"

    kind = "video_text"
    frames: ClassVar[int] = 8
    name = "shapes-video-text"

    def __init__(self, config: Any, device: torch.device) -> None:
        from methods.rewards.networks import VideoText

        super().__init__(config, device)
        self.net = self.fill(VideoText())

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        import torch
        from torch.nn.functional import cosine_similarity

        from methods.rewards.scoring import number

        if video.shape[2] != self.frames:
            raise UserError(
                f"{self.name} looks at {self.frames} frames of a clip, got {video.shape[2]}", "give it those"
            )
        seen = self.net.video(video.float())
        with torch.no_grad():
            said = self.net.text(number(prompts).to(self.device))
        return cosine_similarity(seen, said).to(video.dtype)
