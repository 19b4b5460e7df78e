"""What each MLflow run of a leaderboard will hold, computed from files alone. Nothing here talks to a server.

A parent is a row (method x config), a child one of its seeds. A payload's `content` digest covers everything published
except the values of ranks, which depend on the other rows; equal digests mean there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.stats import mean_se
from harness.store import Json, RunDir, run_dirs
from leaderboards import references
from leaderboards.arena.columns import judged_digest
from leaderboards.rank import Leaderboard
from leaderboards.read import Entry, read_cost, read_scores, seed_of
from leaderboards.show import cell_text
from leaderboards.views import Score

LAYOUT = 3  # raise when what is published changes, so that old stores are brought up to date
PARAM_LIMIT = 6000  # characters MLflow keeps of a parameter
PICTURES = Path("train") / "diagnostics"  # pictures of the training, and a page of them
COST_NAMES = {
    "train_s": "time/train_s",
    "generate_s": "time/generate_s",
    "evaluate_s": "time/evaluate_s",
    "peak_gib": "mem/peak_gib",
    "nfe": "nfe/clip",
    "frame_nfe": "nfe/frames",
}


@dataclass(frozen=True)
class Payload:
    """One run: what identifies it, what it says."""

    key: str  # the same for every publication of the same row or seed
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[tuple[str, float, int], ...]  # (name, value, step)
    start_ms: int
    end_ms: int
    content: str


def clean(name: str) -> str:
    """A name MLflow takes: anything but letters, digits and `_ - . : /` and spaces becomes `_`."""
    return re.sub(r"[^\w\-.:/ ]", "_", name, flags=re.ASCII)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"law": {"name": "beta"}}` to `("law.name", "beta")`; lists as JSON, long values cut with a mark."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield (
                clean(prefix + key),
                text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - 20] + " ... (cell.json)",
            )


def finite(rows: Iterable[tuple[str, float | None, int]]) -> tuple[tuple[str, float, int], ...]:
    """MLflow stores NaN and infinity as numbers that sort anywhere: leave them out."""
    return tuple((clean(name), float(v), step) for name, v, step in rows if v is not None and math.isfinite(v))


def published_files(run: RunDir) -> list[Path]:
    """What a child run carries as artifacts, relative to the run directory."""
    names = [Path(row["file"]) for row in run.clips() if (run / row["file"]).exists()]
    for pattern in ("scores/**/*.jsonl", f"{PICTURES}/*"):
        names += sorted(path.relative_to(run.path) for path in run.path.glob(pattern))
    return names + [Path(name) for name in ("cell.json", "clips.jsonl", "provenance.json") if (run / name).exists()]


def run_digest(run: RunDir) -> str:
    """Of all a run directory says; clips enter through their recorded sha256."""
    found = hashlib.sha256(str(LAYOUT).encode())
    texts = [path for path in published_files(run) if path.suffix != ".mp4"]
    for name in [*texts, Path("train/metrics.jsonl"), Path("timings.jsonl"), Path("DONE")]:
        if (run / str(name)).exists():
            found.update(f"\0{name}\0".encode() + (run / str(name)).read_bytes())
    return found.hexdigest()


def suite_digest(suite_dir: Path) -> str:
    """Of all that would be published from a suite folder."""
    suite = (suite_dir / "suite.json").read_text()
    told = references.digest(json.loads(suite)["name"], suite_dir)
    parts = [suite, *map(run_digest, run_dirs(suite_dir)), judged_digest(suite_dir), told]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def child(board: Leaderboard, entry: Entry, run: RunDir) -> Payload:
    """One seed: training curves, mean scores, cost."""
    seed, cost = seed_of(run), read_cost([run])
    scores = run.scores()
    metrics: list[tuple[str, float | None, int]] = []
    for column in board.columns:
        rows = [row for row in scores.get(column.id, ()) if not row["error"]]
        values = [row["value"] for row in rows if row["value"] is not None]
        metrics += [(column.key, rounded(mean_se(values)[0]), 0), (f"{column.key}.n", len(values), 0)]
    metrics += [*_cost(cost), *_curves(run.train_log())]
    complete = run.done and len(run.clips()) >= int(board.suite["prompts"])
    start, end = _span(run, cost)
    return Payload(
        key=f"{board.name}/{run.path.parent.name}/{run.path.name}",
        name=f"{entry.label} seed {seed}",
        params=_params(entry),
        tags=_tags(board, entry, "seed", complete) | _git(run.provenance()) | {"seed": str(seed)},
        metrics=finite(metrics),
        start_ms=start,
        end_ms=end,
        content=run_digest(run),
    )


def parent(board: Leaderboard, entry: Entry, children: Iterable[Payload]) -> Payload:
    """One row: means with intervals over the seeds in use, cost. Ranks are added by `standing`."""
    runs = tuple(children)
    metrics: list[tuple[str, float | None, int]] = []
    for column in board.columns:
        value = board.values[entry.label, column.key]
        e, key = value.estimate, column.key
        facts = {"se": e.se, "ci_low": e.low, "ci_high": e.high, "n": e.n, "n_prompts": e.prompts, "na": value.na}
        parts = {f"part.{name}" if name in facts else name: mean for name, (mean, _) in value.parts.items()}
        metrics += [(key, e.mean, 0), *((f"{key}.{name}", number, 0) for name, number in (facts | parts).items())]
    metrics += [*_cost(entry.cost), ("n_seeds", len(entry.seeds), 0)]
    params = _params(entry)
    tags = _tags(board, entry, "method", entry.complete) | {"seeds": ",".join(map(str, entry.seeds))}
    numbers = finite((name, None if v is None else rounded(v), step) for name, v, step in metrics)
    said = [LAYOUT, params, tags, numbers, sorted(standing(board, entry)[0]), [run.content for run in runs]]
    return Payload(
        key=f"{board.name}/{entry.runs[0].path.parent.name}",
        name=entry.label,
        params=params,
        tags=tags,
        metrics=numbers,
        start_ms=min(run.start_ms for run in runs),
        end_ms=max(run.end_ms for run in runs),
        content=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
    )


def published(board: Leaderboard, reference: references.Reference) -> Payload:
    """A published row. Its numbers have names of their own: nothing shall sort or average them with measured ones."""
    names = text_tags(board)
    quotes = {column.key: quote for column in board.columns if (quote := reference.quotes.get(column.name))}
    metrics = finite((f"published/{key}", quote.value, 0) for key, quote in quotes.items())
    texts = {names[key]: f"{quote.text} published" for key, quote in quotes.items()}
    said = f"Published in {reference.source}, not measured here, never ranked."
    tags = texts | {
        "level": "published",
        "status": "published",
        "row": reference.label,
        "suite": board.suite["name"],
        "suite.digest": board.suite["digest"],
        "source": reference.source,
        "mlflow.source.name": reference.source,
        "mlflow.source.type": "UNKNOWN",
        "mlflow.note.content": "\n\n".join(filter(None, (said, reference.note, reference.url))),
    }
    stamp = int((board.folder / "suite.json").stat().st_mtime * 1000)
    return Payload(
        key=f"{board.name}/published/{reference.label}",
        name=reference.label,
        params={},
        tags=tags,
        metrics=metrics,
        start_ms=stamp,
        end_ms=stamp,
        content=hashlib.sha256(json.dumps([LAYOUT, tags, metrics], sort_keys=True).encode()).hexdigest(),
    )


def standing(board: Leaderboard, entry: Entry) -> tuple[dict[str, float], dict[str, str]]:
    """What changes on a row when other rows come and go: its ranks, and each score as text with interval and rank."""
    ranks, texts, names = {}, {}, text_tags(board)
    for column in board.columns:
        value = board.values[entry.label, column.key]
        if value.rank is not None:
            ranks[clean(f"rank/{column.key}")] = float(value.rank)
        said = cell_text(board, column, entry)
        texts[names[column.key]] = f"{said} saturated" if value.saturated else said
    return ranks, texts


def text_tags(board: Leaderboard) -> dict[str, str]:
    """Column key -> name of the tag with its score as text; short, because it heads a table column."""
    short = {column.key: clean(column.key.split("/")[-1].replace("_", " ")) for column in board.columns}
    taken = Counter(short.values()) + Counter(_tags(board, board.entries[0], "", True).keys())
    return {key: name if taken[name] == 1 else clean(f"board.{key}") for key, name in short.items()}


def view_columns(board: Leaderboard, fitted: bool) -> list[Score]:
    """Columns as the saved views need them; `fitted`: as wide as their texts."""
    names, texts = text_tags(board), [standing(board, entry)[1] for entry in board.entries]
    longest = dict.fromkeys(names.values(), 0)
    if fitted:
        longest = {name: max(len(name), *(len(text[name]) for text in texts)) for name in longest}
    return [Score(clean(c.key), names[c.key], c.higher_is_better, longest[names[c.key]]) for c in board.columns]


def per_prompt(board: Leaderboard, entry: Entry) -> dict[str, list[Any]]:
    """One line per prompt and seed, a column per metric: what the UI's artifact comparison lays side by side."""
    scores = read_scores(entry)
    lines: dict[str, list[Any]] = {"prompt": []} | {column.key: [] for column in board.columns}
    for run in entry.used:
        seed = seed_of(run)
        for clip in run.clips():
            which = f" (seed {seed})" if len(entry.used) > 1 else ""
            lines["prompt"].append((clip["prompt"] or clip["id"]) + which)
            for column in board.columns:
                row = scores.get(column.id, {}).get((clip["id"], seed), {})
                value = row.get("value")
                lines[column.key].append(None if value is None else rounded(value))
    return lines


