"""What the adapters of diffusers' discrete-time (variance-preserving) pipelines share."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from harness.api import Backbone, Options, VariancePreserving, Want, Weights, convert
from harness.backbones.base import spread
from harness.backbones.pipeline_folder import Layout, find, folder_digest, need, weights
from harness.backbones.wan import quiet

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CAPS = frozenset({"decode_grad", "temporal_attention", "guidance_embed", "motion_embed"})


class PipelineConfig(Options):
    """Where the weights are.

    `path`: a pipeline folder, or the id of a downloaded hub model. `negative_prompt`: what guidance goes away from.
    """

    path: str
    revision: str | None = None
    negative_prompt: str = ""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class PipelineBackbone(Backbone):
    """A denoiser over discrete noise levels, its codec and its text encoder, read from one folder."""

    Config: ClassVar[type[Options]] = PipelineConfig
    layout: ClassVar[Layout]
    schedule: VariancePreserving
    net: Any  # diffusers' classes are untyped

    def __init__(self, pipe: Any, net: Any, config: Any) -> None:
        """`pipe` holds what clones share (tokenizer, text encoder, codec, all frozen); `net` is this one's own."""
        from harness.backbones.discrete import alphas_cumprod, native

        self.pipe, self.net, self.config = pipe, net, config
        self.schedule = VariancePreserving(alphas_cumprod(pipe.scheduler.config))
        self.native = native(pipe.scheduler.config)  # type: ignore[assignment]  # one of the literals
        self.caps = CAPS
        self._null: Tensor | None = None

    @classmethod
    def load(cls, config: Any, device: torch.device) -> Self:
        import torch

        folder = cls._whole(config)
        with quiet():
            pipe = cls._read(folder, config).to(device)
        net = getattr(pipe, cls.layout.trained)
        pipe.register_modules(**{cls.layout.trained: None})
        for part in (pipe.vae, pipe.text_encoder):
            part.requires_grad_(False).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # a loss draws its randomness from `batch.noise` alone
        return cls(pipe, net.eval(), config)

    @classmethod
    def _whole(cls, config: Any) -> Path:
        """The folder, complete and of a kind this adapter can drive; UserError otherwise."""
        folder = need(cls.layout, config.path, config.revision)
        cls.check_configs(folder)
        return folder

    @classmethod
    def check_configs(cls, folder: Path) -> None:
        """Raises UserError for a relative of the model that this adapter cannot drive."""

    @classmethod
    def _read(cls, folder: Path, config: Any) -> Any:
        """diffusers' pipeline of the folder; the codec in float32 whatever the network's dtype."""
        import diffusers
        import torch

        types = {"default": getattr(torch, config.dtype), "vae": torch.float32}
        return getattr(diffusers, cls.layout.pipeline).from_pretrained(folder, torch_dtype=types, local_files_only=True)

    @classmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        return CAPS

    @classmethod
    def weights(cls, config: Any) -> Weights:
        return weights(cls.layout, config.path, lambda: cls._whole(config))

    @classmethod
    def digest(cls, config: Any) -> str:
        folder = find(config.path, config.revision)
        if folder is None:
            identity = f"{config.path}@{config.revision}"
        else:
            identity = folder_digest(cls.layout, cls._whole(config))
        options = config.model_dump(mode="json", exclude={"path", "revision"})
        return hashlib.sha256(json.dumps([cls.name, identity, options]).encode()).hexdigest()

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        from harness.backbones.embeds import given

        with given(self.net, embeds):
            answer = self._forward(x.to(self.net.dtype), self.schedule.index(t).to(x.device), cond.to(self.net.dtype))
        return convert(answer.to(x.dtype), x, spread(t.double(), x.double()), self.schedule, self.native, want).to(x)

    @abstractmethod
    def _forward(self, x: Tensor, index: Tensor, cond: Tensor) -> Tensor:
        """The network at latents `[B, C, F, H, W]`, noise indices `[B]` int64."""

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        if self.native == "eps":
            return eps
        if self.native == "x0":
            return x0
        at = spread(t.double(), x0.double())
        return (self.schedule.alpha(at) * eps - self.schedule.sigma(at) * x0).to(x0)

    def null_cond(self, n: int) -> Tensor:
        if self._null is None:
            self._null = self.encode_text([self.config.negative_prompt])
        return self._null.expand(n, -1, -1)

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> Self:
        from harness.backbones.embeds import attach

        net = copy.deepcopy(self.net)
        attach(net, *self._time_embedding(net), embeds)
        net.requires_grad_(trainable).train(trainable)
        return type(self)(self.pipe, net, self.config)

    @abstractmethod
    def _time_embedding(self, net: Any) -> tuple[nn.Module, int]:
        """The module whose output is the time embedding `[B, width]`, and that width."""
