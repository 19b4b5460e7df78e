"""What a reader must know before believing a leaderboard, one sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from harness.stats import LEVEL, least_p
from leaderboards.arena.columns import FAMILY
from leaderboards.rank import Contest, Leaderboard
from leaderboards.read import Column, seed_of
from leaderboards.references import MARK


def notes(board: Leaderboard) -> list[str]:
    """Partial rows, evaluators that differ, n/a and failed scores, saturation, and what this many prompts can tell."""
    return [
        *_rows(board),
        *_seeds(board),
        *_evaluators(board),
        *_warnings(board),
        *_published(board),
        *(note for column in board.columns for note in _column(board, column)),
    ]


def _rows(board: Leaderboard) -> Iterator[str]:
    for entry in board.entries:
        if not entry.complete:
            yield (
                f"{entry.label}: partial, {entry.clips} of {entry.expected} clips"
                f"{'' if entry.clips < entry.expected else ', not all stages finished'}; shown, not ranked"
            )
        if entry.marks:
            yield f"{entry.label}: marked {_words(entry.marks)}"


def _seeds(board: Leaderboard) -> Iterator[str]:
    complete = [entry for entry in board.entries if entry.complete]
    for seed in sorted({seed_of(run) for entry in complete for run in entry.runs if seed_of(run) not in entry.seeds}):
        lacking = [e.label for e in complete if not any(run.done and seed_of(run) == seed for run in e.runs)]
        yield f"seed {seed}: not used, {_words(lacking)} {'has' if len(lacking) == 1 else 'have'} not finished it"


def _warnings(board: Leaderboard) -> Iterator[str]:
    """What the metrics themselves say must be known of their numbers."""
    found = defaultdict(list)
    for spec in board.suite["metrics"]:
        if spec.get("warning"):
            found[spec["warning"]].append(spec["name"])
    for warning, names in found.items():
        yield f"{_words(names)}: {warning}"


def _published(board: Leaderboard) -> Iterator[str]:
    """Where rows that were not measured come from."""
    found = defaultdict(list)
    for reference in board.references:
        found[reference.source, reference.note].append(reference.name)
    for (source, note), names in found.items():
        said = f": {note}" if note else ""
        yield f"{MARK} published, not measured here, not ranked: {_words(names)} ({source}){said}"


def _evaluators(board: Leaderboard) -> Iterator[str]:
    found = defaultdict(list)
    for column in board.columns:
        found[column.name].append(column.fingerprint[:8])
    for name, prints in found.items():
        if len(prints) > 1:
            yield f"{name}: scored by different evaluators ({_words(prints)}); separate columns, never ranked together"


def _column(board: Leaderboard, column: Column) -> Iterator[str]:
    values = {entry.label: board.values[entry.label, column.key] for entry in board.entries}
    for word, counts in (
        (
            "not judged" if column.name.startswith(FAMILY) else "not applicable",
            {label: value.na for label, value in values.items()},
        ),
        ("failed", {label: value.errors for label, value in values.items()}),
        ("not scored", {e.label: values[e.label].missing for e in board.entries if e.complete}),
    ):
        told = [f"{label} {count}" for label, count in counts.items() if count]
        if told:
            yield f"{column.key}: {word}, clips: {_words(told)}"
    saturated = [label for label, value in values.items() if value.saturated]
    if saturated:
        who = "every row" if len(saturated) == len(values) else _words(saturated)
        yield f"{column.key}: saturated for {who}: at least 95 % of clips at the best end of the range"
    constant = [label for label, v in values.items() if v.estimate.low == v.estimate.high and not v.saturated]
    if constant:
        yield f"{column.key}: one and the same score on all clips of {_words(constant)}; no interval can be told"
    contest = board.contests.get(column.key)
    if contest and len(contest.labels) > 1:
        yield from _power(column, contest)


def _power(column: Column, contest: Contest) -> Iterator[str]:
    """Say so when no difference could be significant, however large."""
    rows, units = contest.scores.shape[:2]
    pairs = rows * (rows - 1) // 2
    if least_p(units, pairs) * pairs > 1 - LEVEL:
        what = ("prompt" if column.per_clip else "seed") + "s" * (units != 1)
        yield f"{column.key}: {units} {what} cannot separate {rows} rows, however different; ranks are all ties"


def _words(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
