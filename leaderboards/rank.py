"""Run directories of one suite to a leaderboard: means with intervals, ranks with ties, cost, and what to be wary of.

Rows are ranked on the prompts and seeds they share, by `harness.stats.ranks`: a rank says "shown to be worse than the
leader of every group above". Partial rows are shown, never ranked; scores of different evaluators (fingerprints) are
different columns and never meet in one ranking. Published rows take no part in anything here but `frame`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import stats
from harness.errors import UserError
from harness.store import Json, read_json, run_dirs
from leaderboards import references
from leaderboards.arena.columns import with_columns
from leaderboards.read import (
    Column,
    Entry,
    ScoreRows,
    prompt_groups,
    read_columns,
    read_entries,
    read_scores,
    score_array,
    suite_order,
)


@dataclass(frozen=True)
class Value:
    """One row's standing on one column."""

    estimate: stats.Estimate
    na: int  # clips the metric has nothing to say about
    errors: int
    missing: int  # expected and not scored
    rank: int | None
    saturated: bool  # nearly every clip sits at the best end of the range
    parts: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # name -> (mean, n)


@dataclass(frozen=True)
class Contest:
    """The rows that were ranked against each other on one column."""

    labels: tuple[str, ...]
    scores: NDArray[np.float64]  # [K, P, S], NaN where no value
    adjusted: NDArray[np.float64]  # [K, K] Holm-adjusted p of every pair


@dataclass(frozen=True)
class Leaderboard:
    """Everything a table, a page or a tracking server shows about one suite."""

    folder: Path
    suite: Json
    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]  # complete ones first, best first by the first ranked column
    values: Mapping[tuple[str, str], Value]  # (entry label, column key)
    contests: Mapping[str, Contest]  # column key; none for descriptive metrics
    references: tuple[references.Reference, ...] = ()  # published rows to show beside

    @property
    def name(self) -> str:
        return f"{self.suite['name']}@{self.suite['digest'][:8]}"


def table(suite_dir: Path) -> Leaderboard:
    """Read a suite folder `runs/<suite>@<digest8>`. UserError when there is nothing to show."""
    suite, runs = with_columns(read_json(suite_dir / "suite.json"), suite_dir), run_dirs(suite_dir)
    if not runs:
        raise UserError(f"{suite_dir}: no cells yet", f"make some with: mutoscope run {suite['name']}")
    cells = {run.path: run.cell() for run in runs}
    columns = read_columns(suite, cells.values())
    entries = read_entries(suite, runs, cells)
    prompts = prompt_groups(runs)
    scores = {entry.label: read_scores(entry) for entry in entries}
    values: dict[tuple[str, str], Value] = {}
    contests: dict[str, Contest] = {}
    for column in columns:
        rows = {entry.label: scores[entry.label].get(column.id, {}) for entry in entries}
        arrays = {e.label: score_array(column, e.seeds, rows[e.label], prompts) for e in entries}
        found = {e.label: _value(column, e, rows[e.label], arrays[e.label]) for e in entries}
        if column.higher_is_better is not None:
            able = [entry.label for entry in entries if entry.complete and _rankable(found[entry.label])]
            contest = _contest(able, arrays)
            means = [found[label].estimate.mean for label in able]
            places = stats.ranks(means, contest.adjusted, column.higher_is_better)
            found |= {label: replace(found[label], rank=place) for label, place in zip(able, places, strict=True)}
            contests[column.key] = contest
        values |= {(label, column.key): value for label, value in found.items()}
    published = references.of_suite(suite, suite_dir)
    return Leaderboard(suite_dir, suite, columns, _ordered(entries, columns, values), values, contests, published)


def paired(board: Leaderboard, reference: str | None = None) -> pd.DataFrame:
    """Paired differences row - reference on every ranked column.

    Args:
        reference: label of a ranked row; default the first row the suite names.

    Returns:
        Columns row, reference, metric, difference, se, ci_low, ci_high, p, p_holm, n, prompts.
    """
    labels = {label for contest in board.contests.values() for label in contest.labels}
    chosen = reference or next((row for row in suite_order(board.suite) if row in labels), "")
    if chosen not in labels:
        raise UserError(f'no ranked row is called "{chosen}"', f"ranked rows: {', '.join(sorted(labels)) or 'none'}")
    out = []
    for key, contest in board.contests.items():
        if chosen not in contest.labels:
            continue
        base = contest.labels.index(chosen)
        for place, label in enumerate(contest.labels):
            if place != base:
                gap = stats.paired(contest.scores[place], contest.scores[base])
                out.append(
                    {
                        "row": label, "reference": chosen, "metric": key, "difference": gap.mean, "se": gap.se,
                        "ci_low": gap.low, "ci_high": gap.high, "p": gap.p,
                        "p_holm": float(contest.adjusted[place, base]), "n": gap.n, "prompts": gap.prompts,
                    }
                )  # fmt: skip
    return pd.DataFrame(out)


