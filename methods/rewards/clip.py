"""CLIPScore and HPSv2.1: the cosine of a frame and a caption under a CLIP model, from its published checkpoint.

What T2V-Turbo-v2 computes (Ji4chenLi/t2v-turbo, reward_fn/reward_fn.py, get_clip_score_fn and get_hpsv2_fn): OpenCLIP's
ViT-H-14 laion2B-s32B-b79K on frames stretched to 224 x 224, and the same network with the weights of HPSv2.1 on
frames letterboxed to 224 x 224 (tgxs002/HPSv2, hpsv2/src/open_clip/transform.py ResizeMaxSize).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.api import UserError, register_part
from harness.errors import did_you_mean
from harness.networks.checkpoints import fill, read
from methods.rewards.base import Reward
from methods.rewards.checkpoints import CheckpointOptions, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PLAIN = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}  # of a configuration that needs no other package or hub
FOREIGN = {"timm_model_name", "hf_model_name", "hf_tokenizer_name"}  # of one that does


class ClipOptions(CheckpointOptions):
    """`architecture`: a name among OpenCLIP's or a .json file like theirs; `resize`: how frames become square."""

    architecture: str = "ViT-H-14"
    resize: Literal["stretch", "letterbox", "centre_crop"]


class ClipReward(Reward):
    """Mean over frames of cos(image features, text features); -1 to 1, in practice 0.1 to 0.4."""

    kind = "image_text"
    frames: ClassVar[int] = 2  # T2V-Turbo-v2's M
    name: ClassVar[str]
    config: ClipOptions

    @classmethod
    def check(cls, config: Any) -> None:
        architecture(config.architecture, cls.name)
        need(config, cls.name)

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        return (need(config, cls.name),)

    def __init__(self, config: Any, device: torch.device) -> None:
        import open_clip
        import torch

        super().__init__(config, device)
        shape = architecture(config.architecture, self.name)
        path = need(config, self.name)
        low = None if config.precision == "float32" else torch.bfloat16
        self.net = open_clip.CLIP(**shape, cast_dtype=low)
        fill(self.net, read(path, self.name, "state_dict"), path, self.name)
        if low is not None:
            open_clip.convert_weights_to_lp(self.net, low)
        self.net.to(device).eval().requires_grad_(False)
        self.side = int(shape["vision_cfg"]["image_size"])
        self.tokenise = open_clip.SimpleTokenizer(context_length=self.net.context_length)

    def __call__(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        import torch

        from methods.rewards import frames

        dtype = self.net.visual.conv1.weight.dtype
        images = getattr(frames, self.config.resize)(video.transpose(1, 2).flatten(0, 1).float(), self.side)
        images = frames.normalise(images, frames.CLIP_MEAN, frames.CLIP_STD).to(dtype)
        seen = self.net.encode_image(images, normalize=True).unflatten(0, (len(video), -1))
        with torch.no_grad():
            said = self.net.encode_text(self.tokenise(list(prompts)).to(self.device), normalize=True)
        return (seen.float() * said.float()[:, None]).sum(-1).mean(1).to(video.dtype)


class ClipScoreOptions(ClipOptions):
    path: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    file: str = "open_clip_pytorch_model.bin"
    resize: Literal["stretch", "letterbox", "centre_crop"] = "stretch"


class HPSOptions(ClipOptions):
    path: str = "xswu/HPSv2"
    file: str = "HPS_v2.1_compressed.pt"
    resize: Literal["stretch", "letterbox", "centre_crop"] = "letterbox"


@register_part("reward", "clipscore")
class ClipScore(ClipReward):
    """CLIPScore (Hessel et al. 2021, without its factor 2.5 and its floor), as T2V-Turbo-v2 uses it."""

    formula = "R = cos(frame, caption)"
    source = "OpenCLIP ViT-H-14"

    Config = ClipScoreOptions
    name = "clipscore"


@register_part("reward", "hpsv2.1")
class HPSv21(ClipReward):
    """Human Preference Score v2.1 (Wu et al. 2023): a CLIP tuned on people's choices between images."""

    formula = "R = cos(frame, caption)"
    source = "HPSv2.1"

    Config = HPSOptions
    name = "hpsv2.1"


def architecture(name: str, who: str) -> dict[str, Any]:
    """The arguments of `open_clip.CLIP` that a name or a .json file stands for. Imports neither OpenCLIP nor torch.

    Raises:
        UserError: OpenCLIP is not installed, has no such architecture, or would fetch parts of it elsewhere.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise UserError(f"{who} needs OpenCLIP", "install it with `pip install open-clip-torch`")
    folder = Path(spec.origin).parent / "model_configs"
    path = Path(name) if name.endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        raise UserError(
            f'{who}: no architecture is called "{name}"', did_you_mean(name, (p.stem for p in folder.iterdir()))
        )
    try:
        shape = dict(json.loads(path.read_text(encoding="utf-8")))
        parts = {*shape["vision_cfg"], *shape["text_cfg"]}
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{who}: {path} is not an OpenCLIP configuration: {error}") from error
    if not set(shape) <= PLAIN or parts & FOREIGN:
        raise UserError(f"{who}: {name} is not a plain CLIP", "choose e.g. ViT-H-14, ViT-L-14 or ViT-B-32")
    return shape
