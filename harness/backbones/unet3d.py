"""Factorised text-to-video U-Nets (ModelScope layout) from a diffusers TextToVideoSDPipeline folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.api import ClipSpec, Options, UserError, VariancePreserving, register_backbone
from harness.backbones.pipeline import PipelineBackbone, PipelineConfig
from harness.backbones.pipeline_folder import MODEL, TEXT_MODEL, Layout

if TYPE_CHECKING:
    from torch import Tensor, nn


class UNet3DConfig(PipelineConfig):
    """Where the weights are: a TextToVideoSDPipeline folder or a downloaded hub id."""

    path: str = "ali-vilab/text-to-video-ms-1.7b"
    scale_b: float = Field(
        1.0, gt=0, description="factor on the clean latent from noise index 400 on; VideoCrafter2 was trained with 0.7"
    )


@register_backbone
class UNet3D(PipelineBackbone):
    """A 2D U-Net inflated by temporal convolutions and temporal attention; predicts eps; the codec works by frames."""

    name: ClassVar[str] = "unet3d"
    Config: ClassVar[type[Options]] = UNet3DConfig
    layout = Layout(
        pipeline="TextToVideoSDPipeline",
        components={
            "tokenizer": ("vocab.json", "tokenizer.json"),
            "text_encoder": TEXT_MODEL,
            "unet": MODEL,
            "vae": MODEL,
        },
        trained="unet",
        example="ali-vilab/text-to-video-ms-1.7b",
    )

    def __init__(self, pipe: Any, net: Any, config: Any) -> None:
        super().__init__(pipe, net, config)
        pipe.vae.enable_slicing()  # frame by frame: a clip's pixels do not depend on what else is in the batch
        if config.scale_b != 1:
            self.schedule = FadingPreserving(self.schedule.abar, config.scale_b)

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        vae, net = self.pipe.vae.config, self.net.config
        space = 2 ** (len(vae.block_out_channels) - 1)
        multiple = space * 2 ** (len(net.block_out_channels) - 1)  # else skip connections need resizing
        if spec.height % multiple or spec.width % multiple:
            raise UserError(
                f"clip: {spec.height}x{spec.width} does not fit this backbone", f"use multiples of {multiple}"
            )
        return vae.latent_channels, spec.frames, spec.height // space, spec.width // space

    def _forward(self, x: Tensor, index: Tensor, cond: Tensor) -> Tensor:
        return self.net(x, index, encoder_hidden_states=cond, return_dict=False)[0]

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        import torch

        with torch.no_grad():
            return self.pipe.encode_prompt(list(prompts), self.pipe.device, 1, do_classifier_free_guidance=False)[0]

    def encode(self, video: Tensor) -> Tensor:
        import torch

        vae = self.pipe.vae
        with torch.no_grad():
            frames = vae.encode(video.to(vae.dtype).transpose(1, 2).flatten(0, 1)).latent_dist.mode()
        return frames.unflatten(0, (len(video), -1)).transpose(1, 2) * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipe.vae
        frames = latents.to(vae.dtype).transpose(1, 2).flatten(0, 1) / vae.config.scaling_factor
        return vae.decode(frames, return_dict=False)[0].unflatten(0, (len(latents), -1)).transpose(1, 2)

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """The first self-attention of every temporal transformer of the decoder, as T2V-Turbo-v2 reads it
        (`motion_prior_sample.py`, get_temp_attn_prob: output blocks 3 to 11)."""
        from functools import partial

        from harness.backbones.frame_attention import watch

        layers = {}
        for i, block in enumerate(self.net.up_blocks):
            for j, attention in enumerate(getattr(block, "temp_attentions", ())):
                name = f"up_blocks.{i}.temp_attentions.{j}.transformer_blocks.0.attn1"
                layers[name] = attention.transformer_blocks[0].attn1
        with watch(layers, partial(factorised_attention, len(x))) as seen:
            self.predict(x, t, cond, "native")
        return seen

    def _time_embedding(self, net: Any) -> tuple[nn.Module, int]:
        return net.time_embedding, 4 * net.config.block_out_channels[0]


def factorised_attention(clips: int, layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """`[B, positions x heads, F, F]` of a layer called on `[B x positions, F, D]`."""
    from harness.backbones.frame_attention import heads, softmax_scores

    attention = softmax_scores(heads(layer, args[0], "to_q"), heads(layer, args[0], "to_k"))
    return attention.unflatten(0, (clips, -1)).flatten(1, 2)


class FadingPreserving(VariancePreserving):
    """alpha = sqrt(abar[i]) s[i], sigma = sqrt(1 - abar[i]), s falling linearly from 1 to `scale` over 400 indices.

    VideoCrafter2's `use_scale` (lvdm/models/ddpm3d.py: scale_a 1, scale_b 0.7, mid_step 400). T2V-Turbo-v2 trains
    without it (`--no_scale_pred_x0`).
    """

    def __init__(self, alphas_cumprod: Tensor, scale: float) -> None:
        import torch

        super().__init__(alphas_cumprod)
        fall = torch.linspace(1, scale, 400, dtype=torch.float64)
        self.scales = torch.cat([fall, fall.new_full((len(self.abar),), scale)])[: len(self.abar)]

    def alpha(self, t: Tensor) -> Tensor:
        return super().alpha(t) * self.scales.to(t.device)[self.index(t)].to(t.dtype)
