"""Records what the official TAP-Vid function says of seeded tracks, in `official_accuracy.json`.

    python tests/metrics/trackers/record.py TAPNET      # a clone of github.com/google-deepmind/tapnet, at c2cbab81

Needs numpy only: the function is taken out of tapnet/tapvid/evaluation_datasets.py, whose module imports TensorFlow.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUT = Path(__file__).with_name("official_accuracy.json")
CASES = {  # name: (seed, videos, points, frames, share visible, error in pixels, float type)
    "plain": (0, 3, 20, 12, 0.7, 3.0, "float64"),
    "single precision": (1, 2, 33, 9, 0.5, 6.0, "float32"),
    "one point": (2, 4, 1, 5, 0.6, 1.0, "float64"),
    "nothing visible": (3, 1, 6, 7, 0.0, 2.0, "float64"),
    "one frame": (4, 1, 5, 1, 1.0, 2.0, "float64"),
}


def case(name: str) -> dict[str, NDArray[Any]]:
    """Tracks, visibility and queries; distances of exactly 1, 2, 4, 8 and 16 pixels are among them."""
    seed, videos, points, frames, share, error, kind = CASES[name]
    rng = np.random.default_rng(seed)
    shape = (videos, points, frames)
    true = rng.uniform(0, 256, (*shape, 2)).round().astype(kind)
    tracks = true + rng.normal(0, error, (*shape, 2)).astype(kind)
    exact = rng.random(shape) < 0.3
    away = rng.choice([1, 2, 4, 8, 16], shape).astype(kind)
    tracks[exact] = true[exact]
    tracks[..., 0][exact] += away[exact]
    return {
        "query_frames": rng.integers(0, 2 * frames - 1, (videos, points)) / 2,  # halves, to be rounded
        "true_tracks": true,
        "true_visible": rng.random(shape) < share,
        "tracks": tracks,
        "visible": rng.random(shape) < share,
    }


def official(tapnet: Path) -> Callable[..., Mapping[str, NDArray[Any]]]:
    """`compute_tapvid_metrics` by itself."""
    source = (tapnet / "tapnet" / "tapvid" / "evaluation_datasets.py").read_text(encoding="utf-8")
    wanted = [
        n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "compute_tapvid_metrics"
    ]
    names: dict[str, Any] = {"np": np, "Mapping": Mapping}
    exec(compile(ast.Module(wanted, []), "evaluation_datasets.py", "exec"), names)
    function: Callable[..., Mapping[str, NDArray[Any]]] = names["compute_tapvid_metrics"]
    return function


def main(tapnet: Path) -> None:
    function, said = official(tapnet), dict[str, Any]()
    for name in CASES:
        made = case(name)
        queries = np.stack([made["query_frames"]] + [np.zeros_like(made["query_frames"])] * 2, -1)
        for mode in ("first", "strided"):
            with np.errstate(invalid="ignore"):
                out = function(
                    queries, ~made["true_visible"], made["true_tracks"], ~made["visible"], made["tracks"], mode
                )
            said[f"{name}, {mode}"] = {
                key: [None if np.isnan(x) else x for x in np.asarray(value, np.float64).tolist()]
                for key, value in out.items()
            }
    OUT.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
