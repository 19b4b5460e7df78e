"""What an instance judge's words and a detector's boxes say of a video, and k videos of N of a set. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import UserError
from harness.stats import wilson
from metrics.instance.windows import Window, windows

THRESHOLD = 0.28  # a detection counts above it, not at it
MOST = 100  # detections of a frame and label


# ---- the judge of the repository's master --------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """`value`: 1 preserved, 0 not. `looked`: windows asked about, the last one with an anomaly if there is one."""

    value: float
    windows: int
    looked: int
    errors: int

    @property
    def too_short(self) -> bool:
        """Nothing was looked at: the upstream value is 1 all the same."""
        return self.windows == 0

    @property
    def error_share(self) -> float:
        """Of the windows that were asked about."""
        return self.errors / self.looked if self.looked else 0.0


def anomalous(answer: str) -> bool:
    """Whether the judge saw something appear, disappear, fuse or split (test.py, `compute_anomaly`)."""
    return "(A)" in answer or "yes" in answer.lower() or answer == "A"


def judged(answers: Sequence[str | None], windows: int) -> Verdict:
    """The verdict of the answers to successive windows; the first yes decides.

    Args:
        answers: one a window, None where the judge failed: counted as no, as upstream does. May end at the first yes.

    Raises:
        ValueError: windows without an anomaly are missing, or there are too many.
    """
    if len(answers) > windows:
        raise ValueError(f"{len(answers)} answers to {windows} windows")
    errors = 0
    for number, answer in enumerate(answers, 1):
        if answer is None:
            errors += 1
        elif anomalous(answer):
            return Verdict(0.0, windows, number, errors)
    if len(answers) < windows:
        raise ValueError(f"{len(answers)} answers to {windows} windows, and no anomaly")
    return Verdict(1.0, windows, windows, errors)


def instance_preservation_judge(frames: int, fps: float, judge: Callable[[Window], str]) -> Verdict:
    """Ask about every window of a video until an anomaly is seen; what `judge` raises is an error of that window.

    Raises:
        UserError: the video has no frames.
    """
    answers: list[str | None] = []
    planned = windows(frames, fps)
    for window in planned:
        try:
            answers.append(judge(window))
        except Exception:
            answers.append(None)
        if answers[-1] is not None and anomalous(answers[-1]):
            break
    return judged(answers, len(planned))


# ---- the detector of vbench2 0.1.1 ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """So many of these, in every frame."""

    count: int
    label: str


def parse_targets(text: str) -> tuple[Target, ...]:
    """ "1.orange cat and 1.white cat" -> Target(1, "orange cat"), Target(1, "white cat").

    As instance_preservation.py reads them, but for the joint: it splits at every "and", also inside a word.

    Raises:
        ValueError: a part is not "number.label".
    """
    targets = []
    for part in text.split(" and "):
        count, dot, label = part.partition(".")
        label = label.split(".")[0].strip()
        if not (dot and label and count.strip().isdecimal()):
            raise ValueError(f'"{part}" is not a number, a dot and a label')
        targets.append(Target(int(count), label))
    return tuple(targets)


def count(scores: Sequence[float]) -> int:
    """Detections of one label in one frame that count."""
    return min(MOST, sum(score > THRESHOLD for score in scores))


def exact_counts(counts: Sequence[Sequence[int]], targets: Sequence[Target]) -> float:
    """Mean over frames of the share of labels that are there exactly as often as they should be; too many is wrong too.

    Args:
        counts: `[frame][label]`, labels in the order of `targets`.

    Raises:
        ValueError: there is no frame or no label, or a frame lacks labels.
    """
    if not counts or not targets:
        raise ValueError("no frames" if targets else "no labels to count")
    right = 0.0
    for frame in counts:
        pairs = zip(frame, targets, strict=True)
        right += sum(found == target.count for found, target in pairs) / len(targets)
    return right / len(counts)


def instance_preservation_counts(detections: Sequence[Sequence[Sequence[float]]], targets: Sequence[Target]) -> float:
    """`exact_counts` of detection scores `[frame][label][box]`."""
    return exact_counts([[count(scores) for scores in frame] for frame in detections], targets)


# ---- a set ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """k of n videos, with Wilson's 95 % interval."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.k / self.n


def share(values: Sequence[float]) -> Share:
    """Of videos that are 1 among 0s and 1s: the plain mean over videos, not over prompts.

    Raises:
        UserError: there are none, or a value is neither.
    """
    if not values:
        raise UserError("no video was judged", "evaluate the judge first")
    if any(value not in (0.0, 1.0) for value in values):
        raise UserError("a video is neither preserved nor not", "a share of k of n is of zeros and ones")
    k = sum(map(int, values))
    return Share(k, len(values), *wilson(k, len(values)))
