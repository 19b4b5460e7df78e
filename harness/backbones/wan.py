"""Wan2.1 text to video, and the embedded backbone, from a diffusers WanPipeline folder."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from harness.api import Backbone, ClipSpec, Options, RectifiedFlow, UserError, Want, Weights, convert, register_backbone
from harness.backbones.base import spread
from harness.backbones.pipeline_folder import weights
from harness.backbones.wan_folder import WAN, find, folder_digest, is_embedded, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Wan-Video/Wan2.1 wan/configs/shared_config.py, sample_neg_prompt
NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
CAPS = frozenset({"decode_grad", "temporal_attention", "guidance_embed", "motion_embed"})
TIMES = 1000.0  # the network's time argument is 1000 t, not an index into a table (METHODS 1.2)


class WanConfig(Options):
    """Where the weights are and how the texts are read.

    `path`: "embedded" (what ships with Mutoscope), a WanPipeline folder, or the id of a downloaded hub model such as
    Wan-AI/Wan2.1-T2V-1.3B-Diffusers. `negative_prompt`: what guidance goes away from; by default Wan's own long one,
    and the empty prompt for an embedded backbone. `max_sequence_length` is cut to what the tokenizer declares.
    """

    path: str = "embedded"
    revision: str | None = None
    negative_prompt: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_sequence_length: int = Field(512, ge=1)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no advice on argument names: loading says something only when it fails."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    logs = (diffusers_log, transformers_log)
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for log, (level, bar) in zip(logs, before, strict=True):
            log.set_verbosity(level)
            (log.enable_progress_bar if bar else log.disable_progress_bar)()


@register_backbone
class Wan(Backbone):
    """Wan text-to-video: rectified flow over the latents of a causal video autoencoder."""

    name: ClassVar[str] = "wan"
    Config: ClassVar[type[Options]] = WanConfig
    native = "flow"
    net: Any  # a WanTransformer3DModel; diffusers' classes are untyped

    def __init__(self, pipe: Any, net: Any, negative_prompt: str, text_length: int) -> None:
        """`pipe` holds what clones share (tokenizer, text encoder, codec, all frozen); `net` is this one's own."""
        self.pipe, self.net, self.negative_prompt, self.text_length = pipe, net, negative_prompt, text_length
        self._null: Tensor | None = None
        self.schedule = RectifiedFlow()
        self.caps = CAPS

    @classmethod
    def load(cls, config: WanConfig, device: torch.device) -> Wan:
        import torch
        from diffusers import WanPipeline

        folder = need(config.path, config.revision)
        if is_embedded(folder):
            import harness.embedded.codec  # noqa: F401  diffusers resolves the codec's class among imported modules
        dtype = getattr(torch, config.dtype)
        types = {"default": dtype, "vae": torch.float32}  # the official code keeps the autoencoder in float32 too
        with quiet():
            pipe: Any = WanPipeline.from_pretrained(folder, torch_dtype=types, local_files_only=True).to(device)
        net = pipe.transformer
        pipe.register_modules(transformer=None)
        for part in (pipe.vae, pipe.text_encoder):
            part.requires_grad_(False).eval()
        if device.type == "cpu":
            from harness.backbones.wan_attention import PlainAttention

            net.set_attn_processor(PlainAttention())
        length = min(config.max_sequence_length, int(pipe.tokenizer.model_max_length))
        return cls(pipe, net, cls._negative(config), length)

    @classmethod
    def capabilities(cls, config: WanConfig) -> frozenset[str]:
        return CAPS

    @classmethod
    def weights(cls, config: WanConfig) -> Weights:
        return weights(WAN, config.path, lambda: need(config.path, config.revision))

    @classmethod
    def digest(cls, config: WanConfig) -> str:
        folder = find(config.path, config.revision)
        files = (
            f"{config.path}@{config.revision}" if folder is None else folder_digest(need(config.path, config.revision))
        )
        negative = "" if folder is None else cls._negative(config)
        identity = [files, negative, config.dtype, config.max_sequence_length]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @staticmethod
    def _negative(config: WanConfig) -> str:
        if config.negative_prompt is not None:
            return config.negative_prompt
        return "" if is_embedded(need(config.path, config.revision)) else NEGATIVE_PROMPT

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        vae = self.pipe.vae.config
        time, space = vae.scale_factor_temporal, vae.scale_factor_spatial
        multiple = space * self.net.config.patch_size[1]
        if (spec.frames - 1) % time or spec.height % multiple or spec.width % multiple:
            raise UserError(
                f"clip: {spec.frames} frames of {spec.height}x{spec.width} do not fit this backbone",
                f"it makes {time} k + 1 frames with sides that are multiples of {multiple}",
            )
        return vae.z_dim, (spec.frames - 1) // time + 1, spec.height // space, spec.width // space

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        from harness.backbones.embeds import given

        dtype = self.net.dtype
        with given(self.net, embeds):
            flow = self.net(
                hidden_states=x.to(dtype),
                timestep=(TIMES * t).to(x.device, x.dtype),
                encoder_hidden_states=cond.to(dtype),
                return_dict=False,
            )[0]
        return convert(flow.to(x.dtype), x, spread(t, x), self.schedule, self.native, want)

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return eps - x0

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        import torch

        with torch.no_grad():
            return self.pipe.encode_prompt(
                list(prompts), do_classifier_free_guidance=False, max_sequence_length=self.text_length
            )[0]

    def null_cond(self, n: int) -> Tensor:
        if self._null is None:  # the text encoder can be far larger than the network that is trained
            self._null = self.encode_text([self.negative_prompt])
        return self._null.expand(n, -1, -1)

    def encode(self, video: Tensor) -> Tensor:
        import torch

        mean, std = self._scales(video)
        with torch.no_grad():
            return (self.pipe.vae.encode(video.to(mean)).latent_dist.mode() - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        mean, std = self._scales(latents)
        return self.pipe.vae.decode(latents.to(mean) * std + mean, return_dict=False)[0]

    def _scales(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The codec's per-channel mean and deviation, `[1, C, 1, 1, 1]` each."""
        import torch

        vae = self.pipe.vae
        shape = (1, vae.config.z_dim, 1, 1, 1)
        pair = (vae.config.latents_mean, vae.config.latents_std)
        mean, std = (torch.tensor(v, device=like.device, dtype=vae.dtype).reshape(shape) for v in pair)
        return mean, std

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        from harness.backbones.wan_attention import FrameAttention

        frames = x.shape[2] // self.net.config.patch_size[0]
        layers = {f"blocks.{i}.attn1": block.attn1 for i, block in enumerate(self.net.blocks)}
        watched = {name: FrameAttention(layer.processor, frames) for name, layer in layers.items()}
        try:
            for name, layer in layers.items():
                layer.processor = watched[name]
            self.predict(x, t, cond, "native")
        finally:
            for name, layer in layers.items():
                layer.processor = watched[name].inner
        return {name: watch.attention for name, watch in watched.items() if watch.attention is not None}

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> Wan:
        from harness.backbones.embeds import attach

        net = copy.deepcopy(self.net)
        width = net.config.num_attention_heads * net.config.attention_head_dim
        attach(net, net.condition_embedder.time_embedder, width, embeds)
        net.requires_grad_(trainable).train(trainable)
        return Wan(self.pipe, net, self.negative_prompt, self.text_length)
