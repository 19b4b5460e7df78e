"""Stage three: score clips. The same function serves a cell's clips and any folder of clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Clip, Features, Metric, Score
from harness.config import digest
from harness.errors import UserError
from harness.plugins import MetricSpec
from harness.provenance import timed
from harness.store import append_jsonl, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from harness.job import Job

Row = dict[str, Any]


def evaluate(job: Job) -> list[str]:
    """Score the cell's clips with the suite's metrics; returns what failed, a line each."""
    prompts = job.plan.prompts[: job.plan.wanted]
    rows = {row["id"]: row for row in job.run.clips()}
    clips = [
        Clip(row["id"], job.run / row["file"], row["sha256"], row["prompt"], row["seed"], row["meta"])
        for row in (rows[prompt.id] for prompt in prompts)
    ]
    whole = job.plan.wanted == len(job.plan.prompts)
    with timed(job.run / "timings.jsonl", "evaluate", job.device) as timing:
        failed, scored = score_clips(
            clips, job.plan.metrics, job.run / "scores", whole, lambda done, of: job.report("evaluate", done, of)
        )
        timing["items"] = scored
    return failed


def score_clips(
    clips: Sequence[Clip],
    specs: Sequence[MetricSpec],
    folder: Path,
    whole: bool,
    report: Callable[[int, int], None],
) -> tuple[list[str], int]:
    """Score what is not scored yet, clip by clip, so that each is decoded once and memory holds one clip.

    Args:
        whole: all clips of the set are here, so set-level metrics may be computed.

    Returns:
        Failures, a line each, and the number of clips that were read.
    """
    from harness.features import FeatureStore

    metrics = {spec.id: build(spec) for spec in specs}
    kept = {spec.id: _kept(folder / f"{spec.id}.jsonl", clips) for spec in specs}
    clip_level = [spec for spec in specs if spec.level == "clip"]
    set_level = [spec for spec in specs if spec.level == "set" and whole and not _set_done(kept[spec.id], clips)]
    for spec in set_level:
        metrics[spec.id].reset()
    store, seen, unread = FeatureStore(), 0, {}
    for number, clip in enumerate(clips):
        todo = [spec for spec in clip_level if clip.id not in kept[spec.id]]
        if todo or set_level:
            seen += 1
            with store.open(clip) as features:
                for spec in todo:
                    row = _score(metrics[spec.id], spec, clip, features)
                    kept[spec.id][clip.id] = row
                    append_jsonl(folder / f"{spec.id}.jsonl", [row])
                unread.update(_take_in([metrics[spec.id] for spec in set_level], clip, features))
        report(number + 1, len(clips))
    for spec in set_level:
        whole_set = Clip("*", folder, _set_digest(clips))
        note = f"{len(unread)} clips could not be read" if unread else ""
        row = _row(spec, whole_set, metrics[spec.id].compute, note)
        write_jsonl(folder / f"{spec.id}.jsonl", [row])
        kept[spec.id] = {"*": row}
    for spec in clip_level:  # a repaired row was appended last; the file's order is the clips' order
        rows = [kept[spec.id][clip.id] for clip in clips]
        if rows != read_jsonl(folder / f"{spec.id}.jsonl"):
            write_jsonl(folder / f"{spec.id}.jsonl", rows)
    failed = [
        f"{spec.name}: {row['clip']}: {row['error']}"
        for spec in specs
        for row in kept[spec.id].values()
        if row["error"]
    ]
    return failed, seen


def _take_in(metrics: Sequence[Metric], clip: Clip, features: Features) -> dict[str, str]:
    """Give the clip to set-level metrics; returns `{clip: reason}` when it cannot be read."""
    try:
        for metric in metrics:
            metric.update(clip, features)
    except UserError as error:
        return {clip.id: error.problem}
    return {}


def build(spec: MetricSpec) -> Metric:
    """The metric behind a spec."""
    kind = registry.metrics.get(spec.name)
    return kind(kind.Config.model_validate(dict(spec.config)))


def _kept(path: Path, clips: Sequence[Clip]) -> dict[str, Row]:
    """Rows that still hold: same bytes, no error. Failed ones are tried again."""
    digests = {clip.id: clip.sha256 for clip in clips} | {"*": _set_digest(clips)}
    rows = read_jsonl(path, repair=True)
    good = {row["clip"]: row for row in rows if digests.get(row["clip"]) == row["sha256"] and not row["error"]}
    if len(good) < len(rows):
        write_jsonl(path, good.values())
    return good


def _set_digest(clips: Sequence[Clip]) -> str:
    return digest(sorted(clip.sha256 for clip in clips))


def _set_done(kept: Mapping[str, Row], clips: Sequence[Clip]) -> bool:
    return "*" in kept and kept["*"]["sha256"] == _set_digest(clips)


def _score(metric: Metric, spec: MetricSpec, clip: Clip, features: Features) -> Row:
    return _row(spec, clip, lambda: metric.score(clip, features))


def _row(spec: MetricSpec, clip: Clip, compute: Callable[[], Score | float | None], note: str = "") -> Row:
    """Run a metric on one clip; whatever it raises is a named, counted failure of this score alone."""
    row: Row = {"clip": clip.id, "sha256": clip.sha256, "value": None, "parts": {}, "note": note, "error": ""}
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
