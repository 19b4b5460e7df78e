"""Stage three: score clips. The same function serves a cell's clips and any folder of clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import registry
from harness.config import digest
from harness.errors import UserError
from harness.judging import Answer, Clip, Extractor, Features, Metric, Score, ScoreRow
from harness.plugins import MetricSpec
from harness.provenance import timed
from harness.store import append_jsonl, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from harness.features import ClipFeatures, FeatureStore
    from harness.job import Job

Report = Callable[[int, int], None]
WHOLE = "*"  # the "clip" of a row that speaks of all clips


def evaluate(job: Job) -> list[str]:
    """Score the cell's clips with the suite's metrics; returns what failed, a line each."""
    prompts = job.plan.prompts[: job.plan.wanted]
    rows = {row["id"]: row for row in job.run.clips()}
    clips = [
        Clip(row["id"], job.run / row["file"], row["sha256"], row["prompt"], row["seed"], row["meta"])
        for row in (rows[prompt.id] for prompt in prompts)
    ]
    whole = job.plan.wanted == len(job.plan.prompts)
    cache = job.plan.root / ".cache" / "extracts"
    with timed(job.run / "timings.jsonl", "evaluate", job.device) as timing:
        failed, scored = score_clips(
            clips, job.plan.metrics, job.run / "scores", whole, lambda done, of: job.report("evaluate", done, of), cache
        )
        timing["items"] = scored
    return failed


def score_clips(
    clips: Sequence[Clip],
    specs: Sequence[MetricSpec],
    folder: Path,
    whole: bool,
    report: Report,
    cache: Path | None = None,
    shards: Sequence[Path] = (),
) -> tuple[list[str], int]:
    """Score what is not scored yet, each clip decoded once for all metrics, memory holding one clip.

    Args:
        whole: all clips of the set are here, so metrics of the whole set may be computed.
        cache: where extractors' results are kept, by clip and weights.
        shards: score folders of other processes whose rows are taken over.

    Returns:
        Failures, a line each, and the number of clips that were read.
    """
    from harness.features import FeatureStore

    with ExitStack() as stack:
        judges = []
        for spec in specs:
            metric = build(spec)
            stack.callback(metric.close)
            judges.append(_Judge(spec, metric, folder, clips, shards))
        work = _Evaluation(clips, judges, FeatureStore(cache), whole, report)
        work.run()
    failed = [
        f"{judge.spec.name}: {row['clip']}: {row['error']}"
        for judge in judges
        for row in judge.rows.values()
        if row["error"]
    ]
    return failed, len(work.read)


def build(spec: MetricSpec) -> Metric:
    """The metric behind a spec."""
    kind = registry.metrics.get(spec.name)
    metric: Metric = kind(kind.Config.model_validate(dict(spec.config)))
    return metric


class _Judge:
    """A metric and its rows. Those that still hold are kept: same bytes, no error; failed ones are tried again."""

    def __init__(
        self, spec: MetricSpec, metric: Metric, folder: Path, clips: Sequence[Clip], shards: Sequence[Path]
    ) -> None:
        self.spec, self.metric, name = spec, metric, f"{spec.id}.jsonl"
        self.path = folder / name
        digests = {clip.id: clip.sha256 for clip in clips} | {WHOLE: set_digest(clips)}
        mine = read_jsonl(self.path, repair=True)
        rows = [*mine, *(row for shard in shards for row in read_jsonl(shard / name, repair=True))]
        self.rows = {row["clip"]: row for row in rows if digests.get(row["clip"]) == row["sha256"] and not row["error"]}
        if list(self.rows.values()) != mine:
            write_jsonl(self.path, self.rows.values())

    def add(self, rows: Sequence[ScoreRow]) -> None:
        self.rows.update({row["clip"]: row for row in rows})
        append_jsonl(self.path, rows)

    def finish(self, order: Sequence[str]) -> None:
        """The file's order is the clips' order; a repaired row was appended last."""
        rows = [self.rows[key] for key in order if key in self.rows]
        if rows != read_jsonl(self.path):
            write_jsonl(self.path, rows)


@dataclass
class _Evaluation:
    """One run over the clips, a prompt's samples at a time."""

    clips: Sequence[Clip]
    judges: Sequence[_Judge]
    store: FeatureStore
    whole: bool
    report: Report
    active: Sequence[_Judge] = ()
    read: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        whole_set = set_digest(self.clips)
        everything = Clip(WHOLE, Path(), whole_set)
        phases = self.phases()
        for number, self.active in enumerate(phases):
            for judge in self.level("clip"):
                self.skip(judge)
            sets = [judge for judge in self.level("set") if self.whole and WHOLE not in judge.rows]
            for judge in sets:
                judge.metric.reset()
            done = number * len(self.clips)
            for group in sample_groups(self.clips) if self.level("samples") else ([clip] for clip in self.clips):
                self.score_group(group, sets)
                done += len(group)
                self.report(done, len(phases) * len(self.clips))
            note = f"{len(self.unread)} clips could not be read" if self.unread else ""
            for judge in sets:
                judge.add([row_of(judge.spec, everything, judge.metric.compute, note)])
            for judge in self.active:
                if judge.metric.alone:
                    judge.metric.close()
        self.active = self.judges
        rows = {judge.spec.name: list(judge.rows.values()) for judge in self.judges}
        for judge in self.level("summary") if self.whole else ():
            inputs = {name: rows[name] for name in judge.metric.inputs if name in rows}
            judge.add([row_of(judge.spec, everything, partial(judge.metric.summarise, inputs))])
        for judge in self.judges:
            judge.finish([clip.id for clip in self.clips] if judge.spec.per_clip else [WHOLE])

    def phases(self) -> list[list[_Judge]]:
        """Metrics that share each clip's decoding, then one by one those that would not fit beside others."""
        together = [judge for judge in self.judges if not judge.metric.alone]
        return [together] * bool(together) + [[judge] for judge in self.judges if judge.metric.alone]

    def level(self, *names: str) -> list[_Judge]:
        return [judge for judge in self.active if judge.spec.level in names]

    def score_group(self, group: Sequence[Clip], sets: Sequence[_Judge]) -> None:
        """All that is missing of one prompt's samples."""
        opened: dict[str, ClipFeatures] = {}
        together = [judge for judge in self.level("samples") if any(clip.id not in judge.rows for clip in group)]
        for clip in group:
            todo = [judge for judge in self.level("clip") if clip.id not in judge.rows]
            if todo or sets or together:
                self.read.add(clip.id)
            if todo or sets:
                announced = _announced([judge.metric for judge in (*todo, *sets, *together)], clip)
                with self.store.open(clip, announced) as features:
                    for judge in todo:
                        judge.add([_score(judge, clip, features)])
                    self.unread.update(_take_in([judge.metric for judge in sets], clip, features))
                    opened[clip.id] = features
        for judge in together:
            judge.add(self.score_together(judge, group, opened))

    def skip(self, judge: _Judge) -> None:
        """Rows of the clips the metric has nothing to say of, with the reason."""
        reasons = {clip.id: judge.metric.skip(clip) for clip in self.clips if clip.id not in judge.rows}
        scores = {key: Score(None, note=reason) for key, reason in reasons.items() if reason}
        judge.add([row_of(judge.spec, clip, _returning(scores, clip.id)) for clip in self.clips if clip.id in scores])

    def score_together(
        self, judge: _Judge, group: Sequence[Clip], opened: Mapping[str, ClipFeatures]
    ) -> list[ScoreRow]:
        """Rows of one prompt's samples from a metric that looks at them together."""

        @contextmanager
        def open_clip(clip: Clip) -> Iterator[Features]:
            if clip.id in opened:  # what was extracted is still there
                yield opened[clip.id]
                opened[clip.id].release()
            else:
                with self.store.open(clip, _announced([judge.metric], clip)) as features:
                    yield features

        judged = {clip.id: judge.metric.skip(clip) for clip in group}
        wanted = [clip for clip in group if not judged[clip.id]]
        try:
            answers = judge.metric.score_samples(wanted, open_clip) if wanted else {}
        except Exception as error:
            return [row_of(judge.spec, clip, _raising(error)) for clip in group]
        skips = {key: Score(None, note=reason) for key, reason in judged.items() if reason}
        return [row_of(judge.spec, clip, _returning({**skips, **answers}, clip.id)) for clip in group]


