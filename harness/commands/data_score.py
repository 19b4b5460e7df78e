"""`mutoscope data score`: score columns for a training run, a clip at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress

from harness import registry
from harness.api import Clip, ClipSpec, Dataset
from harness.commands import DONE, INCOMPLETE
from harness.commands.score_table import tell, write_table
from harness.config import digest, parse_sets, validate
from harness.errors import UserError
from harness.evaluate import build, row_of
from harness.features import FeatureStore
from harness.judging import Answer, Extractor, Features, Metric, Score, ScoreRow
from harness.plugins import MetricSpec, make_dataset, members, metric_spec, options_of, plugin_config
from harness.store import append_jsonl, lock, read_jsonl

TABLES = (".csv", ".parquet")
PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Request:
    """What the user asked of `data score`."""

    dataset: str
    names: Sequence[str]  # metrics, or COLUMN=metric
    sets: Sequence[str]
    options: Sequence[str]
    out: Path
    shard: tuple[int, int] | None
    limit: int | None
    plugins: Sequence[str]


@dataclass(frozen=True)
class Item:
    """A clip to be scored; `key` changes when its pixels do."""

    id: str
    key: str
    known: Mapping[str, float] = field(default_factory=dict)  # score columns that the data set has itself


class Source(ABC):
    """The clips of a data set as files, one at a time."""

    def __init__(self, about: Mapping[str, Any], items: Sequence[Item]) -> None:
        self.about, self.items = about, items

    @abstractmethod
    def open(self, index: int) -> AbstractContextManager[Clip]:
        """A clip whose file exists until the block ends."""


class Files(Source):
    """Clips that lie in a folder, as they are."""

    def __init__(self, folder: Path, console: Console) -> None:
        from harness.commands.evaluate import find_clips

        self.clips = find_clips(folder, None, False, console)
        items = [Item(clip.id, clip.sha256) for clip in self.clips]
        super().__init__({"folder": str(folder), "digest": digest([(item.id, item.key) for item in items])}, items)

    @contextmanager
    def open(self, index: int) -> Iterator[Clip]:
        yield self.clips[index]


class Made(Source):
    """Clips that a data set makes, each written as generated clips are, scored and deleted."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.rows = dataset, dataset.rows()
        config, clip = dataset.config.model_dump(mode="json"), dataset.spec.model_dump(mode="json")
        key = dataset.digest()
        about = {"name": dataset.name, "config": config, "clip": clip, "digest": key}
        super().__init__(about, [Item(row.id, key, row.scores) for row in self.rows])

    @contextmanager
    def open(self, index: int) -> Iterator[Clip]:
        from harness import video
        from harness.store import file_digest

        row = self.rows[index]
        with TemporaryDirectory(prefix="mutoscope-score-") as folder:
            path = Path(folder) / "clip.mp4"
            video.write(path, self.dataset.video(index), self.dataset.spec.fps)
            yield Clip(row.id, path, file_digest(path), row.prompt, None, row.meta)


def find_source(name: str, sets: Mapping[str, Any], console: Console) -> Source:
    """A suite's training set, a registered data set, or a folder."""
    from harness import suite

    if name in suite.shipped() or Path(name).suffix in {".yaml", ".yml"}:
        protocol = suite.load(name, sets)
        return Made(make_dataset(protocol, {k: v for k, v in protocol.dataset.items() if k != "scores"}))
    if name in registry.datasets.names():
        kind = registry.datasets.get(name)
        options = {key: value for key, value in sets.items() if key != "clip"}
        return Made(kind(plugin_config(kind, options, name), validate(ClipSpec, sets.get("clip", {}), "clip")))
    if Path(name).is_dir():
        if sets:
            raise UserError(f"--set {next(iter(sets))}: a folder's clips are scored as they lie", "leave --set out")
        return Files(Path(name), console)
    known = ", ".join([*registry.datasets.names(), *suite.shipped()])
    raise UserError(f'"{name}" is neither a data set, nor a suite, nor a folder', f"known: {known}")


def columns_of(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, MetricSpec]:
    """The metric behind every column. `shapes/mq` fills the column `mq`, `motion=shapes/mq` the column `motion`."""
    found: dict[str, MetricSpec] = {}
    wanted = [text.rpartition("=")[::2] for text in names]
    for key in options:
        if not any(key in options_of(name) for _, name in wanted):
            raise UserError(f'none of these metrics has an option "{key}"', "see mutoscope describe METRIC")
    for column, name in wanted:
        if column and members(name) != [name]:
            raise UserError(f"--with {column}={name}: {name} is a family", "name one of its metrics")
        for member in members(name):
            fitting = {key: value for key, value in options.items() if key in options_of(member)}
            spec = metric_spec({"name": member, **fitting})
            if spec.level != "clip":
                raise UserError(f"--with {member}: it does not score single clips ({spec.level} level)", "leave it out")
            label = column or member.rpartition("/")[2]
            if label in found or label == "id":
                raise UserError(f'--with: two columns "{label}"', f"rename one: --with other={member}")
            found[label] = spec
    return found


