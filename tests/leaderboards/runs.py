"""Writes small run directories with known scores, as `harness.run` would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.store import append_jsonl, write_json, write_jsonl, write_text

DIGEST = "0123456789abcdef"


@dataclass(frozen=True)
class M:
    """A metric of a fixture suite."""

    name: str
    fingerprint: str = "f" * 16
    level: str = "clip"
    higher_is_better: bool | None = True
    range: tuple[float, float] = (0.0, 1.0)
    unit: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.fingerprint[:8]}"

    def spec(self) -> dict[str, Any]:
        return {"version": 1, "config": {}, **vars(self), "range": list(self.range)}


def write_suite(
    root: Path,
    rows: Sequence[str],
    metrics: Sequence[M],
    prompts: int,
    seeds: Sequence[int] = (0,),
    name: str = "quick",
) -> Path:
    folder = root / f"{name}@{DIGEST[:8]}"
    content = {
        "name": name, "digest": DIGEST, "title": "Quick look", "description": "A fixture.",
        "clip": {"frames": 9, "height": 32, "width": 32, "fps": 8.0},
        "prompts": prompts, "seeds": list(seeds), "rows": sorted(rows), "metrics": [m.spec() for m in metrics],
        "resolved": {"methods": {row: {} for row in rows}, "train": {"steps": 20}},
    }  # fmt: skip
    write_json(folder / "suite.json", content)
    return folder


def write_cell(
    folder: Path,
    row: str,
    metrics: Mapping[M, Sequence[float | None]],
    seed: int = 0,
    done: bool = True,
    clips: int | None = None,
    config: Mapping[str, Any] | None = None,
    errors: Mapping[tuple[str, int], str] | None = None,
    seconds: float = 12.5,
    video: bool | Callable[[int, int], np.ndarray] = False,
    prompts: Sequence[str] | None = None,
) -> Path:
    """One finished cell. `metrics` holds one value per prompt (None: not applicable), or one for set-level metrics.

    Args:
        video: whether clips can be played, or what makes one's frames from its number and seed.
        prompts: their texts; default one with markup in it.
    """
    config = {"lr": 1e-4, "law": {"name": "beta"}} if config is None else dict(config)
    config_digest = hashlib.sha256(repr(sorted(config.items())).encode()).hexdigest()[:16]
    path = folder / f"{row}@{config_digest[:8]}" / f"seed{seed}"
    count = clips if clips is not None else max(len(v) for v in metrics.values())
    cell = {
        "suite": folder.name.split("@")[0], "suite_digest": DIGEST, "row": row, "method": row, "version": 1,
        "config": config, "config_digest": config_digest, "seed": seed, "prompts": count,
        "metrics": [m.spec() for m in metrics], "keys": {"train": "t", "clip": "c"}, "marks": [],
    }  # fmt: skip
    write_json(path / "cell.json", cell)
    ids = [f"{i:04d}-a-red-ball" for i in range(count)]
    frames = moving_square if video is True else video
    rows = [_clip(path, clip, seed, i, frames) for i, clip in enumerate(ids)]
    for clip, text in zip(rows, prompts or (), strict=bool(prompts)):
        clip["prompt"] = text
    write_jsonl(path / "clips.jsonl", rows)
    for metric, values in metrics.items():
        names = ids if metric.level == "clip" else ["*"]
        write_jsonl(
            path / "scores" / f"{metric.id}.jsonl",
            [
                {
                    "clip": clip, "sha256": "0" * 64, "value": value,
                    "parts": {} if value is None else {"half": value / 2},
                    "note": "", "error": (errors or {}).get((metric.name, i), ""),
                }
                for i, (clip, value) in enumerate(zip(names, values, strict=False))
            ],
        )  # fmt: skip
    steps = [{"step": s, "role": "student", "loss": 1 / (s + 1), "gnorm": 0.5} for s in range(20)]
    write_jsonl(path / "train" / "metrics.jsonl", steps)
    stages = {"train": 0.0, "generate": 25.0, "evaluate": 0.0}
    timings = [
        {"stage": s, "seconds": seconds, "items": count, "nfe": n, "frame_nfe": 9 * n, "peak_memory_gib": 0.75}
        for s, n in stages.items()
    ]
    append_jsonl(path / "timings.jsonl", timings)
    write_json(path / "provenance.json", {"git": {"commit": "c0ffee" * 6, "dirty": False}, "versions": {"python": "3"}})
    if done:
        write_text(path / "DONE", "c\n")
    return path


def _clip(
    path: Path, clip: str, seed: int, index: int, frames: Callable[[int, int], np.ndarray] | bool
) -> dict[str, Any]:
    file = path / "clips" / f"{clip}.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    if callable(frames):
        from harness import video as codec

        codec.write(file, frames(index, seed), 8.0)
    else:
        file.write_bytes(f"clip {clip} {seed}".encode())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "id": clip, "prompt": f"a red ball drifts past {index} <b>boxes</b>", "seed": seed, "file": f"clips/{clip}.mp4",
        "sha256": digest, "meta": {},
    }  # fmt: skip


def moving_square(index: int, seed: int, lower: int = 0, count: int = 9) -> np.ndarray:
    """`[count, 32, 32, 3]`: a coloured square that walks right, its left edge at 2 + 2 f; `lower`: pixels down."""
    frames = np.full((count, 32, 32, 3), 230, np.uint8)
    colour = np.random.default_rng((index, seed)).integers(0, 200, 3)
    top = 8 + index % 8 + lower
    for f in range(count):
        frames[f, top : top + 10, 2 + 2 * f : 12 + 2 * f] = colour
    return frames
