"""Evaluations of VBench's prompts with made-up scores, as `mutoscope evaluate` would leave them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.samples import Row
from harness.store import write_json, write_jsonl
from metrics.vbench.aggregate import DIMENSIONS, ELSEWHERE
from metrics.vbench.results import BOOLEAN
from metrics.vbench.summary import FAMILY

KEPT = 5  # of temporal_flickering's samples of a prompt


def clip_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number:04d}", "prompt": row.prompt, "file": f"clips/{number:04d}.mp4", "sha256": "0" * 64,
            "meta": dict(row.meta),
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip


def score_rows(clips: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Scores of all dimensions: some clips of color without the object, 5 static ones of each prompt."""
    rng = np.random.default_rng(seed)
    return {name: [_row(name, clip, rng) for clip in clips] for name in DIMENSIONS}


def _row(dimension: str, clip: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    value: float | None = float(rng.uniform(0.1, 0.9))
    frames, note = int(rng.integers(9, 80)), ""
    if dimension in BOOLEAN:
        value = float(value > 0.5) if value else 0.0
    if dimension not in clip["meta"]["dimensions"]:
        value, note = None, ELSEWHERE
    elif dimension == "color" and rng.uniform() < 0.1:
        value, note = None, "the object is in none of its frames"
    elif dimension == "temporal_flickering" and clip["meta"]["sample"] >= KEPT:
        value, note = None, "not static"
    elif dimension in {"object_class", "multiple_objects", "scene"}:
        value, frames = int(rng.integers(0, 17)) / 16, 16
    parts = {} if value is None else {"frames": float(frames), "pairs": float(frames - 1)}
    return {"clip": clip["id"], "sha256": clip["sha256"], "value": value, "parts": parts, "note": note, "error": ""}


def write_evaluation(
    folder: Path, clips: Sequence[dict[str, Any]], rows: dict[str, list[dict[str, Any]]], **config: Any
) -> Path:
    """clips.jsonl, metrics.json and scores/, under VBench's standard protocol unless `config` says otherwise."""
    options = {"protocol": "standard", "precision": "exact", "unofficial_weights": False, **config}
    specs = [
        {
            "name": FAMILY + name, "config": options, "version": 1, "fingerprint": "ab" * 32, "level": "clip",
            "higher_is_better": True, "range": [0.0, 1.0], "unit": "",
        }
        for name in rows
    ]  # fmt: skip
    write_jsonl(folder / "clips.jsonl", clips)
    write_json(folder / "metrics.json", specs)
    for name, scores in rows.items():
        write_jsonl(folder / "scores" / f"{FAMILY}{name}@abababab.jsonl", scores)
    return folder
