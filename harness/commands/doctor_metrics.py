"""`mutoscope doctor --metrics`: every available metric on clips that are damaged in known ways."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from harness import registry, video
from harness.api import Clip, ClipSpec, derive_seed
from harness.commands import DONE, FAILED
from harness.corruptions import CORRUPTIONS
from harness.errors import UserError
from harness.evaluate import build, score_clips
from harness.features import FeatureStore
from harness.judging import Score
from harness.plugins import MetricSpec, metric_items, metric_spec
from harness.sanity import NOTHING, Change, jackknife, judge, paired
from harness.store import file_digest, read_jsonl

if TYPE_CHECKING:
    from numpy.typing import NDArray

REAL = "as it is"
LONGEST = 64  # frames taken of a user's clip
LARGEST = 256  # pixels of its shorter side: larger ones are brought to that
SEED = 0


@dataclass(frozen=True)
class Request:
    """What the user asked of `doctor --metrics`."""

    only: Sequence[str]
    clips: Path | None
    limit: int
    level: float
    json: bool
    out: Path | None
    picture: Path | None
    runs: Path
    plugins: Sequence[str]


@dataclass(frozen=True)
class Finding:
    """What one corruption did to one metric."""

    metric: str
    corruption: str
    expected: str
    verdict: str
    difference: float
    se: float
    n: int
    scale: float
    agreeing: int
    failures: Mapping[str, str]  # reason by clip

    @property
    def clear(self) -> bool:
        return Change(self.difference, self.se, self.n, self.scale, self.agreeing).clear


@dataclass(frozen=True)
class Shown:
    """A clip before it is damaged."""

    id: str
    frames: NDArray[Any]
    fps: float
    prompt: str | None
    meta: Mapping[str, Any]


def examine_metrics(request: Request) -> int:
    """Print what moved which way; 1 if an available metric clearly moved the wrong way.

    On the user's clips the judges of the embedded world do not count: they know no other.
    """
    from harness.commands.doctor_show import draw, show, write

    console, started = Console(stderr=request.json), time.monotonic()
    for plugin in request.plugins:
        registry.load_plugin(plugin)
    specs, left_out = available(request.only)
    if not specs:
        raise UserError("no metric is available here", "mutoscope doctor says what each lacks")
    shown = list(rendered(request.limit) if request.clips is None else footage(request.clips, request.limit, console))
    count = len(shown) * (1 + len(CORRUPTIONS))
    console.print(f"{len(specs)} metrics on {count} clips: {len(shown)}, each as it is and damaged in "
                  f"{len(CORRUPTIONS)} ways", highlight=False)  # fmt: skip
    with (
        TemporaryDirectory(prefix="mutoscope-doctor-") as folder,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bars,
    ):

        def said(what: str) -> Callable[[int, int], None]:
            task = bars.add_task(what, total=None)
            return lambda done, of: bars.update(task, completed=done, total=of)

        versions = damage(shown, Path(folder), request.level, said("damaging"))
        findings = measure(
            specs, versions, Path(folder), request.runs / ".cache" / "extracts", said("scoring")
        )  # fmt: skip
    seconds = time.monotonic() - started
    abroad = {spec.name for spec in specs if of_the_world(spec.name)} if request.clips is not None else set[str]()
    write(findings, left_out, shown, request, console)
    if not request.json:
        show(findings, left_out, sorted(abroad), seconds, console)
    if request.picture:
        draw(findings, request.picture)
    wrong = {finding.metric for finding in findings if finding.verdict == "no"}
    return FAILED if wrong - abroad else DONE


def of_the_world(metric: str) -> bool:
    """Whether it was made for clips of the embedded world: `shapes/...`, `...-shapes`."""
    return metric.split("/")[0].split("-")[-1] == "shapes"


def available(only: Sequence[str]) -> tuple[list[MetricSpec], dict[str, list[str]]]:
    """Metrics that can run as they are, and the others by the reason why not."""
    specs, left_out = list[MetricSpec](), dict[str, list[str]]()
    items, excluded = metric_items({"name": name} for name in only or registry.metrics.names())
    for name, reason in excluded.items():
        left_out.setdefault(reason, []).append(name)
    for item in items:
        try:
            spec = metric_spec(item)
        except UserError as error:
            if item["name"] in only:
                raise
            problem = error.problem.removeprefix(f"metrics.{item['name']}: ")
            left_out.setdefault(f"{problem}; {error.remedy}", []).append(item["name"])
            continue
        if spec.level == "summary":
            left_out.setdefault("it summarises other metrics", []).append(spec.name)
        else:
            specs.append(spec)
    return specs, left_out


# ---- clips -----------------------------------------------------------------------------------------------------


def rendered(limit: int) -> Iterator[Shown]:
    """Held-out clips of the embedded world in which something moves."""
    from harness.data.shapes import Shapes, ShapesConfig

    data = Shapes(ShapesConfig(size=100 * limit, seed=SEED, split="heldout"), ClipSpec())
    lively = (i for i in range(100 * limit) if data.scene(i).cast.lively)
    for index, _ in zip(lively, range(limit), strict=False):
        row = data.rows()[index]
        yield Shown(row.id, data.video(index), data.spec.fps, row.prompt, row.meta)


def footage(folder: Path, limit: int, console: Console) -> Iterator[Shown]:
    """The first clips of a folder, of each the first `LONGEST` frames, at most `LARGEST` pixels on the shorter side."""
    from harness.commands.evaluate import find_clips

    for clip in find_clips(folder, None, False, console)[:limit]:
        film = video.read(clip.path, LONGEST)
        meta = {k: v for k, v in clip.meta.items() if k != "sample"}
        yield Shown(clip.id, _smaller(film.frames), film.fps, clip.prompt, meta)


def _smaller(frames: NDArray[Any]) -> NDArray[Any]:
    """A large clip would be damaged for minutes, and most metrics make it smaller anyway."""
    import cv2
    import numpy as np

    height, width = frames.shape[1:3]
    scale = LARGEST / min(height, width)
    if scale >= 1:
        return frames
    size = round(width * scale), round(height * scale)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def damage(
    shown: Sequence[Shown], folder: Path, level: float, report: Callable[[int, int], None]
) -> dict[str, list[Clip]]:
    """Every clip as it is and under each corruption, written as generated clips are; by corruption."""
    versions: dict[str, list[Clip]] = {}
    count, done = len(shown) * (1 + len(CORRUPTIONS)), 0
    for name in (REAL, *CORRUPTIONS):
        for number, clip in enumerate(shown):
            seed = derive_seed("doctor", SEED, number)
            frames = clip.frames if name == REAL else CORRUPTIONS[name].apply(clip.frames, seed, level)
            path = folder / "clips" / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            video.write(path, frames, clip.fps)
            made = Clip(f"{name}/{clip.id}", path, file_digest(path), clip.prompt, None, clip.meta)
            versions.setdefault(name, []).append(made)
            done += 1
            report(done, count)
    return versions


# ---- values ----------------------------------------------------------------------------------------------------


def measure(
    specs: Sequence[MetricSpec],
    versions: Mapping[str, Sequence[Clip]],
    folder: Path,
    cache: Path,
    report: Callable[[int, int], None],
) -> list[Finding]:
    """What every corruption did to every metric, in the order of `specs`, then `CORRUPTIONS`."""
    single = [spec for spec in specs if spec.per_clip]
    everything = [clip for clips in versions.values() for clip in clips]
    score_clips(everything, single, folder / "scores", False, report, cache)
    found = []
    for spec in specs:
        moves = registry.metrics.get(spec.name).moves
        blank = dict.fromkeys(moves.keys() - CORRUPTIONS.keys())
        if blank:
            raise UserError(
                f"{spec.name}: moves: there is no corruption {next(iter(blank))}", "see harness.corruptions"
            )
        one = _by_clip(spec, versions, folder) if spec.per_clip else _by_set(spec, versions, cache)
        for name, (change, failures) in one.items():
            verdict = judge(moves.get(name, ""), change)
            numbers = asdict(change)
            found.append(Finding(spec.name, name, moves.get(name, ""), verdict, **numbers, failures=failures))
    return found


Changes = dict[str, tuple[Change, dict[str, str]]]


def _by_clip(spec: MetricSpec, versions: Mapping[str, Sequence[Clip]], folder: Path) -> Changes:
    """Paired over clips."""
    rows = {row["clip"]: row for row in read_jsonl(folder / "scores" / f"{spec.id}.jsonl")}
    values, failures = dict[str, dict[str, float]](), dict[str, dict[str, str]]()
    for name, clips in versions.items():
        for clip in clips:
            row, short = rows[clip.id], clip.id.removeprefix(f"{name}/")
            if row["value"] is not None:
                values.setdefault(name, {})[short] = row["value"]
            elif row["error"]:
                failures.setdefault(name, {})[short] = row["error"]
    lost = failures.get(REAL, {})
    return {
        name: (paired(values.get(REAL, {}), values.get(name, {})), {**lost, **failures.get(name, {})})
        for name in CORRUPTIONS
    }


def _by_set(spec: MetricSpec, versions: Mapping[str, Sequence[Clip]], cache: Path) -> Changes:
    """A value for every version of the set; its standard error by leaving out parts of the set."""
    store, count = FeatureStore(cache), len(versions[REAL])
    with closing(build(spec)) as metric:

        @functools.cache
        def value(name: str, chosen: tuple[int, ...]) -> float:
            metric.reset()
            for clip in (versions[name][number] for number in chosen):
                with store.open(clip, metric.extractors()) as features:
                    metric.update(clip, features)
            answer = metric.compute()
            score = answer.value if isinstance(answer, Score) else answer
            if score is None:
                raise UserError(f"it has no value for {len(chosen)} clips")
            return float(score)

        found: Changes = {}
        for name in CORRUPTIONS:
            try:
                found[name] = jackknife(count, functools.partial(value, REAL), functools.partial(value, name)), {}
            except Exception as error:  # whatever a metric raises is its own failure
                found[name] = NOTHING, {"*": error.problem if isinstance(error, UserError) else repr(error)}
        return found
