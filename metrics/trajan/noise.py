"""The fixed noise that TRAJAN adds to its latents: `jax.random.uniform(jax.random.PRNGKey(0), shape)`, in numpy.

JAX drew other numbers before version 0.5 (`jax_threefry_partitionable` off): which of the two is wanted is an option.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Stream = Literal["jax>=0.5", "jax<0.5"]
Words = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(key: tuple[int, int], first: Words, second: Words) -> tuple[Words, Words]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    Args:
        key: two words. first, second: the counter's words, uint32 of one shape.
    """
    schedule = [np.uint32(word) for word in (*key, key[0] ^ key[1] ^ _PARITY)]
    x, y = first + schedule[0], second + schedule[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = x + y
            y = ((y << np.uint32(turn)) | (y >> np.uint32(32 - turn))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


@cache
def uniform(shape: tuple[int, ...], stream: Stream = "jax>=0.5") -> NDArray[np.float32]:
    """Uniform in [0, 1), read-only: what JAX draws from `PRNGKey(0)`, bit for bit.

    Newer JAX counts elements and folds both words of each block; older JAX halves the array and keeps the words apart.
    """
    count = math.prod(shape)
    if stream == "jax>=0.5":
        number = np.arange(count, dtype=np.uint64)
        high, low = (number >> np.uint64(32)).astype(np.uint32), number.astype(np.uint32)
        x, y = threefry2x32((0, 0), high, low)
        words = x ^ y
    else:
        number32 = np.arange(count + count % 2, dtype=np.uint32)
        number32[count:] = 0
        words = np.concatenate(threefry2x32((0, 0), *np.split(number32, 2)))[:count]
    drawn = ((words >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    drawn = drawn.reshape(shape)
    drawn.flags.writeable = False
    return drawn
