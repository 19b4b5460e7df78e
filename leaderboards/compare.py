"""Two or more rows of a leaderboard held against each other: paired differences, and the prompts they disagree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import stats
from harness.errors import UserError, did_you_mean
from harness.store import RunDir
from leaderboards.rank import Leaderboard
from leaderboards.read import Column, Entry, prompt_groups, read_scores, score_array, seed_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """Row minus reference on one metric, over the clips that both have scored."""

    metric: Column
    row: str
    reference: str
    mean: float  # of the row, over those clips
    reference_mean: float
    difference: stats.Difference
    p_holm: float  # corrected over all ranked metrics and rows of this comparison; NaN for descriptive metrics

    @property
    def better(self) -> bool | None:
        """Whether the difference is an improvement beyond chance; None where it is not shown to be either."""
        if self.metric.higher_is_better is None or not self.p_holm <= 1 - stats.LEVEL:
            return None
        return (self.difference.mean > 0) == self.metric.higher_is_better


@dataclass(frozen=True)
class PromptRow:
    """One prompt: what each row scored on it, and how far apart they are."""

    text: str
    clips: tuple[str, ...]  # ids of its samples
    scores: Mapping[str, Mapping[str, float]]  # row -> metric key -> mean over seeds and samples, NaN for none
    disagreement: float


@dataclass(frozen=True)
class Comparison:
    """What `mutoscope compare` prints and draws; the first label is the reference."""

    board: Leaderboard
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    gaps: tuple[Gap, ...]
    prompts: tuple[PromptRow, ...]  # those that disagree most first
    runs: Mapping[str, RunDir]  # whose clips are shown: the first shared seed

    @property
    def seed(self) -> int:
        return seed_of(self.runs[self.labels[0]])


def compare(board: Leaderboard, labels: Sequence[str]) -> Comparison:
    """Hold rows against the first of them.

    Raises:
        UserError: fewer than two rows, an unknown one, one twice, or rows without a common seed.
    """
    entries = [_entry(board, label) for label in labels]
    if len(set(labels)) < max(2, len(labels)):
        raise UserError("compare needs two or more different rows", "for example: mutoscope compare base tqd")
    seeds = sorted(set.intersection(*(set(map(seed_of, entry.runs)) for entry in entries)))
    if not seeds:
        raise UserError(f"{', '.join(labels)} have no seed in common", "run them with the same --seeds")
    groups = prompt_groups([run for entry in entries for run in entry.runs if seed_of(run) in seeds])
    scores = {entry.label: read_scores(entry) for entry in entries}
    arrays = {
        column.key: np.stack([score_array(column, seeds, scores[label].get(column.id, {}), groups) for label in labels])
        for column in board.columns
    }
    columns = tuple(column for column in board.columns if np.isfinite(arrays[column.key]).any())
    runs = {entry.label: next(run for run in entry.runs if seed_of(run) == seeds[0]) for entry in entries}
    return Comparison(
        board,
        tuple(labels),
        columns,
        gaps(columns, labels, arrays),
        _prompts(columns, labels, arrays, groups, runs),
        runs,
    )


def gaps(columns: Sequence[Column], labels: Sequence[str], arrays: Mapping[str, Floats]) -> tuple[Gap, ...]:
    """Every row but the first against the first, metric by metric; arrays `[K, P, S]` by column key."""
    found = []
    for column in columns:
        reference = arrays[column.key][0]
        for label, own in zip(labels[1:], arrays[column.key][1:], strict=True):
            both = np.isfinite(own) & np.isfinite(reference)
            if both.any():
                means = float(own[both].mean()), float(reference[both].mean())
                found.append((column, label, means, stats.paired(own, reference)))
    ranked = [difference.p for column, _, _, difference in found if column.higher_is_better is not None]
    adjusted = iter(stats.holm(ranked))
    return tuple(
        Gap(
            column, label, labels[0], *means, difference,
            float(next(adjusted)) if column.higher_is_better is not None else float("nan"),
        )
        for column, label, means, difference in found
    )  # fmt: skip


def disagreement(values: Floats) -> Floats:
    """How far rows are apart on each prompt, comparable between metrics: `[M, K, P]` -> `[P]`.

    Per metric the standard deviation over rows, divided by the standard deviation of all its values; then the root mean
    square over the metrics that have values of at least two rows there. 0 where nothing can be compared.
    """
    present = np.isfinite(values)
    counts = present.sum(axis=1)  # [M, P]
    filled = np.where(present, values, 0.0)
    means = filled.sum(axis=1) / np.maximum(counts, 1)
    spread = np.where(present, (values - means[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(counts, 1)
    whole = np.array([v[p].var() if p.any() else 0.0 for v, p in zip(values, present, strict=True)])
    usable = (counts >= 2) & (whole[:, None] > 0)
    shares = np.where(usable, spread / np.where(whole > 0, whole, 1.0)[:, None], 0.0)
    return np.asarray(np.sqrt(shares.sum(axis=0) / np.maximum(usable.sum(axis=0), 1)))


def frame(found: Comparison) -> pd.DataFrame:
    """The paired differences, one line a metric and row."""
    return pd.DataFrame(
        {
            "metric": gap.metric.key, "row": gap.row, "reference": gap.reference, "mean": gap.mean,
            "reference_mean": gap.reference_mean, "difference": gap.difference.mean, "se": gap.difference.se,
            "ci_low": gap.difference.low, "ci_high": gap.difference.high, "p": gap.difference.p, "p_holm": gap.p_holm,
            "n": gap.difference.n, "prompts": gap.difference.prompts,
        }
        for gap in found.gaps
    )  # fmt: skip


def prompt_frame(found: Comparison) -> pd.DataFrame:
    """One line a prompt: disagreement, then every row's score on every metric."""
    rows = []
    for prompt in found.prompts:
        scores = {
            f"{c.key} [{label}]": prompt.scores[label][c.key]
            for c in _per_clip(found.columns)
            for label in found.labels
        }
        rows.append(
            {"prompt": prompt.text, "clips": " ".join(prompt.clips), "disagreement": prompt.disagreement, **scores}
        )
    return pd.DataFrame(rows)


