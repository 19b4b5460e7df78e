"""The networks of the embedded backbone: an ordinary WanTransformer3DModel and UMT5 encoder, only small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.embedded.train import Recipe

HEAD = 48  # width of an attention head
_TEXT_HEADS = 4


def transformer(recipe: Recipe) -> Any:
    """A WanTransformer3DModel whose output is zero at first, so the first loss is the variance of the target."""
    net: Any = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=recipe.width // HEAD,
        attention_head_dim=HEAD,
        in_channels=recipe.z_dim,
        out_channels=recipe.z_dim,
        text_dim=recipe.text_width,
        freq_dim=128,
        ffn_dim=4 * recipe.width,
        num_layers=recipe.layers,
        rope_max_seq_len=64,
    )
    nn.init.zeros_(net.proj_out.weight)
    nn.init.zeros_(net.proj_out.bias)
    return net


def text_encoder(recipe: Recipe, words: int) -> UMT5EncoderModel:
    width = recipe.text_width
    config = UMT5Config(
        vocab_size=words,
        d_model=width,
        d_kv=width // _TEXT_HEADS,
        d_ff=2 * width,
        num_layers=recipe.text_layers,
        num_heads=_TEXT_HEADS,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config)


def embed(tokenizer: Any, text: UMT5EncoderModel, captions: list[str]) -> Tensor:
    """`[B, L, D]`, zero after the end of each caption, as WanPipeline does."""
    words = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").to(text.device)
    mask = words.attention_mask
    return text(words.input_ids, mask).last_hidden_state * mask[..., None]


def optimizers(both: nn.ModuleDict, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else; `peak` keeps each group's full rate."""
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"torch {torch.__version__} has no Muon optimiser", "train with torch 2.9 or later")
    matrices = {n: p for n, p in both.named_parameters() if n.startswith("net.blocks.") and p.ndim == 2}
    others = [p for n, p in both.named_parameters() if n not in matrices]
    found: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices.values(), lr=recipe.muon_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found
