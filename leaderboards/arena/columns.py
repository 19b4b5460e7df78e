"""A study as columns of its suite's leaderboard, straight from the study file: one a question, `arena/<key>`.

A clip's value is the mean outcome of the comparisons it took part in, over all raters: win 1, tie 1/2, loss 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.store import Json, RunDir
from leaderboards.arena.agreement import Agreement
from leaderboards.arena.report import OUTCOME, agreement_of
from leaderboards.arena.store import FILE, Judgement, open_study

FAMILY = "arena/"
PARTS = {1.0: "win", 0.5: "tie", 0.0: "loss"}


def with_columns(suite: Json, folder: Path) -> Json:
    """The suite's description with a metric for every question that was answered; itself where there is no study."""
    if not (folder / FILE).is_file():
        return suite
    file = open_study(folder / FILE, suite["digest"])
    try:
        study, judgements = file.study, file.judgements()
    finally:
        file.close()
    specs = []
    for question in study.questions:
        mine = [j for j in judgements if j.question == question.key]
        if mine:
            specs.append(
                {
                    "name": FAMILY + question.key, "version": 1, "config": {"question": question.text},
                    "fingerprint": study.digest, "level": "clip", "higher_is_better": True, "range": [0.0, 1.0],
                    "unit": "", "warning": _about(question.text, mine, agreement_of(study, mine)),
                }
            )  # fmt: skip
    return suite | {"metrics": [*suite["metrics"], *specs]}


def score_rows(folder: Path, runs: Mapping[int, RunDir]) -> dict[str, dict[tuple[str, int], Json]]:
    """Column id -> (clip id, seed) -> score row, for the clips of one row; not judged is not applicable.

    Args:
        folder: of the row, `<suite folder>/<row>@<config8>`.
        runs: its runs by seed.
    """
    path = folder.parent / FILE
    if not path.is_file():
        return {}
    file = open_study(path)
    try:
        study, judgements = file.study, file.judgements(folder.name)
    finally:
        file.close()
    clips = {seed: run.clips() for seed, run in runs.items()}
    judged = {(i.clip, i.seed): i.clips[folder.name].sha256 for i in study.items if folder.name in i.clips}
    outcomes: dict[tuple[str, str, int], list[float]] = {}
    for j in judgements:
        value = OUTCOME[j.choice] if j.first == folder.name else 1 - OUTCOME[j.choice]
        outcomes.setdefault((j.question, j.clip, j.seed), []).append(value)
    out: dict[str, dict[tuple[str, int], Json]] = {}
    for question in study.questions:
        out[f"{FAMILY}{question.key}@{study.digest[:8]}"] = {
            (clip["id"], seed): _row(
                clip, outcomes.get((question.key, clip["id"], seed), ()), judged.get((clip["id"], seed))
            )
            for seed, rows in clips.items()
            for clip in rows
        }
    return out


def judged_digest(folder: Path) -> str:
    """Of a suite's study and every answer in it; "" without one. What a published view must follow."""
    if not (folder / FILE).is_file():
        return ""
    file = open_study(folder / FILE)
    try:
        answers = sorted((j.rater, j.trial, j.question, j.choice) for j in file.judgements())
        return hashlib.sha256(json.dumps([file.study.digest, *answers]).encode()).hexdigest()
    finally:
        file.close()


def _row(clip: Json, outcomes: Sequence[float], judged: str | None) -> Json:
    head = {"clip": clip["id"], "sha256": clip["sha256"]}
    if not outcomes:
        return head | {"value": None, "parts": {}, "note": "not judged", "error": ""}
    if clip["sha256"] != judged:
        return head | {
            "value": None,
            "parts": {},
            "note": "",
            "error": "another clip was judged: it was made again since",
        }
    count = len(outcomes)
    parts = {name: outcomes.count(value) / count for value, name in PARTS.items()}
    note = f"{count} judgement{'s' * (count != 1)}"
    return head | {"value": sum(outcomes) / count, "parts": parts, "note": note, "error": ""}


def _about(text: str, judgements: Sequence[Judgement], agreed: Agreement) -> str:
    raters, pairs = len({j.rater for j in judgements}), len({j.trial for j in judgements})
    return (
        f'human preference, "{text}": {raters} rater{"s" * (raters != 1)}, {len(judgements)} judgements of {pairs} '
        f"pairs of clips, {agreement_text(agreed)}; a clip's mean outcome (win 1, tie 0.5, loss 0), so it depends on "
        "which rows it met"
    )


def agreement_text(agreed: Agreement) -> str:
    """`Krippendorff's alpha 0.41 (0.20 to 0.58), raw agreement 71 %`."""
    if not agreed.units:
        return "agreement unknown: no pair was judged by two raters"
    value = "undefined, all answers alike" if math.isnan(agreed.alpha) else f"{agreed.alpha:.2f}"
    interval = f" ({agreed.low:.2f} to {agreed.high:.2f})" if math.isfinite(agreed.low) else ""
    return f"Krippendorff's alpha {value}{interval}, raw agreement {100 * agreed.raw:.0f} %"
