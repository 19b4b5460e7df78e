"""The transformer of TRAJAN (tapnet/trajan/attention.py): normalised queries and keys, self and cross attention side
by side, LayerNorms without bias."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

EPSILON = 1e-6  # of flax's norms


class Attention(nn.Module):
    """Attention over heads whose queries and keys pass an RMSNorm each; only the way out has a bias."""

    def __init__(self, width: int, source: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.dense_query = nn.Linear(width, inner, bias=False)
        self.dense_key = nn.Linear(source, inner, bias=False)
        self.dense_value = nn.Linear(source, inner, bias=False)
        self.norm_query = nn.RMSNorm(head_width, eps=EPSILON)
        self.norm_key = nn.RMSNorm(head_width, eps=EPSILON)
        self.dense_out = nn.Linear(inner, width)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """`[B, n, width]` that look at `[B, m, source]`.

        Args:
            mask: what is added to the scores, `[B, 1, 1 or n, m]`.
        """
        looked = scaled_dot_product_attention(self.queries(x), self.keys(source), self.values(source), mask)
        return self.dense_out(looked.transpose(1, 2).flatten(2))

    def queries(self, x: Tensor) -> Tensor:
        """`[B, heads, n, head]`, normalised."""
        return self.norm_query(self._split(self.dense_query(x)))

    def keys(self, source: Tensor) -> Tensor:
        """`[B, heads, m, head]`, normalised."""
        return self.norm_key(self._split(self.dense_key(source)))

    def values(self, source: Tensor) -> Tensor:
        """`[B, heads, m, head]`."""
        return self._split(self.dense_value(source))

    def first(self, source: Tensor) -> Tensor:
        """`self(source[:, :1], source)[:, 0]`, with the values of the mean instead of the mean of the values."""
        query = self.queries(source[:, :1])
        weights = (query @ self.keys(source).transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        means = weights[:, :, 0] @ source  # [B, heads, source]
        values = self.dense_value.weight.unflatten(0, (self.heads, -1))
        return self.dense_out((means.transpose(0, 1) @ values.transpose(1, 2)).transpose(0, 1).flatten(1))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Self attention, and cross attention where it has a source, both of the same normed tokens; then an MLP."""

    def __init__(self, width: int, hidden: int, heads: int, head_width: int, source: int | None = None) -> None:
        super().__init__()
        self.norm_q = nn.LayerNorm(width, EPSILON, bias=False)
        self.self_att = Attention(width, width, heads, head_width)
        self.cross_att = Attention(width, source, heads, head_width) if source is not None else None
        self.norm_attn = nn.LayerNorm(width, EPSILON, bias=False)
        self.MLP_in = nn.Linear(width, hidden)
        self.MLP_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        normed = self.norm_q(x)
        looked = x + self.self_att(normed, normed, mask)
        if self.cross_att is not None and source is not None:
            looked = looked + self.cross_att(normed, source)
        return self.mlp(looked)

    def first(self, x: Tensor) -> Tensor:
        """`self(x)[:, 0]` at a fraction of the cost."""
        return self.mlp(x[:, 0] + self.self_att.first(self.norm_q(x)))

    def mlp(self, x: Tensor) -> Tensor:
        """The second half of the block, with its way past."""
        return x + self.MLP_out(gelu(self.MLP_in(self.norm_attn(x)), approximate="tanh"))


class Transformer(nn.Module):
    """Blocks and a last LayerNorm."""

    def __init__(
        self, width: int, layers: int, hidden: int, heads: int, head_width: int, source: int | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(width, hidden, heads, head_width, source) for _ in range(layers))
        self.norm_encoder = nn.LayerNorm(width, EPSILON, bias=False)

    def forward(self, x: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`[B, n, width]` to the same; `source` is looked at by every layer, unchanged."""
        for layer in self.layers:
            x = layer(x, source, mask)
        return self.norm_encoder(x)

    def first(self, x: Tensor) -> Tensor:
        """`self(x)[:, 0]`: the last layer works for the first token alone."""
        for layer in self.layers[:-1]:
            x = layer(x)
        last = self.layers[-1]
        assert isinstance(last, Block)
        return self.norm_encoder(last.first(x))
