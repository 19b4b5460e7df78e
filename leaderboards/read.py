"""The files of one suite folder as rows, columns and score arrays; no statistics here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.store import Json, RunDir
from leaderboards.arena.columns import score_rows

ScoreRows = Mapping[tuple[str, int], Json]  # (clip id, seed) -> score row


@dataclass(frozen=True)
class Column:
    """One metric as one evaluator computes it."""

    key: str  # the metric's name; with @fingerprint where a suite folder holds several evaluators of it
    name: str
    fingerprint: str
    level: str
    higher_is_better: bool | None
    range: tuple[float, float]
    unit: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.fingerprint[:8]}"

    @property
    def per_clip(self) -> bool:
        """A value for every clip; otherwise one for all clips of a seed."""
        return self.level not in {"set", "summary"}

    @property
    def arrow(self) -> str:
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard: method x config, over its seeds."""

    label: str  # the suite's name for the row; with @config where one name was run with several configs
    method: str
    version: int
    config: Mapping[str, Any]
    config_digest: str
    runs: tuple[RunDir, ...]  # all of them, by seed
    seeds: tuple[int, ...]  # those the numbers are made of
    complete: bool
    clips: int
    expected: int
    marks: tuple[str, ...]
    cost: Mapping[str, float]  # train_s, generate_s, evaluate_s: mean per seed; nfe, frame_nfe: per clip; peak_gib: max

    @property
    def used(self) -> tuple[RunDir, ...]:
        return tuple(run for run in self.runs if seed_of(run) in self.seeds)


def seed_of(run: RunDir) -> int:
    return int(run.path.name.removeprefix("seed"))


def suite_order(suite: Json) -> list[str]:
    """Row names as the suite declares them, then any others."""
    declared = list(suite.get("resolved", {}).get("methods", ()))
    return [*declared, *(row for row in suite["rows"] if row not in declared)]


def read_columns(suite: Json, cells: Iterable[Json]) -> tuple[Column, ...]:
    """Distinct (metric, fingerprint) pairs, in the suite's order."""
    everywhere = [*suite["metrics"], *(spec for cell in cells for spec in cell["metrics"])]
    specs = {(spec["name"], spec["fingerprint"]): spec for spec in everywhere}
    evaluators = Counter(name for name, _ in specs)
    return tuple(
        Column(
            key=name if evaluators[name] == 1 else f"{name}@{fingerprint[:8]}",
            name=name,
            fingerprint=fingerprint,
            level=spec["level"],
            higher_is_better=spec["higher_is_better"],
            range=(spec["range"][0], spec["range"][1]),
            unit=spec["unit"],
        )
        for (name, fingerprint), spec in specs.items()
    )


def read_entries(suite: Json, runs: Sequence[RunDir], cells: Mapping[Path, Json]) -> tuple[Entry, ...]:
    """Rows in the suite's order. A row is complete when it has finished all seeds that the finished rows share."""
    groups: dict[Path, list[RunDir]] = {}
    for run in runs:
        groups.setdefault(run.path.parent, []).append(run)
    wanted = int(suite["prompts"])
    counts = {run.path: len(run.clips()) for run in runs}
    finished = {
        folder: {seed_of(run) for run in group if run.done and counts[run.path] >= wanted}
        for folder, group in groups.items()
    }
    shared = shared_seeds([seeds for seeds in finished.values() if seeds])
    names = Counter(cells[group[0].path]["row"] for group in groups.values())
    out = []
    for folder, group in groups.items():
        cell = cells[group[0].path]
        complete = bool(shared) and shared <= finished[folder]
        used = [run for run in group if not complete or seed_of(run) in shared]
        out.append(
            Entry(
                label=cell["row"] if names[cell["row"]] == 1 else f"{cell['row']}@{cell['config_digest'][:8]}",
                method=cell["method"],
                version=cell["version"],
                config=cell["config"],
                config_digest=cell["config_digest"],
                runs=tuple(group),
                seeds=tuple(seed_of(run) for run in used),
                complete=complete,
                clips=sum(counts[run.path] for run in used),
                expected=wanted * len(used),
                marks=tuple(sorted({mark for run in group for mark in cells[run.path]["marks"]})),
                cost=read_cost(used),
            )
        )
    order = suite_order(suite)
    place = {row: number for number, row in enumerate(order)}
    return tuple(sorted(out, key=lambda entry: place.get(entry.label.split("@")[0], len(place))))


