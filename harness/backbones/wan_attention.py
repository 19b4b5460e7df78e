"""Attention of WanTransformer3DModel for short sequences on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor

SHORT = 512  # tokens; up to here the whole score matrix is cheaper than torch's fused CPU kernel, and small


class PlainAttention:
    """The arithmetic of diffusers' WanAttnProcessor (text to video), written out.

    Why: at the embedded backbone's 80 tokens the backward pass of the fused CPU kernel takes nearly half of a training
    step, and rotations in float64 some of the rest. Results agree to float32 rounding. Longer sequences go to the
    fused kernel as ever.
    """

    def __init__(self) -> None:
        self.fused = WanAttnProcessor()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """hidden_states `[B, N, D]`; encoder_hidden_states `[B, L, D]`, or None for self-attention."""
        if hidden_states.shape[1] > SHORT or attention_mask is not None:
            return self.fused(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(source))
        value = attn.to_v(source).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        query, key = (x.unflatten(2, (attn.heads, -1)) for x in (query, key))
        if rotary_emb is not None:
            turn = unit_numbers(rotary_emb, query.dtype)
            query, key = rotate(query, turn), rotate(key, turn)
        query, key = query.transpose(1, 2), key.permute(0, 2, 3, 1)
        weights = torch.softmax((query * query.shape[-1] ** -0.5) @ key, dim=-1)
        out = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            out = layer(out)
        return out


class FrameAttention:
    """A self-attention processor that also keeps the attention among the frames of one position.

    `A[p, i, j] = softmax_j(q_{p,i} . k_{p,j} / sqrt d)` over queries and keys of the same spatial token: how full 3D
    attention answers for the temporal attention of factorised networks (an extension of T2V-Turbo-v2, which used one).

    Args:
        inner: the processor that does the layer's work. frames: latent frames F' the tokens are made of.
    """

    def __init__(self, inner: Any, frames: int) -> None:
        self.inner, self.frames = inner, frames
        self.attention: Tensor | None = None  # [B, heads x positions, F', F']

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """hidden_states `[B, N, D]`, N = F' x positions; self-attention only."""
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        query, key = (x.unflatten(2, (attn.heads, -1)) for x in (query, key))
        if rotary_emb is not None:
            turn = unit_numbers(rotary_emb, query.dtype)
            query, key = rotate(query, turn), rotate(key, turn)
        query, key = (x.unflatten(1, (self.frames, -1)).permute(0, 3, 2, 1, 4) for x in (query, key))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, heads, positions, F', F']
        self.attention = scores.softmax(-1).flatten(1, 2)
        return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)


def unit_numbers(rotary_emb: tuple[Tensor, Tensor], dtype: torch.dtype) -> Tensor:
    """cos + i sin of diffusers' rotary embedding `[1, N, 1, d]`, as `[1, N, 1, d / 2]`, at least in float32."""
    dtype = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.complex(rotary_emb[0][..., ::2].to(dtype), rotary_emb[1][..., ::2].to(dtype))


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate neighbouring pairs of the last axis of `[B, N, heads, d]` by unit numbers `[1, N, 1, d / 2]`."""
    pairs = torch.view_as_complex(x.to(turn.real.dtype).unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)
