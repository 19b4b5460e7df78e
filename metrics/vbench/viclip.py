"""How well a clip and its prompt agree in ViCLIP: overall_consistency and temporal_style, on different prompts."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, Features, FrameChunk, Score
from metrics.vbench.dimension import Dimension, shared
from metrics.vbench.frames import CLIP_MOMENTS, centre_crop, normalise, resize_short_side
from metrics.vbench.middle import MiddleFrames
from metrics.vbench.per_frame import arithmetic

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from torch import Tensor

    from harness.networks.viclip import ViCLIP

PROMPTS = 4096  # whose features are kept


class Words(NamedTuple):
    """A prompt's unit vector `[D]`, and how many of its tokens were read and left out."""

    vector: NDArray[np.float32]
    read: int
    cut: int


class ViClipVideo(MiddleFrames):
    """The unit vector `[D]` of eight frames of a clip; and of prompts, in the same space."""

    name = "vbench/viclip_video"
    count: ClassVar[int] = 8

    def __init__(self, paths: tuple[Path, ...], device: str, precision: str) -> None:
        super().__init__(paths, device, precision)
        self.words = lru_cache(PROMPTS)(self._words)

    @cached_property
    def network(self) -> ViCLIP:
        from harness.networks.viclip import load

        return load(self.paths[0], self.name).to(self.device)

    @cached_property
    def tokens(self) -> SimpleTokenizer:
        from harness.networks.viclip import tokeniser

        return tokeniser(self.network.sizes)

    def load(self) -> None:
        self.network  # noqa: B018

    def prepare(self, chunk: FrameChunk, place: int) -> Tensor:
        side = self.network.sizes.side
        return centre_crop(resize_short_side(chunk.on(self.device)[place : place + 1], side, "bicubic"), side)[0]

    def look(self, frames: Tensor) -> Tensor:
        video = normalise(frames, CLIP_MOMENTS).transpose(0, 1)[None]
        return unit(self.network.vision_encoder(video).float())[0]

    def _words(self, prompt: str) -> Words:
        count, room = len(self.tokens.encode(prompt)), self.network.sizes.context - 2  # less start and end token
        with arithmetic(self.device, self.precision):
            vector = unit(self.network.text_encoder(self.tokens([prompt]).to(self.device)).float())[0]
        return Words(vector.cpu().numpy(), min(count, room), max(0, count - room))


class PromptAgreement(Dimension):
    """Cosine of a clip's and its prompt's ViCLIP features; -1 to 1, in practice 0 to 0.364.

    ViCLIP reads 30 tokens of a prompt, about 25 words; VBench cuts longer ones without a word, here the row says so.
    """

    range = (-1.0, 1.0)

    def skip(self, clip: Clip) -> str:
        return super().skip(clip) or ("" if (clip.prompt or "").strip() else "it has no prompt")

    def native_extractors(self) -> tuple[ViClipVideo]:
        return (shared(ViClipVideo, self.weights(self.config), self.config.device, self.config.precision),)

    def judge(self, clip: Clip, features: Features) -> Score:
        (extractor,) = self.native_extractors()
        seen = features.of(extractor)
        if not len(seen):
            return Score(None, note="no frames")
        words = extractor.words(clip.prompt or "")
        note = f"of the prompt's {words.read + words.cut} tokens, the first {words.read} were read" if words.cut else ""
        return Score(float(seen @ words.vector), {"tokens_cut": words.cut}, note)


def unit(vectors: Tensor) -> Tensor:
    """Vectors along the last axis, divided by their length."""
    return vectors / vectors.norm(dim=-1, keepdim=True)