def sample_groups(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips of one prompt together, where they say which sample of it they are; others stand alone."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        together = clip.prompt is not None and isinstance(clip.meta.get("sample"), int)
        groups.setdefault(f"prompt {clip.prompt}" if together else f"clip {clip.id}", []).append(clip)
    return list(groups.values())


def set_digest(clips: Sequence[Clip]) -> str:
    """What identifies a set of clips, in any order."""
    return digest(sorted(clip.sha256 for clip in clips))


def _announced(metrics: Sequence[Metric], clip: Clip) -> list[Extractor]:
    """What will be asked of the clip; a metric that fails here fails again, and is named, when it scores."""
    found: list[Extractor] = []
    for metric in metrics:
        try:
            found += () if metric.skip(clip) else metric.extractors()
        except Exception:
            continue
    return found


def _take_in(metrics: Sequence[Metric], clip: Clip, features: Features) -> dict[str, str]:
    """Give the clip to set-level metrics; returns `{clip: reason}` when it cannot be read."""
    try:
        for metric in metrics:
            metric.update(clip, features)
    except UserError as error:
        return {clip.id: error.problem}
    return {}


def _score(judge: _Judge, clip: Clip, features: Features) -> ScoreRow:
    return row_of(judge.spec, clip, lambda: judge.metric.score(clip, features))


def _raising(error: Exception) -> Callable[[], Answer]:
    def again() -> Answer:
        raise error

    return again


def _returning(answers: Mapping[str, Answer], clip: str) -> Callable[[], Answer]:
    def answer() -> Answer:
        if clip not in answers:
            raise KeyError(f"the metric gave no answer for {clip}")
        return answers[clip]

    return answer


def row_of(spec: MetricSpec, clip: Clip, compute: Callable[[], Answer], note: str = "") -> ScoreRow:
    """Run a metric on one clip; whatever it raises is a named, counted failure of this score alone."""
    row: ScoreRow = {"clip": clip.id, "sha256": clip.sha256, "value": None, "parts": {}, "note": note, "error": ""}
    try:
        answer = compute()
        score = answer if isinstance(answer, Score) else Score(answer)
        low, high = spec.range
        if score.value is not None and not low <= score.value <= high:  # also catches NaN
            return row | {"error": f"value {score.value} is outside the declared range [{low}, {high}]"}
        bad = [name for name, value in score.parts.items() if not math.isfinite(value)]
        if bad:
            return row | {"error": f"part {bad[0]} is not finite"}
    except UserError as error:
        return row | {"error": error.problem}
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {error}"}
    value = None if score.value is None else float(score.value)
    parts = {name: float(part) for name, part in score.parts.items()}
    return row | {"value": value, "parts": parts, "note": "; ".join(filter(None, (note, score.note)))}