def rounded(value: float, digits: int = 5) -> float:
    """MLflow shows every digit it is given; five are more than an interval supports. Full ones are in the files."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def _cost(cost: Mapping[str, float]) -> Iterator[tuple[str, float, int]]:
    return ((COST_NAMES[key], rounded(value, 4), 0) for key, value in cost.items())


def _curves(rows: Iterable[Json]) -> Iterator[tuple[str, float, int]]:
    """`train/loss` of the student and `train/<role>.loss` of other roles against the training step.

    Numbered families (gradients by frequency, running averages by time) go to a section of charts of their own. A role
    that is updated several times in a step has the mean of them.
    """
    sums: dict[tuple[str, int], tuple[float, int]] = {}
    for row in rows:
        role = row.get("role", "student")
        for name, value in row.items():
            if name not in {"step", "role"} and isinstance(value, (int, float)):
                section = "train parts" if re.search(r"_f?\d+$", name) else "train"
                key = f"{section}/{name}" if role == "student" else f"{section}/{role}.{name}", int(row["step"])
                total, count = sums.get(key, (0.0, 0))
                sums[key] = total + value, count + 1
    for (name, step), (total, count) in sums.items():
        yield name, total / count, step


def _params(entry: Entry) -> dict[str, str]:
    return dict(flatten({"method": entry.method, **entry.config}))


def _tags(board: Leaderboard, entry: Entry, level: str, complete: bool) -> dict[str, str]:
    tags = {
        "level": level,
        "status": "complete" if complete else "partial",
        "row": entry.label,
        "method": entry.method,
        "method.version": str(entry.version),
        "config": entry.config_digest[:8],
        "suite": board.suite["name"],
        "suite.digest": board.suite["digest"],
        "mlflow.source.name": "mutoscope",
        "mlflow.source.type": "LOCAL",
    }
    return tags | ({"marks": ",".join(entry.marks)} if entry.marks else {})


def _git(provenance: Json) -> dict[str, str]:
    state = provenance.get("git") or {}
    if not state.get("commit"):
        return {}
    return {"mlflow.source.git.commit": state["commit"], "git.dirty": str(bool(state.get("dirty"))).lower()}


def _span(run: RunDir, cost: Mapping[str, float]) -> tuple[int, int]:
    """Milliseconds from when to when: the cell's files tell the end, its timings the length."""
    last = run / "DONE" if run.done else run / "cell.json"
    end = last.stat().st_mtime
    seconds = sum(value for key, value in cost.items() if key.endswith("_s"))
    return int((end - seconds) * 1000), int(end * 1000)
