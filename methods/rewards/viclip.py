"""ViCLIP: the cosine of a clip and a caption, from the published checkpoint.

What T2V-Turbo computes with it (Ji4chenLi/t2v-turbo, reward_fn/reward_fn.py, get_vi_clip_score_fn): eight frames, the
shorter side to 224, ImageNet's mean and deviation. The crop is the middle where the official one is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import UserError, register_part
from methods.rewards.base import Reward
from methods.rewards.checkpoints import CheckpointOptions, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAME = "viclip"


class ViClipOptions(CheckpointOptions):
    path: str = "OpenGVLab/VBench_Used_Models"  # the same file as in OpenGVLab/ViCLIP, where it is behind a form
    file: str = "ViClip-InternVid-10M-FLT.pth"


@register_part("reward", NAME)
class ViClip(Reward):
    """ViCLIP (InternVid, Wang et al. 2023) on eight evenly strided frames; -1 to 1, in practice 0 to 0.4."""

    formula = "R = cos(clip, caption)"
    source = "ViCLIP"

    Config = ViClipOptions
    kind = "video_text"
    frames: ClassVar[int] = 8
    config: ViClipOptions

    @classmethod
    def check(cls, config: Any) -> None:
        need(config, NAME)

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        return (need(config, NAME),)

    def __init__(self, config: Any, device: torch.device) -> None:
        import torch

        from harness.networks.viclip import load, tokeniser

        super().__init__(config, device)
        self.net = load(need(config, NAME), NAME)
        self.sizes = self.net.sizes
        self.net.to(device, getattr(torch, config.precision))
        self.tokenise = tokeniser(self.sizes)

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        import torch
        from torch.nn.functional import cosine_similarity

        from methods.rewards.frames import IMAGENET_MEAN, IMAGENET_STD, centre_crop, normalise

        count, known = video.shape[2], self.sizes.frames
        if count != known:
            raise UserError(f"{NAME} looks at {known} frames of a clip, got {count}", f"give it {known}")
        images = centre_crop(video.transpose(1, 2).flatten(0, 1).float(), self.sizes.side)
        images = normalise(images, IMAGENET_MEAN, IMAGENET_STD).unflatten(0, (len(video), -1)).transpose(1, 2)
        seen = self.net.vision_encoder(images.to(self.net.temp.dtype))
        with torch.no_grad():
            said = self.net.text_encoder(self.tokenise(list(prompts)).to(self.device))
        return cosine_similarity(seen.float(), said.float()).to(video.dtype)
