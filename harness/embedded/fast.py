"""A faster attention for training the embedded backbone on a CPU; the same numbers as diffusers' own up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor


class PlainAttention:
    """WanAttnProcessor written out.

    The fused CPU kernel's backward pass takes nearly half of a training step at 80 tokens, and rotations in float64
    some of the rest; plain matrix products and a complex multiplication in float32 take a fraction of that.
    """

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """hidden_states `[B, N, D]`; encoder_hidden_states `[B, L, D]` or None for self-attention."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(source))
        value = attn.to_v(source).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        query, key = (x.unflatten(2, (attn.heads, -1)) for x in (query, key))
        if rotary_emb is not None:
            turn = torch.complex(rotary_emb[0][..., ::2].float(), rotary_emb[1][..., ::2].float())
            query, key = _rotate(query, turn), _rotate(key, turn)
        query, key = query.transpose(1, 2), key.permute(0, 2, 3, 1)
        weights = torch.softmax((query * query.shape[-1] ** -0.5) @ key, dim=-1)
        out = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            out = layer(out)
        return out


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate neighbouring pairs of the last axis of `[B, N, heads, d]` by `turn` `[1, N, 1, d / 2]`."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)
