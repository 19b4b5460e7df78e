"""A large leaderboard: how long reading, ranking, publishing and exporting take.

    uv run python benchmarks/bench_leaderboard.py [--methods 200] [--metrics 16] [--seeds 5] [--prompts 24] [--publish]

Writes run directories with simulated scores (and one tiny clip, the same for all) into a temporary folder. Wall and CPU
seconds of this process, one thread; publishing goes to a new SQLite store and is left out without --publish.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness import video
from harness.store import write_json, write_jsonl, write_text
from leaderboards import rank, show
from leaderboards.site import write_site

DIGEST = "0123456789abcdef"


def specs(count: int) -> list[dict[str, Any]]:
    """Metrics that are the mean of a clip's draws; every eighth is descriptive."""
    return [
        {
            "name": f"toy/metric_{i:02d}", "version": 1, "config": {}, "fingerprint": f"{i:x}" * 16, "level": "clip",
            "higher_is_better": None if i % 8 == 7 else True, "range": [-10.0, 10.0], "unit": "", "warning": "",
        }
        for i in range(count)
    ]  # fmt: skip


def write_board(root: Path, options: argparse.Namespace) -> Path:
    """Run directories as `mutoscope run` leaves them; half of the rows are no better than the first."""
    folder, metrics = root / f"large@{DIGEST[:8]}", specs(options.metrics)
    rows = [f"method-{i:03d}" for i in range(options.methods)]
    suite = {
        "name": "large", "digest": DIGEST, "title": "Large", "description": "Simulated.",
        "clip": {"frames": 9, "height": 32, "width": 32, "fps": 8.0}, "prompts": options.prompts,
        "seeds": list(range(options.seeds)), "rows": rows, "metrics": metrics,
        "resolved": {"methods": {row: {} for row in rows}},
    }  # fmt: skip
    write_json(folder / "suite.json", suite)
    clip = root / "clip.mp4"
    video.write(clip, np.tile(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, (9, 32, 1, 3)), 8.0)
    rng = np.random.default_rng(0)
    hard = rng.normal(size=(options.metrics, options.prompts))
    for i, row in enumerate(rows):
        gain = max(0, i - options.methods // 2) / options.methods
        for seed in range(options.seeds):
            scores = gain + hard + rng.normal(scale=0.3, size=hard.shape)
            write_cell(folder / f"{row}@{i:08x}" / f"seed{seed}", row, seed, metrics, scores, clip)
    return folder


def write_cell(path: Path, row: str, seed: int, metrics: list[dict[str, Any]], scores: np.ndarray, clip: Path) -> None:
    ids = [f"{i:04d}-prompt" for i in range(scores.shape[1])]
    cell = {
        "suite": "large", "suite_digest": DIGEST, "row": row, "method": row, "version": 1, "config": {"lr": 1e-4},
        "config_digest": path.parent.name.split("@")[1], "seed": seed, "prompts": len(ids), "metrics": metrics,
        "keys": {"train": "t", "clip": "c"}, "marks": [],
    }  # fmt: skip
    write_json(path / "cell.json", cell)
    (path / "clips").mkdir(parents=True)
    for name in ids:
        shutil.copyfile(clip, path / "clips" / f"{name}.mp4")
    head = {"prompt": "a ball", "seed": seed, "sha256": "0" * 64, "meta": {}}
    write_jsonl(path / "clips.jsonl", [head | {"id": name, "file": f"clips/{name}.mp4"} for name in ids])
    told = {"sha256": "0" * 64, "parts": {}, "note": "", "error": ""}
    for metric, values in zip(metrics, scores, strict=True):
        lines = [told | {"clip": name, "value": float(v)} for name, v in zip(ids, values, strict=True)]
        write_jsonl(path / "scores" / f"{metric['name']}@{metric['fingerprint'][:8]}.jsonl", lines)
    write_jsonl(path / "train" / "metrics.jsonl", [{"step": s, "loss": 1 / (s + 1)} for s in range(20)])
    spent = {"seconds": 1.0, "items": len(ids), "nfe": 25.0, "frame_nfe": 225.0, "peak_memory_gib": 0.5}
    write_jsonl(path / "timings.jsonl", [spent | {"stage": stage} for stage in ("train", "generate", "evaluate")])
    write_text(path / "DONE", "c\n")


def timed(name: str, work: Callable[[], Any]) -> Any:
    wall, cpu = time.monotonic(), time.process_time()
    done = work()
    print(f"{name:<34} {time.monotonic() - wall:7.1f} s   CPU {time.process_time() - cpu:7.1f} s", flush=True)
    return done


def size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB in {len(files)} files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in [("methods", 200), ("metrics", 16), ("seeds", 5), ("prompts", 24)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        folder = timed("write run directories", lambda: write_board(root / "runs", options))
        board = timed("read and rank", lambda: rank.table(folder))
        first = next(column for column in board.columns if column.higher_is_better)
        told = [board.values[entry.label, first.key].rank for entry in board.entries]
        print(f"  {len(board.entries)} rows, {len(board.columns)} metrics; ranks of the first: {sorted(set(told))[:8]}")
        timed("csv", lambda: write_text(root / "board.csv", rank.frame(board).to_csv(index=False)))
        timed("markdown", lambda: write_text(root / "board.md", show.markdown(board)))
        timed("latex", lambda: write_text(root / "board.tex", show.latex(board)))
        timed("site", lambda: write_site(board, root / "site", {}))
        print(f"  first page {size(root / 'site' / 'index.html')}; site {size(root / 'site')}")
        if options.publish:
            from leaderboards.publish import publish

            done = timed("publish", lambda: publish(folder))
            print(f"  {done.written} runs, {size(root / 'runs' / 'mlflow.db')}")
            timed("publish again", lambda: publish(folder))
            timed("publish again, asking the store", lambda: publish(folder, force=True))


if __name__ == "__main__":
    main()
