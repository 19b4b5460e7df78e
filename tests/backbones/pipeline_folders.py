"""CogVideoX and text-to-video U-Net folders in the real layouts, tiny and random, written by diffusers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

WORDS = ("a", "red", "square", "drifts", "left", "blue", "disk", "spins")


def tiny_cogvideox(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """What THUDM/CogVideoX-5b holds: rotary embeddings, 226 tokens, v-prediction, snr_shift_scale 1.

    Args:
        changes: to the transformer's configuration; `snr_shift_scale` to the scheduler's.
    """
    torch.manual_seed(seed)
    scheduler = CogVideoXDDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True,
        snr_shift_scale=changes.pop("snr_shift_scale", 1.0),
    )  # fmt: skip
    net = CogVideoXTransformer3DModel(**{
        "num_attention_heads": 2, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4, "time_embed_dim": 8,
        "text_embed_dim": 16, "num_layers": 2, "sample_width": 8, "sample_height": 8, "sample_frames": 9,
        "max_text_seq_length": 226, "use_rotary_positional_embeddings": True, **changes,
    })  # fmt: skip
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4, scaling_factor=0.7,
    )  # fmt: skip
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in WORDS), ("▁", -9.0)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=226)
    text = T5EncoderModel(T5Config(vocab_size=16, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    pipe = CogVideoXPipeline(tokenizer, text.eval(), vae.eval(), net.eval(), scheduler)
    pipe.save_pretrained(folder)
    return folder


def tiny_unet(folder: Path, seed: int = 0) -> Path:
    """What ali-vilab/text-to-video-ms-1.7b holds, with three levels instead of four."""
    torch.manual_seed(seed)
    net = UNet3DConditionModel(
        block_out_channels=(8, 16, 16), norm_num_groups=4, cross_attention_dim=16, attention_head_dim=4,
        layers_per_block=1, sample_size=8,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    for name, parameter in net.named_parameters():
        if ".conv4." in name:  # zero at first, which would hide the temporal convolutions
            torch.nn.init.normal_(parameter, std=0.2)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
        timestep_spacing="trailing",
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=2, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, scaling_factor=0.18215,
    )  # fmt: skip
    tokenizer = tiny_clip_tokenizer()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    pipe = TextToVideoSDPipeline(vae.eval(), text.eval(), tokenizer, net.eval(), scheduler)
    pipe.save_pretrained(folder)
    return folder


def tiny_clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs that spell the words, letter by letter."""
    pieces, merges = ["<|startoftext|>", "<|endoftext|>"], []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        pieces += parts
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = ["".join(parts[:2]), *parts[2:]]
            pieces.append(parts[0])
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)), model_max_length=77)
