"""Who is shown what: a preference study of pairs of clips, blind, in random order and counterbalanced. Pure.

The form is that of the user studies of AVD and LTD (pairs with a tie, three raters to a pair) and of T2V-Turbo-v2
(several questions, clips of the same prompt and seed). Every order is by SHA-256 of the study's seed and what is
ordered, so that it is the same in every version of everything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from harness.errors import UserError

FORMAT = 1  # of a design as JSON
KEY_LENGTH = 32  # characters of a question's key
# T2V-Turbo-v2, appendix F: "Which video do you prefer given the prompt?", "... demonstrates better motion quality?"
QUESTIONS = (
    "overall=Which video do you prefer, given the prompt?",
    "motion=Which video shows the better motion?",
)


@dataclass(frozen=True)
class Question:
    """Asked of every pair; its key names the leaderboard's column."""

    key: str
    text: str


@dataclass(frozen=True)
class Row:
    """A row of the leaderboard: the folder of its runs, which never changes, and its name when the study began."""

    folder: str
    label: str


@dataclass(frozen=True)
class Clip:
    file: str  # relative to the suite folder
    sha256: str


@dataclass(frozen=True)
class Item:
    """Clips that may be shown side by side: one prompt and generation seed, by row folder."""

    clip: str
    seed: int
    prompt: str
    clips: Mapping[str, Clip]


@dataclass(frozen=True)
class Comparison:
    """Two clips; `first` and `second` are row folders in the study's order, whatever side they are shown on."""

    item: Item
    first: str
    second: str

    @property
    def key(self) -> str:
        return json.dumps([self.item.clip, self.item.seed, self.first, self.second], ensure_ascii=False)


@dataclass(frozen=True)
class Trial:
    """A comparison as one rater sees it."""

    comparison: Comparison
    first_left: bool

    @property
    def left(self) -> str:
        return self.comparison.first if self.first_left else self.comparison.second

    @property
    def right(self) -> str:
        return self.comparison.second if self.first_left else self.comparison.first


@dataclass(frozen=True)
class Study:
    """Everything that decides what raters see."""

    suite: str  # digest
    rows: tuple[Row, ...]
    questions: tuple[Question, ...]
    items: tuple[Item, ...]
    pairs: int  # a rater is shown
    panel: int  # raters that are shown the same pairs; 0: all
    seed: int = 0

    @cached_property
    def digest(self) -> str:
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Study:
        items = tuple(
            Item(i["clip"], i["seed"], i["prompt"], {row: Clip(**clip) for row, clip in i["clips"].items()})
            for i in content["items"]
        )
        rows = tuple(Row(**row) for row in content["rows"])
        questions = tuple(Question(**question) for question in content["questions"])
        settings = {name: content[name] for name in ("suite", "pairs", "panel", "seed")}
        return cls(rows=rows, questions=questions, items=items, **settings)

    @cached_property
    def deck(self) -> tuple[Comparison, ...]:
        """All comparisons, such that any stretch of them is balanced.

        Row pairs take turns; each takes the prompt that was used least so far, by itself and by all pairs.
        """
        pairs = sorted(combinations((row.folder for row in self.rows), 2), key=lambda pair: self.order("pair", *pair))
        names = [self.order("item", item.clip, item.seed) for item in self.items]
        place = np.argsort(np.argsort(names))
        used = np.zeros(len(self.items), dtype=np.int64)
        left = {p: np.array([p[0] in i.clips and p[1] in i.clips for i in self.items], dtype=bool) for p in pairs}
        out = []
        while left:
            for pair in list(left):
                open_ = np.flatnonzero(left[pair])
                if not len(open_):
                    del left[pair]
                    continue
                chosen = open_[np.argmin(used[open_] * len(names) + place[open_])]
                left[pair][chosen] = False
                used[chosen] += 1
                out.append(Comparison(self.items[chosen], *pair))
        return tuple(out)

    def order(self, *what: object) -> str:
        """Sorting by this is a random order of the study's own."""
        return hashlib.sha256(json.dumps([self.seed, *what], ensure_ascii=False).encode()).hexdigest()


def trials(study: Study, rater: int) -> tuple[Trial, ...]:
    """What a rater is shown, in order.

    Of each row pair's comparisons, half show the first row on the left; raters of odd number see the sides exchanged.

    Args:
        rater: number, in the order in which raters began.
    """
    chosen = _block(study, rater)
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in sorted(chosen, key=lambda c: study.order("side", c.key)):
        by_pair.setdefault((comparison.first, comparison.second), []).append(comparison)
    shown = [
        Trial(comparison, (number + turn + rater) % 2 == 0)
        for number, pair in enumerate(sorted(by_pair))
        for turn, comparison in enumerate(by_pair[pair])
    ]
    return tuple(sorted(shown, key=lambda trial: study.order("trial", rater, trial.comparison.key)))


def _block(study: Study, rater: int) -> tuple[Comparison, ...]:
    """The pairs of a rater's panel; panels go on where the one before stopped, and begin again at the end."""
    size = min(study.pairs, len(study.deck))
    panel = rater // study.panel if study.panel else 0
    start = panel % (len(study.deck) // size) * size
    return study.deck[start : start + size]


def question(text: str) -> Question:
    """`key=What is asked?`, or only what is asked: then the key is made of its words."""
    key, equals, rest = text.partition("=")
    if not equals:
        key, rest = re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_")[:KEY_LENGTH].strip("_"), text
    if not re.fullmatch(rf"[a-z0-9_]{{1,{KEY_LENGTH}}}", key) or not rest.strip():
        raise UserError(
            f'question "{text}": expected key=text, the key of up to {KEY_LENGTH} small letters, digits and _',
            'for example --question "motion=Which moves more naturally?"',
        )
    return Question(key, rest.strip())


def questions(texts: Iterable[str]) -> tuple[Question, ...]:
    """At least one, all of different keys."""
    found = tuple(map(question, texts))
    keys = [q.key for q in found]
    if double := {key for key in keys if keys.count(key) > 1}:
        raise UserError(f'two questions are called "{double.pop()}"', "give them keys: --question key=text")
    return found