def write_csv(found: Comparison, folder: Path) -> tuple[Path, Path]:
    """`differences.csv` and `prompts.csv` in a folder."""
    from harness.store import write_text

    paths = folder / "differences.csv", folder / "prompts.csv"
    for path, table in zip(paths, (frame(found), prompt_frame(found)), strict=True):
        write_text(path, table.to_csv(index=False))
    return paths


def _per_clip(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if column.per_clip]


def _entry(board: Leaderboard, label: str) -> Entry:
    known = {entry.label: entry for entry in board.entries}
    if label not in known:
        raise UserError(f'{board.name} has no row "{label}"', did_you_mean(label, known))
    return known[label]


def _prompts(
    columns: Sequence[Column],
    labels: Sequence[str],
    arrays: Mapping[str, Floats],
    groups: Sequence[Sequence[str]],
    runs: Mapping[str, RunDir],
) -> tuple[PromptRow, ...]:
    judged = _per_clip(columns)
    with np.errstate(invalid="ignore"):
        means = {
            column.key: np.nansum(arrays[column.key], axis=2) / np.isfinite(arrays[column.key]).sum(axis=2)
            for column in judged
        }  # [K, P], NaN where nothing was scored
    ranked = [means[column.key] for column in judged if column.higher_is_better is not None]
    far = disagreement(np.stack(ranked)) if ranked else np.zeros(len(groups))
    texts = {row["id"]: row["prompt"] or row["id"] for run in runs.values() for row in run.clips()}
    rows = [
        PromptRow(
            text=next((texts[clip] for clip in clips if clip in texts), clips[0]),
            clips=tuple(clips),
            scores={
                label: {column.key: float(means[column.key][k, p]) for column in judged}
                for k, label in enumerate(labels)
            },
            disagreement=float(far[p]),
        )
        for p, clips in enumerate(groups)
    ]
    return tuple(sorted(rows, key=lambda row: (-round(row.disagreement, 9), row.clips)))
