"""From a leaderboard to a study of its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError, did_you_mean
from leaderboards.arena.study import Clip, Item, Question, Row, Study
from leaderboards.rank import Leaderboard
from leaderboards.read import Entry, seed_of


def design(
    board: Leaderboard, labels: Sequence[str], questions: Sequence[Question], pairs: int, panel: int, seed: int
) -> Study:
    """A study of rows [default: all] over the prompts and seeds of which two of them or more have a clip.

    Raises:
        UserError: an unknown row, one named twice, or nothing that could be compared.
    """
    entries = [_entry(board, label) for label in labels] or sorted(board.entries, key=lambda e: e.label)
    if double := [label for label, count in Counter(e.label for e in entries).items() if count > 1]:
        raise UserError(f'row "{double[0]}" is named twice', "name different rows")
    items = _items(board.folder, entries)
    if not items:
        names = ", ".join(entry.label for entry in entries)
        raise UserError(
            f"{names}: no two clips of the same prompt and seed", "generate clips for two rows or more first"
        )
    rows = tuple(Row(_folder(entry), entry.label) for entry in entries)
    return Study(board.suite["digest"], rows, tuple(questions), items, pairs, panel, seed)


def _items(suite_dir: Path, entries: Sequence[Entry]) -> tuple[Item, ...]:
    found: dict[tuple[str, int, int, str], dict[str, Clip]] = {}
    for entry in entries:
        for run in entry.used:
            for row in run.clips():
                path = run / row["file"]
                if path.is_file():
                    key = row["id"], seed_of(run), row["seed"], row["prompt"]
                    place = path.relative_to(suite_dir).as_posix()
                    found.setdefault(key, {})[_folder(entry)] = Clip(place, row["sha256"])
    return tuple(
        Item(clip, seed, prompt, clips) for (clip, seed, _, prompt), clips in sorted(found.items()) if len(clips) > 1
    )


def _folder(entry: Entry) -> str:
    return entry.runs[0].path.parent.name


def _entry(board: Leaderboard, label: str) -> Entry:
    known = {entry.label: entry for entry in board.entries}
    if label not in known:
        raise UserError(f'{board.name} has no row "{label}"', did_you_mean(label, known))
    return known[label]
