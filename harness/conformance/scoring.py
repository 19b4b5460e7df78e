"""Questions about what a metric answers for a clip, whatever its level."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from pydantic import ValidationError

from harness import registry, streaming, video
from harness.api import Clip, Metric, Score
from harness.conformance.judging import (
    MetricBench,
    attempt,
    difference,
    shown,
    value_of,
)
from harness.conformance.randomness import scramble, undrawn
from harness.conformance.report import Fault, NotApplicable, Question, demand, described, told
from harness.corruptions import CORRUPTIONS
from harness.features import RUNTIME, fingerprint
from harness.judging import Answer

OWN = {  # what a level must define
    "clip": ("score",),
    "samples": ("score_samples",),
    "set": ("reset", "update", "merge", "compute"),
    "summary": ("summarise",),
}
CHUNKED = 1e-4  # relative: networks that see other frames together round otherwise


# ---- declarations ----------------------------------------------------------------------------------------------


def declaration(bench: MetricBench) -> str:
    kind = bench.kind
    described(kind, Metric)
    demand(kind.level in OWN, f"level is {kind.level!r}; known are {', '.join(OWN)}")
    for name in OWN[kind.level]:
        demand(getattr(kind, name) is not getattr(Metric, name), f"a {kind.level}-level metric defines {name}()")
    low, high = kind.range
    finite = math.isfinite(low) and math.isfinite(high) and low < high
    demand(finite, f"range is {kind.range}; give two finite numbers, the lower one first")
    direction = kind.direction(bench.config)
    demand(direction is None or isinstance(direction, bool), f"higher_is_better is {direction!r}; True, False or None")
    for name, move in kind.moves.items():
        demand(name in CORRUPTIONS, f'moves names "{name}"; known damages are {", ".join(CORRUPTIONS)}')
        demand(move in {"up", "down", "same"}, f'moves["{name}"] is {move!r}; "up", "down" or "same"')
    for name in kind.features:
        registry.feature(name)
    if kind.level != "summary":  # whose inputs' weights may be missing
        one, two = (fingerprint(kind, bench.config) for _ in range(2))
        demand(one == two, "its fingerprint changes when asked again")
    words = {True: "higher is better", False: "lower is better", None: "descriptive"}[direction]
    return f"{kind.level} level, {words}, range [{low:g}, {high:g}]"


# ---- answers ---------------------------------------------------------------------------------------------------


def answers(bench: MetricBench) -> str:
    """Of the right type, for clips as they are."""
    try:
        found = bench.answers(bench.footage.real)
    except ValueError as error:
        if "read-only" in str(error):
            raise Fault(f"it changes its input in place ({told(error)}); work on a copy") from error
        raise
    for answer in found:
        well_formed(answer)
    values = [shown(value_of(answer)) for answer in found]
    return f"{', '.join(values)}"


def well_formed(answer: Any, what: str = "") -> None:
    """Fault unless the answer is a finite number, or None, with finite parts."""
    value = answer.value if isinstance(answer, Score) else answer
    if value is not None:
        wrong = isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real)
        demand(not wrong, f"{what}it answers with a {type(value).__name__} ({value!r}); return a float")
        demand(math.isfinite(value), f"{what}it answers {value}; return None where the metric does not apply")
    for name, part in answer.parts.items() if isinstance(answer, Score) else ():
        demand(isinstance(part, numbers.Real), f'{what}its part "{name}" is a {type(part).__name__}, not a number')
        demand(math.isfinite(part), f'{what}its part "{name}" is {part}; leave it out where it is not finite')
    demand(
        not isinstance(answer, Score) or isinstance(answer.note, str),
        f"{what}its note is a {type(getattr(answer, 'note', '')).__name__}, not text",
    )


def inside(bench: MetricBench, answer: Any, what: str) -> None:
    """`well_formed`, and within the declared range."""
    well_formed(answer, what)
    value, (low, high) = value_of(answer), bench.kind.range
    demand(
        value is None or low <= value <= high,
        f"{what}its value {shown(value)} is outside the declared range [{low:g}, {high:g}]",
    )


def in_range(bench: MetricBench) -> str:
    """No clip leads out of the declared range, nor to a crash."""
    tried = 0
    for answer in bench.answers(bench.footage.real):
        inside(bench, answer, "")
    for name, clip in bench.footage.odd.items():
        for answer in attempt(bench, _beside(bench, clip), name):
            inside(bench, answer, f"for {name} ")
        tried += 1
    for name in CORRUPTIONS:
        damaged = bench.footage.damaged(name, 3.0)[:2] if bench.per_clip else bench.footage.damaged(name, 3.0)
        for answer in attempt(bench, damaged, f"clips under {name}"):
            inside(bench, answer, f"for a clip under {name} (level 3) ")
        tried += 1
    return f"inside it on {tried} kinds of odd and damaged clips"


def _beside(bench: MetricBench, clip: Clip) -> list[Clip]:
    """The clip alone, or in a set with others."""
    return [clip] if bench.per_clip else [*bench.footage.real[1:], clip]


def none_handling(bench: MetricBench) -> str:
    """Where a metric has nothing to judge it answers None: not 0, not NaN, not a crash."""
    footage = bench.footage
    first = footage.real[0]
    frame = footage._write("odd/a clip of one frame", video.read(first.path, 1).frames, 0)
    blank = {
        "a clip of one frame": frame,
        "a clip without prompt and ground truth": replace(first, id="blank", prompt=None, meta={}),
    }
    if not bench.per_clip:
        for name, clip in blank.items():
            for answer in attempt(bench, _beside(bench, clip), f"a set with {name}"):
                inside(bench, answer, f"for a set with {name} ")
        return "a set may hold clips it cannot judge"
    usual, said = [value_of(answer) for answer in bench.answers(footage.real)], []
    for name, clip in blank.items():
        for answer in attempt(bench, [clip], name):
            inside(bench, answer, f"for {name} ")
            value = value_of(answer)
            invented = value == 0 and all(other not in {0, None} for other in usual)
            demand(
                not invented,
                f"for {name} it answers exactly 0, which no whole clip gets; where a metric does not apply it "
                "answers None, which is counted and never averaged",
            )
            said.append(f"{name}: {shown(value)}")
    return "; ".join(said) or "refuses what it cannot judge"


# ---- the same clips, the same values -----------------------------------------------------------------------------


def same(one: Sequence[Answer], other: Sequence[Answer], problem: str, to: float = 1e-6) -> None:
    """Fault with `problem`, and the two values, at the first that differs."""
    for a, b in zip(one, other, strict=True):
        if found := difference(a, b, to):
            raise Fault(f"{problem}: {found}")


def deterministic(bench: MetricBench) -> str:
    clips = bench.footage.real
    scramble(1)
    first = bench.answers(clips)
    scramble(2)
    again = bench.answers(clips)
    problem = "the same clips get other values the second time, with the global generators in another state"
    same(first, again, f"{problem}; seed a generator of its own, from the clip's content")
    metric = bench.fresh()
    bench.answers(clips, metric)  # networks are loaded, and may be initialised, at the first clip
    scramble(3)
    with undrawn("scoring", "seed a generator of its own, from the clip's content"):
        same(first, bench.answers(clips, metric), "the same metric scores the same clips differently again")
    metric.close()
    return "the same again, and the global generators stay as they were"


def order(bench: MetricBench) -> str:
    """A clip's value owes nothing to the clips before it; a set's nothing to their order."""
    clips = bench.footage.real
    whole = bench.answers(clips)
    turned = bench.answers(list(reversed(clips)))
    if not bench.per_clip:
        same(whole, turned, "the set's value changes with the order of its clips")
        return "the order of a set's clips does not matter"
    if bench.kind.level == "clip":
        alone = [bench.answers([clip])[0] for clip in clips]
        same(
            whole, alone,
            "a clip gets another value alone than after other clips: something is kept from clip to clip",
        )  # fmt: skip
    same(whole, turned[::-1], "a clip's value changes with the order in which clips come")
    return "alone, in order and in reverse order the same"


def batching(bench: MetricBench) -> str:
    """Neither how many frames come at a time nor a batch size enters a value."""
    clips, said = bench.footage.real[:3] if bench.per_clip else bench.footage.real, []
    usual = bench.answers(clips)
    with closing(bench.fresh()) as metric:
        extracts = bool(metric.extractors())
    if extracts:
        for size in (1, 5):
            with mock.patch.object(streaming, "CHUNK_FRAMES", size):
                found = bench.answers(clips)
            same(usual, found, f"values change when extractors get {size} frames at a time", CHUNKED)
        said.append("frames come 1, 5 or 16 at a time")
    for name in sorted((RUNTIME | bench.kind.runtime) & set(bench.kind.Config.model_fields)):
        tried = []
        for value in others(getattr(bench.config, name)):
            with suppress(ValidationError):  # a value the option may not have
                tried.append((value, bench.fresh(**{name: value})))
        for value, metric in tried:
            problem = f"values change with {name}={value}, an option that does not enter the fingerprint"
            same(usual, bench.answers(clips, metric), problem, CHUNKED)
            metric.close()
        if tried:
            said.append(f"{name} is {', '.join(str(value) for value, _ in tried)}")
    if not said:
        raise NotApplicable("it has no extractor and no option such as batch_size")
    return f"the same whether {' and '.join(said)}"


def others(value: Any) -> tuple[Any, ...]:
    """Other values of an option of this type."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return 1, 2, 5
    return (value / 2, 2 * value) if isinstance(value, float) else ()


QUESTIONS = (
    Question("declaration", declaration),
    Question("answers", answers, after=("declaration",)),
    Question("range", in_range, after=("answers",)),
    Question("nothing to judge", none_handling, after=("range",)),
    Question("determinism", deterministic, after=("answers",)),
    Question("clip order", order, after=("determinism",)),
    Question("batching", batching, after=("determinism",)),
)