def wins(contest: Contest, higher_is_better: bool) -> NDArray[np.float64]:
    """Share of prompts on which row i beats row j, ties counting half: `[K, K]`, NaN on the diagonal.

    A prompt's clips count together (their mean difference), over those that both rows have.
    """
    gaps = contest.scores[:, None] - contest.scores[None]  # [K, K, P, S]
    present = np.isfinite(gaps)
    sign = np.sign(np.where(present, gaps, 0.0).sum(axis=3)) * (1 if higher_is_better else -1)
    common = present.any(axis=3)
    points = np.where(common, (sign + 1) / 2, 0.0).sum(axis=2)
    with np.errstate(invalid="ignore"):
        share: NDArray[np.float64] = points / common.sum(axis=2)
    share[np.diag_indices(len(share))] = np.nan
    return share


def pareto(board: Leaderboard, column: Column, cost: str) -> tuple[str, ...]:
    """Labels of the complete rows that no other one beats: none costs at most as much and scores at least as well,
    and one of the two strictly better. Means are compared; cheapest first.

    Args:
        cost: a key of `Entry.cost`, such as "nfe" or "generate_s"; rows without it take no part.
    """
    sign = 1 if column.higher_is_better else -1
    points = {
        entry.label: (entry.cost[cost], -sign * board.values[entry.label, column.key].estimate.mean)
        for entry in board.entries
        if entry.complete and cost in entry.cost and board.values[entry.label, column.key].estimate.n
    }
    front = [
        label
        for label, own in points.items()
        if not any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in points.values())
    ]
    return tuple(sorted(front, key=lambda label: points[label]))


def frame(board: Leaderboard) -> pd.DataFrame:
    """Long form, one line per row x metric, then one per part (`metric.part`, mean and n only); published rows last."""
    out: list[dict[str, Any]] = []
    for entry in board.entries:
        head = {
            "row": entry.label, "method": entry.method, "config": entry.config_digest[:8],
            "status": "complete" if entry.complete else "partial",
        }  # fmt: skip
        for column in board.columns:
            value = board.values[entry.label, column.key]
            e = value.estimate
            numbers = {
                "metric": column.key, "higher_is_better": column.higher_is_better, "rank": value.rank,
                "mean": e.mean, "se": e.se, "ci_low": e.low, "ci_high": e.high, "n": e.n, "n_prompts": e.prompts,
                "n_seeds": len(entry.seeds), "na": value.na, "errors": value.errors, "missing": value.missing,
            }  # fmt: skip
            out.append(head | numbers | dict(entry.cost))
            for part, (mean, n) in value.parts.items():
                out.append(head | {"metric": f"{column.key}.{part}", "mean": mean, "n": n})
    for reference in board.references:
        head = {"row": reference.label, "status": "published", "source": reference.source}
        for column in board.columns:
            if quote := reference.quotes.get(column.name):
                better = column.higher_is_better
                out.append(head | {"metric": column.key, "higher_is_better": better, "mean": quote.value})
    return pd.DataFrame(out).astype({"rank": "Int64"})


def _contest(labels: Sequence[str], arrays: Mapping[str, NDArray[np.float64]]) -> Contest:
    if not labels:
        return Contest((), np.empty((0, 0, 0)), np.empty((0, 0)))
    scores = np.stack([arrays[label] for label in labels])
    return Contest(tuple(labels), scores, stats.pairwise(scores))


def _value(column: Column, entry: Entry, rows: ScoreRows, array: NDArray[np.float64]) -> Value:
    expected = entry.expected if column.per_clip else len(entry.seeds)
    parts: dict[str, list[float]] = {}
    for row in rows.values():
        for name, part in row["parts"].items():
            if not row["error"]:
                parts.setdefault(name, []).append(part)
    return Value(
        estimate=stats.estimate(array),
        na=sum(row["value"] is None and not row["error"] for row in rows.values()),
        errors=sum(bool(row["error"]) for row in rows.values()),
        missing=max(0, expected - len(rows)),
        rank=None,
        saturated=_saturated(column, array),
        parts={name: (float(np.mean(found)), len(found)) for name, found in sorted(parts.items())},
    )


def _rankable(value: Value) -> bool:
    return value.estimate.n > 0 and not value.errors and not value.missing


def _saturated(column: Column, array: NDArray[np.float64]) -> bool:
    """At least 95 % of the clips within a thousandth of the range of its best end: nothing left to measure."""
    found = array[np.isfinite(array)]
    low, high = column.range
    if column.higher_is_better is None or not found.size or not np.isfinite(high - low):
        return False
    best = high if column.higher_is_better else low
    return bool((np.abs(found - best) <= (high - low) / 1000).mean() >= 0.95)


def _ordered(
    entries: Sequence[Entry], columns: Sequence[Column], values: Mapping[tuple[str, str], Value]
) -> tuple[Entry, ...]:
    """Complete rows first, by rank, then mean, of the first ranked column."""
    first = next((column for column in columns if column.higher_is_better is not None), None)

    def key(entry: Entry) -> tuple[bool, int, float]:
        if first is None:
            return not entry.complete, 0, 0.0
        value = values[entry.label, first.key]
        mean = float(np.nan_to_num(value.estimate.mean))
        return not entry.complete, value.rank or len(entries) + 1, -mean if first.higher_is_better else mean

    return tuple(sorted(entries, key=key))
