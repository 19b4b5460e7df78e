"""The decoder's read-out for queries of one frame: the first layer's work on the latents is done once for all of them.

Before the first layer the latents are the same for every query of a frame, so their keys, values and what they see of
each other are too; a query adds one key to what they look at. That is not an approximation: a softmax over one more
score is the old one times `1 - p`, plus `p` times the new value, with p = sigmoid(score - logsumexp of the others).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.trajan.attention import Block, Transformer


@dataclass(frozen=True)
class Shared:
    """What the first layer makes of the latents without a query: N tokens, h heads of width d, W channels."""

    queries: Tensor  # [h, N, d]
    keys: Tensor  # [h, N, d]
    values: Tensor  # [h, N, d]
    total: Tensor  # [h, N] logsumexp of their scores
    seen: Tensor  # [N, h, W] what each head adds
    looked: Tensor  # [N, W] latents with what all heads add


def share(layer: Block, latents: Tensor) -> Shared:
    """The first layer's attention among the latents `[N, W]`."""
    attention, normed = layer.self_att, layer.norm_q(latents)[None]
    queries, keys, values = (part(normed)[0] for part in (attention.queries, attention.keys, attention.values))
    scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
    seen = (scores.softmax(-1) @ values @ _outward(layer)).transpose(0, 1)
    return Shared(queries, keys, values, scores.logsumexp(-1), seen, latents + seen.sum(1) + attention.dense_out.bias)


def first_layer(layer: Block, asked: Tensor, shared: Shared) -> Tensor:
    """`layer(cat([asked, latents]))` for n queries: `[n, W]` -> `[n, 1 + N, W]`."""
    attention, normed = layer.self_att, layer.norm_q(asked)[:, None]
    query, key, value = (part(normed) for part in (attention.queries, attention.keys, attention.values))  # [n, h, 1, d]
    scale, outward = query.shape[-1] ** -0.5, _outward(layer)
    own = (query * key).sum(-1, keepdim=True)  # [n, h, 1, 1]
    others = query @ shared.keys.transpose(1, 2)
    weights = (torch.cat([own, others], -1) * scale).softmax(-1)
    looked = weights[..., :1] * value + weights[..., 1:] @ shared.values
    first = asked + (looked @ outward).sum((1, 2)) + attention.dense_out.bias
    scores = (shared.queries @ key.transpose(2, 3))[..., 0] * scale
    part = (scores - shared.total).sigmoid().permute(2, 0, 1)  # [N, n, h]
    added = torch.bmm(part.transpose(0, 1), (value @ outward)[:, :, 0])  # [n, N, W]
    latents = shared.looked + added - torch.bmm(part, shared.seen).transpose(0, 1)
    return layer.mlp(torch.cat([first[:, None], latents], 1))


def read_out(stack: Transformer, asked: Tensor, latents: Tensor, at_once: int) -> Tensor:
    """`stack(cat([asked, latents]))[:, 0]` for queries of one frame.

    Args:
        asked: `[n, W]`, the queries' tokens. latents: `[N, W]`, with the channels of their frame.
        at_once: queries that are held in memory together.
    """
    head, *middle, last = stack.layers
    assert isinstance(head, Block)
    assert isinstance(last, Block)
    shared, found = share(head, latents), []
    for tokens in asked.split(at_once):
        x = first_layer(head, tokens, shared)
        for layer in middle:
            x = layer(x)
        found.append(stack.norm_encoder(last.first(x)))
    return torch.cat(found)


def _outward(layer: Block) -> Tensor:
    """The attention's last matrix by heads, `[h, d, W]`."""
    return layer.self_att.dense_out.weight.unflatten(1, (layer.self_att.heads, -1)).permute(1, 2, 0)
