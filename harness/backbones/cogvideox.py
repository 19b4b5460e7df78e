"""CogVideoX text to video (2B, 5B, 1.5) from a diffusers CogVideoXPipeline folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.api import ClipSpec, Options, UserError, register_backbone
from harness.backbones.pipeline import PipelineBackbone, PipelineConfig
from harness.backbones.pipeline_folder import MODEL, TEXT_MODEL, Layout, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn


class CogVideoXConfig(PipelineConfig):
    """Where the weights are: a CogVideoXPipeline folder or a downloaded hub id such as THUDM/CogVideoX-5b."""

    path: str = "THUDM/CogVideoX-5b"
    max_sequence_length: int = Field(226, ge=1, description="T5 tokens a prompt is padded or cut to")


@register_backbone
class CogVideoX(PipelineBackbone):
    """CogVideoX: v-prediction over variance-preserving noise that ends at zero signal, full attention over the clip.

    Latents are `[B, C, F, H, W]` here and `[B, F, C, H, W]` inside the network.
    """

    name: ClassVar[str] = "cogvideox"
    Config: ClassVar[type[Options]] = CogVideoXConfig
    layout = Layout(
        pipeline="CogVideoXPipeline",
        components={
            "tokenizer": ("spiece.model", "tokenizer.json"),
            "text_encoder": TEXT_MODEL,
            "transformer": MODEL,
            "vae": MODEL,
        },
        trained="transformer",
        example="THUDM/CogVideoX-5b",
    )

    @classmethod
    def check_configs(cls, folder: Path) -> None:
        config = read_json(folder / "transformer" / "config.json", "")
        if config.get("ofs_embed_dim") or config.get("use_learned_positional_embeddings"):
            raise UserError(f"{folder} is an image-to-video CogVideoX", "use a text-to-video one, THUDM/CogVideoX-5b")
        if not (folder / "tokenizer" / "tokenizer.json").exists() and find_spec("sentencepiece") is None:
            raise UserError(f"{folder}/tokenizer/spiece.model needs the package sentencepiece", "install sentencepiece")

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        vae, net = self.pipe.vae.config, self.net.config
        time, space = vae.temporal_compression_ratio, 2 ** (len(vae.block_out_channels) - 1)
        frames, together = (spec.frames - 1) // time + 1, net.patch_size_t or 1
        multiple = space * net.patch_size
        if (spec.frames - 1) % time or frames % together or spec.height % multiple or spec.width % multiple:
            pairs = f", {together} m of them in the latents" if together > 1 else ""
            raise UserError(
                f"clip: {spec.frames} frames of {spec.height}x{spec.width} do not fit this backbone",
                f"it makes {time} k + 1 frames{pairs}, with sides that are multiples of {multiple}",
            )
        return vae.latent_channels, frames, spec.height // space, spec.width // space

    def _forward(self, x: Tensor, index: Tensor, cond: Tensor) -> Tensor:
        return self.net(
            hidden_states=x.transpose(1, 2),
            encoder_hidden_states=cond,
            timestep=index,
            image_rotary_emb=self._rotary(x),
            return_dict=False,
        )[0].transpose(1, 2)

    def _rotary(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rotary embeddings of the patches of latents `[B, C, F, H, W]`; None for the 2B's sinusoids."""
        net = self.net.config
        if not net.use_rotary_positional_embeddings:
            return None
        base = (net.sample_height // net.patch_size, net.sample_width // net.patch_size)
        grid = (x.shape[3] // net.patch_size, x.shape[4] // net.patch_size)
        table = rotary_table(net.attention_head_dim, x.shape[2], grid, base, net.patch_size_t)
        return table[0].to(x.device), table[1].to(x.device)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        import torch

        with torch.no_grad():
            return self.pipe.encode_prompt(
                list(prompts), do_classifier_free_guidance=False, max_sequence_length=self.config.max_sequence_length
            )[0]

    def encode(self, video: Tensor) -> Tensor:
        import torch

        vae = self.pipe.vae
        with torch.no_grad():
            return vae.encode(video.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipe.vae
        return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]

    def temporal_attention(self, x: Tensor, t: Tensor, cond: Tensor) -> dict[str, Tensor]:
        from harness.backbones.frame_attention import watch

        frames = x.shape[2] // (self.net.config.patch_size_t or 1)
        layers = {f"transformer_blocks.{i}.attn1": b.attn1 for i, b in enumerate(self.net.transformer_blocks)}
        with watch(layers, partial(same_token_attention, frames)) as seen:
            self.predict(x, t, cond, "native")
        return seen

    def _time_embedding(self, net: Any) -> tuple[nn.Module, int]:
        return net.time_embedding, net.config.time_embed_dim


@lru_cache(maxsize=8)
def rotary_table(
    width: int, frames: int, grid: tuple[int, int], base: tuple[int, int], patch_size_t: int | None
) -> tuple[Tensor, Tensor]:
    """cos and sin `[frames x rows x columns, width]` as CogVideoXPipeline makes them.

    Args:
        grid: rows and columns of patches. base: those the network was trained at. patch_size_t: None for 1.0, whose
            coordinates are fitted into the trained grid; 1.5 counts them from the corner instead.
    """
    from diffusers.models.embeddings import get_3d_rotary_pos_embed
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

    if patch_size_t is None:
        crop = get_resize_crop_region_for_grid(grid, base[1], base[0])
        return get_3d_rotary_pos_embed(embed_dim=width, crops_coords=crop, grid_size=grid, temporal_size=frames)
    return get_3d_rotary_pos_embed(
        embed_dim=width, crops_coords=None, grid_size=grid, temporal_size=frames // patch_size_t, grid_type="slice",
        max_size=base,
    )  # fmt: skip


def same_token_attention(frames: int, layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """`[B, heads x positions, F, F]`: full attention restricted to the frames of one position.

    `A[p, i, j] = softmax_j(q_{p,i} . k_{p,j} / sqrt d)`; the text tokens take no part.
    """
    from diffusers.models.embeddings import apply_rotary_emb

    from harness.backbones.frame_attention import heads, softmax_scores

    tokens, turn = kwargs["hidden_states"], kwargs.get("image_rotary_emb")
    query, key = layer.norm_q(heads(layer, tokens, "to_q")), layer.norm_k(heads(layer, tokens, "to_k"))
    if turn is not None:
        query, key = apply_rotary_emb(query, turn), apply_rotary_emb(key, turn)
    query, key = (x.unflatten(2, (frames, -1)).transpose(2, 3) for x in (query, key))  # [B, heads, positions, F, d]
    return softmax_scores(query, key).flatten(1, 2)
