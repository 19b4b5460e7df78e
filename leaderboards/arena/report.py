"""From judgements to what a study says: duels with intervals, agreement, strengths, and what raters did. Pure.

Shares of wins, ties and losses are of the majority of each pair's raters, as in LTD and AVD: an answer that more than
half of them gave; where there is none the pair counts as tied and as split. A row's mean outcome counts every
judgement, win 1, tie 1/2, loss 0; its interval resamples prompts whole, and its p flips them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness import stats
from leaderboards.arena.agreement import Agreement, agreement, majority
from leaderboards.arena.store import CHOICES, Judgement
from leaderboards.arena.strength import Strengths, fit
from leaderboards.arena.study import Question, Study, trials

OUTCOME = {"first": 1.0, "tie": 0.5, "second": 0.0}
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A number of pairs, and its share with Wilson's interval."""

    count: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Duel:
    """Two rows on one question, seen from the first."""

    first: str  # labels
    second: str
    win: Share
    tie: Share  # with the split ones
    loss: Share
    split: int  # pairs without a majority
    pairs: int
    judgements: int
    outcome: stats.Estimate  # mean over judgements
    p: float
    p_holm: float  # over the question's duels


@dataclass(frozen=True)
class RaterRow:
    """What one rater did: whether the answers are worth having."""

    name: str
    judgements: int
    asked: int  # questions in all
    left: Share  # of the answers that were no tie
    tie: Share
    same: float  # share of answers given to the same question by others that were the same; NaN for none
    seconds: float  # median an answer


@dataclass(frozen=True)
class Standing:
    """One question: who beats whom, and how sure that is."""

    question: Question
    judgements: int
    duels: tuple[Duel, ...]
    agreement: Agreement
    rows: tuple[str, ...]  # labels of the rows that were compared
    strengths: Strengths | None  # of `rows`; None where comparisons do not connect them


@dataclass(frozen=True)
class Report:
    study: Study
    standings: tuple[Standing, ...]
    raters: tuple[RaterRow, ...]
    left: Share  # of all answers that were no tie: far from a half would be a bias for a side
    changed: int


def report(study: Study, judgements: Sequence[Judgement], names: Mapping[int, str], changed: int = 0) -> Report:
    """Everything `mutoscope arena report` says."""
    raters = tuple(
        _rater(
            name,
            [j for j in judgements if j.rater == number],
            judgements,
            len(trials(study, number)) * len(study.questions),
        )
        for number, name in names.items()
    )
    standings = tuple(_standing(study, q, [j for j in judgements if j.question == q.key]) for q in study.questions)
    return Report(study, standings, raters, _left(judgements), changed)


def prompts_of(study: Study) -> dict[tuple[str, int], str]:
    """(clip, seed) -> what is resampled whole: its prompt, or without one its clip."""
    return {(item.clip, item.seed): item.prompt or item.clip for item in study.items}


def unit_counts(judgements: Iterable[Judgement]) -> tuple[list[Judgement], Counts]:
    """Of each comparison one of its judgements, and how many chose first, tie, second: `[U, 3]`."""
    units: dict[str, Judgement] = {}
    counts: dict[str, list[int]] = {}
    for j in judgements:
        units.setdefault(j.trial, j)
        counts.setdefault(j.trial, [0, 0, 0])[CHOICES.index(j.choice)] += 1
    return list(units.values()), np.array(list(counts.values()), dtype=np.float64).reshape(-1, len(CHOICES))


def agreement_of(study: Study, judgements: Sequence[Judgement]) -> Agreement:
    """Of the judgements on one question."""
    units, counts = unit_counts(judgements)
    place = prompts_of(study)
    known = {prompt: number for number, prompt in enumerate(dict.fromkeys(place.values()))}
    return agreement(counts, np.array([known[place[u.clip, u.seed]] for u in units], dtype=np.int64))


def _standing(study: Study, question: Question, judgements: Sequence[Judgement]) -> Standing:
    used = {folder for j in judgements for folder in (j.first, j.second)}
    rows = [row for row in study.rows if row.folder in used]
    pairs = [(a, b) for a, b in combinations(range(len(rows)), 2)]
    duels = []
    place = prompts_of(study)
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(place.values()))}
    table = np.zeros((len(prompts), len(pairs), len(CHOICES)))
    for number, (a, b) in enumerate(pairs):
        mine = [j for j in judgements if (j.first, j.second) == (rows[a].folder, rows[b].folder)]
        for j in mine:
            table[prompts[place[j.clip, j.seed]], number, CHOICES.index(j.choice)] += 1
        if mine:
            duels.append(_duel(rows[a].label, rows[b].label, mine, table[:, number]))
    held = stats.holm([duel.p for duel in duels])
    return Standing(
        question,
        len(judgements),
        tuple(replace(duel, p_holm=float(p)) for duel, p in zip(duels, held, strict=True)),
        agreement_of(study, judgements),
        tuple(row.label for row in rows),
        fit(pairs, table, len(rows)) if pairs else None,
    )


def _duel(first: str, second: str, judgements: Sequence[Judgement], by_prompt: Counts) -> Duel:
    _, counts = unit_counts(judgements)
    voice = majority(counts)
    win, tie, loss = (
        share(int(((voice == number) | ((voice < 0) & (number == 1))).sum()), len(voice)) for number in range(3)
    )
    values = outcome_table(by_prompt)
    p = stats.sign_flip(np.nansum(values - 0.5, axis=1)) if len(values) > 1 else 1.0
    return Duel(
        first, second, win, tie, loss, split=int((voice < 0).sum()), pairs=len(voice), judgements=len(judgements),
        outcome=stats.estimate(values), p=float(p), p_holm=float("nan"),
    )  # fmt: skip


def outcome_table(by_prompt: Counts) -> Counts:
    """Every judgement's outcome in its prompt's line, `[P, S]`, NaN beyond the last.

    Args:
        by_prompt: `[P', 3]` how many chose first, tie, second; prompts without a judgement are left out.
    """
    used = by_prompt[by_prompt.sum(axis=1) > 0].astype(int)
    out = np.full((len(used), max(used.sum(axis=1), default=0)), np.nan)
    for line, counts in zip(out, used, strict=True):
        line[: counts.sum()] = np.repeat([OUTCOME[choice] for choice in CHOICES], counts)
    return out


def share(count: int, of: int) -> Share:
    low, high = stats.wilson(count, of)
    return Share(count, count / of if of else float("nan"), low, high)


def _left(judgements: Iterable[Judgement]) -> Share:
    decided = [j for j in judgements if j.choice != "tie"]
    return share(sum((j.choice == "first") == j.first_left for j in decided), len(decided))


def _rater(name: str, own: Sequence[Judgement], all_: Sequence[Judgement], asked: int) -> RaterRow:
    others: dict[tuple[str, str], list[str]] = {}
    for j in all_:
        if own and j.rater != own[0].rater:
            others.setdefault((j.trial, j.question), []).append(j.choice)
    shared = [other == j.choice for j in own for other in others.get((j.trial, j.question), ())]
    return RaterRow(
        name, len(own), asked, _left(own), share(sum(j.choice == "tie" for j in own), len(own)),
        float(np.mean(shared)) if shared else float("nan"),
        float(np.median([j.seconds for j in own])) if own else float("nan"),
    )  # fmt: skip
