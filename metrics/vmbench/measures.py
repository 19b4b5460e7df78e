"""VMBench's five measures: what they are called where, and their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

FAMILY = "vmbench/"
KEYS: Mapping[str, str] = {  # of an entry of results.json, by our short name, in the order of evaluate.sh
    "pas": "perceptible_amplitude_score",
    "ois": "object_integrity_score",
    "tcs": "temporal_coherence_score",
    "cas": "commonsense_adherence_score",
    "mss": "motion_smoothness_score",
}
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    name: (key, key.replace("_score", "_socre")) if name == "pas" else (key,) for name, key in KEYS.items()
}
PER_CENT = 100.0  # the published table's unit
MOST = 1000.0  # perceptible amplitude: mean path over the diagonal, without an upper end of its own
LEAST = -1000.0  # temporal coherence: below 0 when objects vanish more often than there are objects


def mean_of_five(means: Mapping[str, float]) -> float:
    """VMBench's average, 0 to 1: the plain mean of the five measures' means over clips.

    The repository's calculate_score.py looks for "perceptible_amplitude_socre", which no script writes, and so averages
    four; the published averages are of five (OpenSora 1.2: (31.2 + 61.9 + 73.0 + 3.4 + 88.5) / 5 = 51.6).
    """
    return math.fsum(means[name] for name in KEYS) / len(KEYS)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
