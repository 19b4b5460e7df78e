"""Backbones that break one promise each: (class, the check that must fail, its words). The sound one is the toy."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.api import ClipSpec, Want
from tests.conformance.breaking import breaker
from tests.toys import ToyBackbone

BROKEN, breaks = breaker()


@breaks("declaration", "capabilities() names ['telepathy']")
class UnknownCap(ToyBackbone):
    """An ability nobody asks for."""

    @classmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        return frozenset({"telepathy"})


@breaks("load", "capabilities() promises ['decode_grad', 'guidance_embed', 'motion_embed'], the loaded backbone has []")
class FewerCaps(ToyBackbone):
    """Promises more than it has."""

    @classmethod
    def load(cls, config: Any, device: torch.device) -> ToyBackbone:
        made = cls(config, device)
        made.caps = frozenset()
        return made


@breaks("digest", "digest() answers differently when it is asked again")
class RandomDigest(ToyBackbone):
    """Another one every time."""

    @classmethod
    def digest(cls, config: Any) -> str:
        return os.urandom(16).hex()


@breaks("digest", "digest() is another one in another process")
class ProcessDigest(ToyBackbone):
    """Python's hash of a text, which every process salts."""

    @classmethod
    def digest(cls, config: Any) -> str:
        return f"{hash(config.model_dump_json()) % 2**64:016x}"


@breaks("schedule", "t = 0 is data")
class Backwards(ToyBackbone):
    """Time runs from noise to data."""

    def __init__(self, config: Any, device: torch.device) -> None:
        super().__init__(config, device)
        inner = self.schedule
        self.schedule = copy.copy(inner)
        self.schedule.alpha = lambda t: t  # type: ignore[method-assign]
        self.schedule.sigma = lambda t: 1 - t  # type: ignore[method-assign]


@breaks("text", "a caption is encoded as the null condition is")
class DeafText(ToyBackbone):
    """Reads no captions."""

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        return super().encode_text(["the same"] * len(prompts))


@breaks("text", "a text is encoded differently beside others")
class CrowdedText(ToyBackbone):
    """Centres the texts of a batch."""

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        found = super().encode_text(prompts)
        return found - found.mean(0)

    def null_cond(self, n: int) -> Tensor:
        return super().encode_text([""] * n)


@breaks("codec", "decode gives [2, 3, 9, 48, 32] for clips of [2, 3, 9, 32, 48]")
class Turned(ToyBackbone):
    """Decodes with height and width exchanged."""

    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents).transpose(3, 4)


@breaks("codec", "encode answers differently the second time")
class Posterior(ToyBackbone):
    """Samples its posterior."""

    def encode(self, video: Tensor) -> Tensor:
        found = super().encode(video)
        return found + 0.1 * torch.randn(found.shape).to(found)


@breaks("codec", "encode gives [2, 3, 9, 4, 6], latent_shape says [2, 3, 3, 4, 6]")
class WrongShape(ToyBackbone):
    """Promises fewer frames than it makes."""

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        c, f, h, w = super().latent_shape(spec)
        return c, -(-f // 3), h, w


@breaks("one frame", "crashes on clips of one frame")
class TwoFrames(ToyBackbone):
    """Takes a second frame for granted."""

    def encode(self, video: Tensor) -> Tensor:
        return super().encode(video) + 0 * video[:, :, 1].mean()


@breaks("predictions", "flow is not eps - x0")
class WrongSign(ToyBackbone):
    """x0 - eps."""

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        found = super().predict(x, t, cond, want, embeds)
        return -found if want == "flow" else found


@breaks("predictions", "alpha x0 + sigma eps is not the x it was asked about")
class OtherPoint(ToyBackbone):
    """Its x0 is of another point."""

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        found = super().predict(x, t, cond, want, embeds)
        return 1.1 * found if want == "x0" else found


@breaks("target", "target() does not say x0: it is not the native flow")
class WrongTarget(ToyBackbone):
    """x0 - eps for a network that answers eps - x0."""

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return x0 - eps


@breaks("independence", "the first clip's answer changes with the others of its batch")
class Mates(ToyBackbone):
    """Takes the batch's mean out of every caption."""

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        return super().predict(x, t, cond - cond.mean(0), want, embeds)


@breaks("independence", "predict() draws from (or seeds) the global generator of torch")
class Dropout(ToyBackbone):
    """Dropout that is always on."""

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        kept = torch.nn.functional.dropout(torch.ones_like(cond), 0.5)
        return super().predict(x, t, cond * kept, want, embeds)


@breaks("copies", "training a copy changes the original: clone() shares weights")
class SharedCopies(ToyBackbone):
    """Copies share their network."""

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> ToyBackbone:
        other = super().clone(trainable, embeds)
        for mine, theirs in zip(self.net.parameters(), other.net.parameters(), strict=False):
            theirs.data = mine.data
        return other


@breaks("copies", "clone(trainable=False) can be trained")
class NeverFrozen(ToyBackbone):
    """Ignores that a copy should be frozen."""

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> ToyBackbone:
        return super().clone(True, embeds)


@breaks("copies", "a fresh copy answers differently")
class NewWeights(ToyBackbone):
    """Copies start from other weights."""

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> ToyBackbone:
        other = super().clone(trainable, embeds)
        with torch.no_grad():
            next(iter(other.net.parameters())).add_(0.5)
        return other


@breaks("scalar embeddings", "of a copy without that embedding must be a TypeError")
class IgnoresEmbeds(ToyBackbone):
    """Takes scalars that it has no embedding for."""

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        return super().predict(x, t, cond, want)


@breaks("gradient through decode", "RuntimeError: element 0 of tensors does not require grad")
class NoGradient(ToyBackbone):
    """Promises gradient through its codec, and stops it."""

    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents.detach())


@breaks("temporal attention", "rows do not sum to 1")
class Unnormalised(ToyBackbone):
    """Attention before its softmax."""

    @classmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        return frozenset({"temporal_attention"})

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        flat = x.flatten(3).mean(3).transpose(1, 2)
        return {"only": (flat @ flat.transpose(1, 2))[:, None]}