def shared_seeds(sets: Sequence[set[int]]) -> set[int]:
    """Seeds that all sets have; where there is no such seed, the most common one."""
    if not sets:
        return set()
    counts = Counter(seed for seeds in sets for seed in seeds)
    return set.intersection(*sets) or {min(counts, key=lambda seed: (-counts[seed], seed))}


def read_cost(runs: Sequence[RunDir]) -> dict[str, float]:
    """Seconds per stage (summed over attempts, mean per seed), network evaluations per clip, peak memory in GiB."""
    rows = [row for run in runs for row in run.timings()]
    out = {}
    for stage in ("train", "generate", "evaluate"):
        seconds = [row["seconds"] for row in rows if row["stage"] == stage]
        if seconds:
            out[f"{stage}_s"] = sum(seconds) / len(runs)
    sampled = [row for row in rows if row["stage"] == "generate" and row["items"]]
    items = sum(row["items"] for row in sampled)
    for name in ("nfe", "frame_nfe"):
        if items and all(row[name] for row in sampled):  # 0: whatever made the clips, it was no network of ours
            out[name] = sum(row[name] * row["items"] for row in sampled) / items
    made = [row for row in rows if row["stage"] != "evaluate"]  # clips made elsewhere have a cost, but not here
    peaks = [row["peak_memory_gib"] for row in rows if made and row["peak_memory_gib"]]
    return out | ({"peak_gib": max(peaks)} if peaks else {})


def read_scores(entry: Entry) -> dict[str, dict[tuple[str, int], Json]]:
    """Column id -> (clip id, seed) -> score row, of the seeds in use; judgements of raters among them."""
    out: dict[str, dict[tuple[str, int], Json]] = {}
    for run in entry.used:
        seed = seed_of(run)
        for key, rows in run.scores().items():
            out.setdefault(key, {}).update({(row["clip"], seed): row for row in rows})
    return out | score_rows(entry.runs[0].path.parent, {seed_of(run): run for run in entry.used})


def prompt_groups(runs: Sequence[RunDir]) -> list[list[str]]:
    """Clip ids of each prompt: one, or its samples in their order."""
    rows = {row["id"]: row for run in runs for row in run.clips()}
    groups: dict[str, list[str]] = {}
    for clip in sorted(rows, key=lambda clip: (_sample(rows[clip]), clip)):
        groups.setdefault(clip if _sample(rows[clip]) < 0 else f"prompt {rows[clip]['prompt']}", []).append(clip)
    return sorted(groups.values())


def _sample(row: Json) -> int:
    """Which of its prompt's samples a clip is; -1 where prompts have one clip each."""
    sample = row["meta"].get("sample")
    return sample if isinstance(sample, int) and isinstance(row["meta"].get("samples"), int) else -1


def score_array(
    column: Column, seeds: Sequence[int], rows: ScoreRows, prompts: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """`[P, S]`, NaN where no value: a prompt's clips, all samples of one seed after all of another.

    Args:
        prompts: clip ids of each prompt; `P` of them, the one with most samples makes `S = seeds x samples`.

    A metric of the whole set has one value a seed; there the seed is the unit: `[S, 1]`.
    """
    groups = prompts if column.per_clip else [["*"]]
    width = max(map(len, groups), default=1)
    out = np.full((len(groups), len(seeds) * width), np.nan)
    for i, clips in enumerate(groups):
        for j, seed in enumerate(sorted(seeds)):
            for k, clip in enumerate(clips):
                row = rows.get((clip, seed))
                if row is not None and row["value"] is not None and not row["error"]:
                    out[i, j * width + k] = row["value"]
    return out if column.per_clip else out.T
