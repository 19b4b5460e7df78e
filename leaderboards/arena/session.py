"""What the page is told and what it may say. Nothing here names a row or a file: clips have opaque ids."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.store import Json, RunDir, file_digest
from leaderboards.arena.store import AnsweredBeforeError, Judgement, StudyFile, clean_name
from leaderboards.arena.study import Clip, Comparison, Study, Trial, trials

LONGEST = 86_400.0  # seconds an answer may have taken; longer ones are counted as this


def check_clips(study: Study, suite_dir: Path) -> None:
    """UserError when a clip of the study was made again since the study began."""
    recorded: dict[tuple[str, int], dict[str, str]] = {}
    for item in study.items:
        for row, clip in item.clips.items():
            known = recorded.get((row, item.seed))
            if known is None:
                run = RunDir(suite_dir / row / f"seed{item.seed}")
                known = recorded[row, item.seed] = {found["id"]: found["sha256"] for found in run.clips()}
            if known.get(item.clip) != clip.sha256:
                raise UserError(
                    f"{clip.file}: is not the clip that the study began with",
                    "bring the clip back, or move the folder arena away and begin a new study",
                )


class RefusedError(Exception):
    """A request that is not granted: HTTP status and what is wrong."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Session:
    """One study as the page sees it, for any number of raters. A step is one question about one pair."""

    def __init__(self, file: StudyFile, folder: Path, shape: Json, only: str = "") -> None:
        """
        Args:
            folder: of the suite.
            shape: `clip` of suite.json: frames, height, width, fps.
            only: the one rater that may answer; "" lets everyone type a name.
        """
        self.file, self.study, self.folder = file, file.study, folder
        self.shape, self.only = shape, clean_name(only) if only else ""
        self._clips = {self._name("clip", c.file): c for item in self.study.items for c in item.clips.values()}
        self._known: dict[str, Path] = {}  # clips whose bytes were found to be right
        self._trials: dict[int, tuple[Trial, ...]] = {}
        self._lock = threading.Lock()

    def hello(self) -> Json:
        """What the start page says."""
        pairs, asked = len(trials(self.study, 0)), [question.text for question in self.study.questions]
        return {"rater": self.only, "pairs": pairs, "questions": asked, "clip": self.shape}

    def step(self, body: Json) -> Json:
        """The step that was asked for, or the first without an answer; steps beyond that one are not shown."""
        return self._show(*self._rater(body), wanted=_field(body, "step", int, None))

    def answer(self, body: Json) -> Json:
        """Keep an answer; returns the next step once it is on disk."""
        name, number = self._rater(body)
        shown = self._shown(number)
        told = _field(body, "trial", str), _field(body, "question", str), _field(body, "side", str)
        trial = next((t for t in shown if self._trial_name(t.comparison) == told[0]), None)
        if trial is None or told[1] not in {q.key for q in self.study.questions}:
            raise RefusedError(400, "no such pair or question in this study")
        choices = {"left": "first" if trial.first_left else "second", "tie": "tie"}
        choices["right"] = "second" if trial.first_left else "first"
        plays, seconds = _field(body, "plays", int), _field(body, "seconds", float)
        if told[2] not in choices:
            raise RefusedError(400, "an answer is left, right or tie")
        if plays < 1 or not seconds >= 0:
            raise RefusedError(400, "an answer counts once both clips were played to the end")
        item = trial.comparison.item
        judgement = Judgement(
            number, trial.comparison.key, told[1], item.clip, item.seed, trial.comparison.first,
            trial.comparison.second, trial.first_left, choices[told[2]], plays, min(seconds, LONGEST),
        )  # fmt: skip
        try:
            self.file.record(judgement, change=_field(body, "change", bool, False))
        except AnsweredBeforeError:
            raise RefusedError(409, "this was answered otherwise before, perhaps in another window") from None
        return self._show(name, number)

    def clip(self, name: str) -> Path:
        """The file behind an opaque id, if its bytes are still those that the study began with."""
        if name not in self._known:
            clip = self._clips.get(name)
            if clip is None:
                raise RefusedError(404, "no such clip")
            self._known[name] = self._right(clip)
        return self._known[name]

    def _right(self, clip: Clip) -> Path:
        path = self.folder / clip.file
        if not path.is_file() or file_digest(path) != clip.sha256:
            raise RefusedError(410, "this clip is gone or was changed since the study began")
        return path

    def _rater(self, body: Json) -> tuple[str, int]:
        try:
            name = clean_name(_field(body, "rater", str))
        except UserError as error:
            raise RefusedError(400, error.problem) from None
        if self.only and name.lower() != self.only.lower():
            raise RefusedError(403, "this study waits for another rater")
        return name, self.file.rater(name)

    def _shown(self, number: int) -> tuple[Trial, ...]:
        with self._lock:
            if number not in self._trials:
                self._trials[number] = trials(self.study, number)
            return self._trials[number]

    def _show(self, name: str, number: int, wanted: int | None = None) -> Json:
        shown, answers = self._shown(number), self.file.answers(number)
        steps = [(trial, question) for trial in shown for question in self.study.questions]
        given = [answers.get((trial.comparison.key, question.key)) for trial, question in steps]
        first = next((place for place, choice in enumerate(given) if choice is None), len(steps))
        place = first if wanted is None else max(0, min(wanted, first))
        head = {"rater": name, "step": place, "steps": len(steps), "first": first, "pairs": len(shown)}
        if place == len(steps):
            return head | {"done": True}
        trial, question = steps[place]
        asked = len(self.study.questions)
        following = shown[place // asked + 1 : place // asked + 2]
        return head | {
            "done": False,
            "pair": place // asked,
            "trial": self._trial_name(trial.comparison),
            "prompt": trial.comparison.item.prompt,
            "question": {"key": question.key, "text": question.text},
            "part": [place % asked + 1, asked],
            "given": _side(trial, given[place]),
            "clips": self._addresses(trial),
            "next": [address for trial in following for address in self._addresses(trial)],
        }

    def _addresses(self, trial: Trial) -> list[str]:
        clips = trial.comparison.item.clips
        return [f"clip/{self._name('clip', clips[row].file)}" for row in (trial.left, trial.right)]

    def _trial_name(self, comparison: Comparison) -> str:
        return self._name("trial", comparison.key)

    def _name(self, kind: str, what: str) -> str:
        """Says nothing, and is the same after a restart."""
        return hmac.new(self.file.secret.encode(), f"{kind}\0{what}".encode(), hashlib.sha256).hexdigest()[:24]


def _side(trial: Trial, choice: str | None) -> str:
    if choice in {None, "tie"}:
        return choice or ""
    return "left" if (choice == "first") == trial.first_left else "right"


_REQUIRED = object()


def _field(body: Json, name: str, kind: Callable[..., Any], default: Any = _REQUIRED) -> Any:
    """A field of a request, of one type; an int passes for a float, a bool for neither."""
    value = body.get(name, default)
    if value is _REQUIRED:
        raise RefusedError(400, f"{name} is missing")
    if value is default:
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise RefusedError(400, f"{name} is of the wrong kind")
    return value
