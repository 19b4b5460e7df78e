"""Random numbers that are the same bytes on every machine: raw 64-bit words of PCG64, mapped here and nowhere else.

numpy guarantees the streams of bit generators and of `SeedSequence`, not those of `Generator` methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
GRID = 1 << 20
_CHUNK = 64


def fix(value: float) -> float:
    """`value` rounded to the grid 2^-20, so that a last-bit difference of a C library cannot reach a pixel."""
    return round(value * GRID) / GRID


class Dice:
    """A stream of draws named by non-negative integers, e.g. `Dice(seed, index)`."""

    def __init__(self, *name: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(name))
        self._words: list[int] = []

    def word(self) -> int:
        """The next 64 random bits."""
        if not self._words:
            self._words = self._bits.random_raw(_CHUNK).tolist()[::-1]
        return self._words.pop()

    def below(self, n: int) -> int:
        """Uniform integer in [0, n)."""
        return (self.word() * n) >> 64

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high), on the grid."""
        return fix(low + (high - low) * ((self.word() >> 11) * 2.0**-53))

    def sign(self) -> int:
        return 1 - 2 * self.below(2)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def weigh(self, weights: Mapping[T, int]) -> T:
        """A key, with probability proportional to its integer weight."""
        left = self.below(sum(weights.values()))
        for item, weight in weights.items():
            if left < weight:
                return item
            left -= weight
        raise ValueError("no weights to draw from")

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """`k` distinct items in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(k)]

    def octets(self, n: int) -> NDArray[np.uint8]:
        """`n` random bytes `[n]`, in an order that does not depend on the machine's endianness."""
        return self._bits.random_raw((n + 7) // 8).astype("<u8").view(np.uint8)[:n]
