"""VBench appearance_style (vbench 0.1.5, appearance_style.py): CLIP ViT-B/32 on frames and the style asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Extractor, Features, FrameChunk, Score, UserError, register_metric
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import clip_square_pil
from metrics.vbench.networks import openai_clip
from metrics.vbench.per_frame import PerFrame, arithmetic

if TYPE_CHECKING:
    from torch import Tensor


@register_metric
class AppearanceStyle(Dimension):
    """Are the frames in the style the prompt asks for? Mean CLIP similarity of frames and the style's name; -1..1.

    The cosine times CLIP's own scale, over 100: that scale is 100 in the published file. Agrees with the official
    package within 1e-6 on a CPU. On a GPU that one computes in half precision, this does not.
    """

    name = "vbench/appearance_style"
    dimension = "appearance_style"
    custom = False
    range = (-1.0, 1.0)

    def native_extractors(self) -> Sequence[Extractor]:
        return (self._frames(),)

    def judge(self, clip: Clip, features: Features) -> Score:
        frames = self._frames()
        return appearance_style(features.of(frames), *frames.text(style(clip)))

    def _frames(self) -> ClipPilFrames:
        return shared(ClipPilFrames, self.weights(self.config), self.config.device, self.config.precision)


def appearance_style(images: NDArray[Any], text: NDArray[Any], scale: float) -> Score:
    """Mean over frames of `scale * cos(image, text) / 100`; part `frames`, by which VBench weighs videos.

    Args:
        images: embeddings `[F, D]`.
        text: embedding `[D]`.
        scale: of CLIP's logits.
    """
    unit, wanted = images.astype(np.float64), text.astype(np.float64)
    cosines = unit @ wanted / (np.linalg.norm(unit, axis=1) * np.linalg.norm(wanted))
    return Score(float(cosines.mean()) * scale / 100, {"frames": len(images)})


def style(clip: Clip) -> str:
    """The style's name, from what VBench's prompt list says of the clip's prompt. UserError if it has none."""
    try:
        return str(clip.meta["auxiliary_info"]["appearance_style"]["appearance_style"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"appearance_style: {clip.id} has no style to compare with",
            "its prompt's auxiliary_info must hold {appearance_style: {appearance_style: ...}}, as VBench's own have",
        ) from error


class ClipPilFrames(PerFrame):
    """CLIP ViT-B/32's embedding of every frame, `[F, 512]`: bicubic with PIL's antialiasing, centre crop."""

    name = "vbench/clip_pil_frames"
    batch = 16

    def __init__(self, paths: tuple[Path, ...], device: str, precision: str) -> None:
        super().__init__(paths, device, precision)
        self.text = lru_cache(maxsize=256)(self._text)

    def load(self) -> None:
        self.net = openai_clip.load(self.paths[0], self.device)

    def rows(self, chunk: FrameChunk, part: slice) -> Tensor:
        return openai_clip.embed(self.net, clip_square_pil(chunk.frames[part]).to(self.device))

    def _text(self, text: str) -> tuple[NDArray[Any], float]:
        """A text's embedding `[512]` and the scale of CLIP's logits; UserError if it is too long."""
        self.ready()
        with arithmetic(self.device, self.precision):
            embedding = self.net.encode_text(openai_clip.tokens(text, self.net, "appearance_style").to(self.device))[0]
        return embedding.float().cpu().numpy(), float(self.net.logit_scale.exp())