class Rows:
    """One metric's rows in OUT.rows: appended as they come, those that hold are not computed again."""

    def __init__(self, folder: Path, spec: MetricSpec, shard: tuple[int, int] | None, items: Sequence[Item]) -> None:
        self.spec, keys = spec, {item.id: item.key for item in items}
        name = spec.id.replace("/", "-")
        self.path = folder / (f"{name}.{shard[0]}-of-{shard[1]}.jsonl" if shard else f"{name}.jsonl")
        self.found: dict[str, ScoreRow] = {}
        read_jsonl(self.path, repair=True)
        for path in sorted(folder.glob(f"{name}*.jsonl")):
            for row in read_jsonl(path):
                if keys.get(row["clip"]) == row["key"] and not row["error"]:
                    self.found[row["clip"]] = row

    def add(self, item: Item, row: ScoreRow) -> None:
        row = {**row, "key": item.key}
        append_jsonl(self.path, [row])
        self.found[item.id] = row


def score_dataset(request: Request) -> int:
    """Score what is not scored yet; with all parts there, write the table. Returns the exit code."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    for plugin in request.plugins:
        registry.load_plugin(plugin)
    if request.out.suffix not in TABLES:
        raise UserError(f"--out {request.out}: not a table", f"name it .{' or '.join(s[1:] for s in TABLES)}")
    columns = columns_of(request.names, parse_sets(request.options))
    source = find_source(request.dataset, parse_sets(request.sets), console)
    items = source.items[: request.limit]
    first, step = (request.shard[0] - 1, request.shard[1]) if request.shard else (0, 1)
    mine = range(first, len(items), step)
    folder = request.out.with_name(request.out.name + ".rows")
    part = "-of-".join(map(str, request.shard)) if request.shard else "all"
    with lock(folder / f".lock-{part}"):
        rows = {label: Rows(folder, spec, request.shard, items) for label, spec in columns.items()}
        _score_all(source, mine, list(rows.values()), console)
    done = {label: {items[i].id: r.found[items[i].id] for i in mine} for label, r in rows.items()}
    if request.shard:
        console.print(f"part {part} of {len(items)} clips is done: run again without --shard when all are")
    else:
        write_table(request.out, items, columns, done, source.about, console)
    return INCOMPLETE if tell(done, console) else DONE


def _score_all(source: Source, indices: Sequence[int], rows: Sequence[Rows], console: Console) -> None:
    """Metrics that share a clip's decoding together, then one by one those that would not fit beside others."""
    with ExitStack() as stack:
        judges = []
        for each in rows:
            if any(source.items[i].id not in each.found for i in indices):
                metric = build(each.spec)
                stack.callback(metric.close)
                judges.append((metric, each))
        together = [judge for judge in judges if not judge[0].alone]
        phases = [together] * bool(together) + [[judge] for judge in judges if judge[0].alone]
        bars = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        task = bars.add_task("scoring", total=len(phases) * len(indices))
        for phase in phases:
            for index in indices:
                _score_clip(source, index, phase)
                bars.advance(task)
            for metric, _ in phase:
                if metric.alone:
                    metric.close()


def _score_clip(source: Source, index: int, judges: Sequence[tuple[Metric, Rows]]) -> None:
    """All that is missing of one clip; one that cannot be made or read is a named failure."""
    item = source.items[index]
    todo = [(metric, rows) for metric, rows in judges if item.id not in rows.found]
    if not todo:
        return
    try:
        with source.open(index) as clip, FeatureStore().open(clip, _announced([m for m, _ in todo], clip)) as features:
            for metric, rows in todo:
                rows.add(item, row_of(rows.spec, clip, partial(_answer, metric, clip, features)))
    except UserError as error:
        for _, rows in todo:
            rows.add(item, {"clip": item.id, "value": None, "note": "", "error": error.problem})


def _announced(metrics: Sequence[Metric], clip: Clip) -> list[Extractor]:
    """What will be asked of the clip; a metric that fails here fails again, and is named, when it scores."""
    found: list[Extractor] = []
    for metric in metrics:
        with suppress(Exception):
            found += () if metric.skip(clip) else metric.extractors()
    return found


def _answer(metric: Metric, clip: Clip, features: Features) -> Answer:
    reason = metric.skip(clip)
    return Score(None, note=reason) if reason else metric.score(clip, features)
