"""A metric on real files: fresh copies of it, and what they answer for a list of clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from harness.api import Clip, Extractor, Features, Metric, Score
from harness.config import validate
from harness.conformance.footage import Footage
from harness.conformance.report import Fault, told
from harness.errors import UserError
from harness.evaluate import sample_groups
from harness.features import ClipFeatures, FeatureStore
from harness.judging import Answer
from harness.plugins import metric_spec

EXACT = 1e-6  # relative: what another order of sums may change


class MetricBench:
    """One metric under one configuration, and the clips to ask it about."""

    def __init__(self, kind: Any, settings: Mapping[str, Any], root: Path) -> None:
        self.kind, self.settings = kind, dict(settings)
        self.config: Any = validate(kind.Config, self.settings, kind.name)
        self.footage = Footage(root / "clips", together=kind.level == "samples")
        self.cache = root / "extracts"

    def check_weights(self) -> None:
        """UserError when something the metric needs is not here."""
        metric_spec({"name": self.kind.name, **self.settings})

    @property
    def per_clip(self) -> bool:
        return self.kind.level in {"clip", "samples"}

    def fresh(self, **changes: Any) -> Metric:
        """A new instance, with some options changed."""
        config = self.config if not changes else self.kind.Config(**{**self.config.model_dump(), **changes})
        metric: Metric = self.kind(config)
        return metric

    def answers(self, clips: Sequence[Clip], metric: Metric | None = None, cached: bool = False) -> list[Answer]:
        """An answer for every clip, or one for the set, as `evaluate` asks for them.

        Args:
            metric: by default a fresh one, closed afterwards.
            cached: keep what extractors computed for the next time.
        """
        store = FeatureStore(self.cache if cached else None)
        if metric is not None:
            return self._ask(metric, clips, store)
        with closing(self.fresh()) as own:
            return self._ask(own, clips, store)

    def _ask(self, metric: Metric, clips: Sequence[Clip], store: FeatureStore) -> list[Answer]:
        if not self.per_clip:
            metric.reset()
            take_in(metric, clips, store)
            return [metric.compute()]
        found: dict[str, Answer] = {}
        for group in sample_groups(clips):
            asked = [clip for clip in group if not metric.skip(clip)]
            found |= {clip.id: Score(None, note=metric.skip(clip)) for clip in group if clip not in asked}
            if self.kind.level == "clip":
                for clip in asked:
                    with opened(metric, clip, store) as features:
                        found[clip.id] = metric.score(clip, features)
            elif asked:
                found |= metric.score_samples(asked, lambda clip: opened(metric, clip, store))
        missing = [clip.id for clip in clips if clip.id not in found]
        if missing:
            raise Fault(f"score_samples gives no answer for clip {missing[0]}")
        return [found[clip.id] for clip in clips]


def take_in(metric: Metric, clips: Sequence[Clip], store: FeatureStore) -> None:
    """`update` with every clip."""
    for clip in clips:
        with opened(metric, clip, store) as features:
            metric.update(clip, features)


@contextmanager
def opened(
    metric: Metric, clip: Clip, store: FeatureStore, further: Sequence[Extractor] = ()
) -> Iterator[ClipFeatures]:
    """A clip's features with all that was announced, as `evaluate` opens it."""
    with store.open(clip, [*metric.extractors(), *further]) as features:
        yield features


class WatchedFeatures:
    """Features that note which registered ones were asked for."""

    def __init__(self, inner: Features) -> None:
        self.inner, self.asked = inner, set[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get(self, name: str) -> Any:
        self.asked.add(name)
        return self.inner.get(name)


def value_of(answer: Answer) -> float | None:
    value = answer.value if isinstance(answer, Score) else answer
    return None if value is None else float(value)


def numbers_of(answer: Answer) -> dict[str, float | None]:
    """Value and parts by name."""
    parts = {name: float(part) for name, part in answer.parts.items()} if isinstance(answer, Score) else {}
    return {"value": value_of(answer), **parts}


def difference(one: Answer, other: Answer, tolerance: float = EXACT) -> str:
    """In what two answers differ, "" if in nothing."""
    mine, others = numbers_of(one), numbers_of(other)
    for name in mine:
        a, b = mine[name], others.get(name)
        if (a is None) != (b is None) or (a is not None and b is not None and not _close(a, b, tolerance)):
            what = "" if name == "value" else f"part {name}: "
            return f"{what}{shown(a)} and {shown(b)}"
    return "" if set(mine) == set(others) else f"parts {sorted(mine)} and {sorted(others)}"


def _close(a: float, b: float, tolerance: float) -> bool:
    return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b)) or (a != a and b != b)


def shown(value: float | None) -> str:
    return "None" if value is None else f"{value:.6g}"


def attempt(bench: MetricBench, clips: Sequence[Clip], what: str) -> list[Answer]:
    """Answers, or [] for a refusal (UserError); any other exception is a Fault about `what`."""
    try:
        return bench.answers(clips)
    except UserError:
        return []
    except Exception as error:
        raise Fault(f"{what}: {told(error)}; answer Score(None, note=...) where the metric does not apply") from error
