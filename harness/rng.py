"""Randomness without state: every draw is a function of named parts, so a killed run resumes with the same numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts, e.g. `derive_seed(seed, "train", step)`; stable across processes."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by `derive_seed(*parts)`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(*parts))


class Noise:
    """Training noise of one step: drawn for the whole global batch on CPU, then sliced to this rank's rows.

    The numbers therefore do not depend on how many processes or micro-batches share the batch.

    Args:
        parts: what names the stream, e.g. `(seed, "train", role, step)`.
        rows: `(first, last, total)` rows of the global batch that belong to the caller.
    """

    def __init__(self, *parts: object, rows: tuple[int, int, int]) -> None:
        self.generator, self.rows = generator(*parts), rows

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal with the shape [B, ...], dtype and device of `like` (drawn in float32, or float64 for it)."""
        import torch

        first, last, total = self.rows
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        draw = torch.randn((total, *like.shape[1:]), generator=self.generator, dtype=dtype)
        return draw[first:last].to(like)

    def uniform(self) -> torch.Tensor:
        """U(0,1), [B] float64 on CPU."""
        import torch

        first, last, total = self.rows
        return torch.rand(total, generator=self.generator, dtype=torch.float64)[first:last]
