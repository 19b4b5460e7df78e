"""Questions about sets of clips: shards, a set against itself, known damage; and about summaries of other metrics."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from harness import registry
from harness.api import Clip, Metric
from harness.conformance.judging import MetricBench, difference, shown, take_in, value_of
from harness.conformance.report import Fault, NotApplicable, Question, demand
from harness.conformance.scoring import declaration, inside, same
from harness.evaluate import WHOLE
from harness.features import FeatureStore
from harness.judging import Answer, ScoreRow
from harness.sanity import NEGLIGIBLE, Change, jackknife, judge, paired

ITSELF = 0.01  # of the distance to damaged clips: what a set may be away from itself


# ---- shards ----------------------------------------------------------------------------------------------------


def sharding(bench: MetricBench) -> str:
    """1, 2 or 3 shards, merged in any order, an empty one among them: the same number."""
    clips = bench.footage.real
    whole = bench.answers(clips, cached=True)[0]
    for cuts in ([2], [1, 4], [0, 3]):
        bounds = [0, *cuts, len(clips)]
        for turn in permutations(range(len(cuts) + 1)):
            shards = [_state(bench, clips[bounds[k] : bounds[k + 1]]) for k in turn]
            first, *rest = shards
            for other in rest:
                first.merge(other)
            found = difference(whole, first.compute())
            sizes = " + ".join(str(bounds[k + 1] - bounds[k]) for k in turn)
            demand(not found, f"merged from shards of {sizes} clips it is another value than from all at once: {found}")
            for shard in shards:
                shard.close()
    return "2 and 3 shards, merged in any order, give the value of the whole set"


def _state(bench: MetricBench, clips: Sequence[Clip]) -> Metric:
    """A metric that has taken in these clips."""
    metric = bench.fresh()
    metric.reset()
    take_in(metric, clips, FeatureStore(bench.cache))
    return metric


def resetting(bench: MetricBench) -> str:
    """reset() forgets, and compute() keeps the state."""
    clips, store = bench.footage.real, FeatureStore(bench.cache)
    fresh = bench.answers(clips, cached=True)[0]
    metric = _state(bench, bench.footage.damaged("noise"))
    metric.compute()
    metric.reset()
    take_in(metric, clips, store)
    found = difference(fresh, metric.compute())
    demand(not found, f"after reset() it still knows the clips before: {found}")
    again = difference(fresh, metric.compute())
    demand(not again, f"compute() a second time gives another value: {again}")
    other = bench.fresh()
    other.reset()
    take_in(other, clips, store)
    third = difference(metric.compute(), other.compute())
    demand(not third, f"two metrics share state: {third}")
    metric.close()
    other.close()
    return "reset() forgets everything, compute() changes nothing"


def identity(bench: MetricBench) -> str:
    """Its reference made of the very clips: as near as it gets."""
    if "reference" not in bench.kind.Config.model_fields:
        raise NotApplicable("it has no option reference, so there is nothing to hold a set against")
    clips, damaged = bench.footage.real, bench.footage.damaged("noise", 2.0)
    against = str(clips[0].path.parent)
    own, far = (value_of(bench.answers(some, bench.fresh(reference=against))[0]) for some in (clips, damaged))
    demand(own is not None and far is not None, "it has no value for a set against itself")
    assert own is not None and far is not None  # noqa: PT018
    if bench.kind.direction(bench.config) is False:
        low = bench.kind.range[0]
        demand(
            own - low <= ITSELF * abs(far - low),
            f"a set against itself is {own:.4g} away, noisy clips {far:.4g}; expected nearly {low:g}",
        )
    else:
        demand(own > far, f"a set against itself gets {own:.4g}, noisy clips get {far:.4g}")
    return f"a set against itself {own:.3g}, noisy clips against it {far:.3g}"


# ---- known damage ----------------------------------------------------------------------------------------------


def direction(bench: MetricBench) -> str:
    """What `moves` says of known damage is what happens."""
    moves, higher = bench.kind.moves, bench.kind.direction(bench.config)
    if not moves:
        raise NotApplicable('it declares no moves, such as {"blur": "down"}, so nothing says what damage should do')
    better = {True: "up", False: "down"}.get(higher, "")
    if better and set(moves.values()) == {better}:
        raise Fault(
            f"higher_is_better is {higher}, but every damage it declares ({', '.join(moves)}) moves it {better}: "
            "one of the two is wrong"
        )
    said, unmoved = [], []
    for name, expected in moves.items():
        change = _by_clip(bench, name) if bench.per_clip else _by_set(bench, name)
        verdict = judge(expected, change)
        amount = f"{change.difference:+.3g}"
        if verdict == "no":
            told = "stays" if expected == "same" else f"goes {expected}"
            raise Fault(f"moves says it {told} under {name}; it changes by {amount} on {change.n} clips (or parts)")
        if expected != "same" and abs(change.difference) <= NEGLIGIBLE * change.scale:
            unmoved.append(name)
        said.append(f"{name} {amount}{'' if verdict == 'ok' else ' (not clear)'}")
    expected_to = [name for name, move in moves.items() if move != "same"]
    demand(not expected_to or len(unmoved) < len(expected_to), f"it does not notice {', '.join(unmoved)} at all")
    return ", ".join(said)


def _by_clip(bench: MetricBench, corruption: str) -> Change:
    sides = []
    for clips in (bench.footage.real, bench.footage.damaged(corruption)):
        found = zip(range(len(clips)), bench.answers(clips, cached=True), strict=True)
        sides.append({str(n): value for n, answer in found if (value := value_of(answer)) is not None})
    return paired(*sides)


def _by_set(bench: MetricBench, corruption: str) -> Change:
    real, damaged = bench.footage.real, bench.footage.damaged(corruption)

    @functools.cache
    def value(spoilt: bool, chosen: tuple[int, ...]) -> float:
        clips = [(damaged if spoilt else real)[number] for number in chosen]
        found = value_of(bench.answers(clips, cached=True)[0])
        if found is None:
            raise NotApplicable(f"it has no value for {len(chosen)} clips")
        return found

    return jackknife(len(real), functools.partial(value, False), functools.partial(value, True))


# ---- summaries -------------------------------------------------------------------------------------------------


def summary(bench: MetricBench) -> str:
    """A number from made-up rows: in range, the same again and in any order of rows; and without all inputs."""
    metric, rows = bench.fresh(), {name: _rows(name) for name in bench.kind.inputs}
    before = copy.deepcopy(rows)
    answer = metric.summarise(rows)
    inside(bench, answer, "")
    demand(rows == before, "summarise() changes the rows it is given")
    same([answer], [bench.fresh().summarise(rows)], "the same rows give another value the second time")
    turned: Mapping[str, Sequence[ScoreRow]] = {name: list(reversed(own)) for name, own in rows.items()}
    same([answer], [metric.summarise(turned)], "the value changes with the order of rows")
    partial: Answer = None
    for left_out in rows:
        partial = metric.summarise({name: own for name, own in rows.items() if name != left_out})
        inside(bench, partial, f"without {left_out} ")
    inside(bench, metric.summarise({}), "without any input ")
    metric.close()
    return f"{shown(value_of(answer))} from {len(rows)} inputs"


def _rows(name: str) -> list[ScoreRow]:
    """Rows of an input metric, one of them without a value."""
    kind: Any = registry.metrics.get(name)
    low, high = kind.range[0], min(kind.range[1], kind.range[0] + 1)
    blank: dict[str, Any] = {"sha256": "", "parts": {}, "note": "", "error": ""}
    if kind.level not in {"clip", "samples"}:
        return [{**blank, "clip": WHOLE, "value": low + 0.5 * (high - low)}]
    values = [low + (high - low) * k / 5 for k in range(5)]
    return [{**blank, "clip": f"clip-{k}", "value": value} for k, value in enumerate([*values, None])]


DIRECTION = Question("direction", direction, after=("determinism",))
QUESTIONS = (
    Question("shards", sharding, after=("determinism",)),
    Question("reset", resetting, after=("determinism",)),
    Question("identity", identity, after=("determinism",)),
    DIRECTION,
)
SUMMARY = (Question("declaration", declaration), Question("summary", summary, after=("declaration",)))
