"""A WanPipeline folder in the real layout, tiny and random, written by diffusers itself."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from harness.embedded.words import build_tokenizer

WORDS = ("a", "red", "square", "drifts", "left", "blue", "disk", "spins")


def tiny_wan(folder: Path, seed: int = 0) -> Path:
    """AutoencoderKLWan, UMT5 and transformer of a few thousand parameters each."""
    torch.manual_seed(seed)
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[0.5, 2.0, 1.5, 1.0],
    )
    net = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    )
    tokenizer = build_tokenizer(WORDS, 512)
    text = UMT5EncoderModel(
        UMT5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0)
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    WanPipeline(tokenizer, text.eval(), vae.eval(), scheduler, net.eval()).save_pretrained(folder)
    return folder
