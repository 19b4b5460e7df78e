"""Scoring beyond single clips: samples of a prompt, summaries, what does not apply, families, shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from harness import registry, video
from harness.api import Clip, ClipInfo, Extractor, FrameChunk, Metric, Options, Score
from harness.cli import app
from harness.errors import UserError
from harness.evaluate import sample_groups, score_clips
from harness.features import sha256_file
from harness.plugins import MetricSpec, metric_items, metric_specs
from harness.store import read_jsonl

passes: list[str] = []


class Level(Extractor):
    name = "fam/level"

    def start(self, info: ClipInfo) -> None:
        passes.append(self.name)
        self.total = 0.0

    def push(self, chunk: FrameChunk) -> bool:
        self.total += float(chunk.frames.mean()) * len(chunk)
        self.count = chunk.first + len(chunk)
        return False

    def finish(self) -> np.ndarray:
        return np.array([self.total / self.count / 255])


LEVEL = Level()


class FamOptions(Options):
    kind: str = "all"
    scale: float = 1.0


class Bright(Metric):
    name, Config = "fam/bright", FamOptions

    def extractors(self) -> Sequence[Extractor]:
        return (LEVEL,)

    def skip(self, clip: Clip) -> str:
        return "too secret" if clip.meta.get("secret") else ""

    def score(self, clip: Clip, features: Any) -> Score:
        return Score(float(features.of(LEVEL)[0]), {"frames": 4})


class Wordy(Metric):
    """Words of the prompt."""

    name, range, Config = "ask/wordy", (0.0, 9.0), FamOptions

    def score(self, clip: Clip, features: Any) -> Score:
        passes.append(clip.id)
        return Score(float(len((clip.prompt or "").split())))


class Best(Metric):
    """The first two samples darker than the brightest one so far."""

    name, level, Config = "fam/best", "samples", FamOptions
    closed: ClassVar[list[str]] = []

    def score_samples(self, clips: Sequence[Clip], open_clip: Any) -> Mapping[str, Score]:
        out: dict[str, Score] = {}
        for clip in clips:
            if clip.prompt == "break":
                raise UserError("this prompt breaks it")
            with open_clip(clip) as features:
                value = float(features.of(LEVEL)[0])
            kept = sum(score.value is not None for score in out.values())
            out[clip.id] = Score(value) if kept < 2 else Score(None, note="two are enough")
        return out

    def close(self) -> None:
        self.closed.append(self.name)


class Total(Metric):
    name, level, inputs = "fam/total", "summary", ("fam/bright", "fam/best", "fam/closed")

    def summarise(self, rows: Mapping[str, Sequence[dict[str, Any]]]) -> Score:
        values = [row["value"] for name in rows for row in rows[name] if row["value"] is not None]
        return Score(float(np.mean(values)), {"values": len(values), "inputs": len(rows)})


class Closed(Metric):
    name, Config = "fam/closed", FamOptions

    @classmethod
    def excluded(cls, config: Any) -> str:
        return "" if config.kind == "all" else "only with kind all"

    def score(self, clip: Clip, features: Any) -> float:
        return 0.5


class Other(Level):
    name = "fam/other"


OTHER = Other()


class Spread(Metric):
    """Standard deviation of what a second extractor says of the clips."""

    name, level = "whole/spread", "set"

    def extractors(self) -> Sequence[Extractor]:
        return (OTHER,)

    def reset(self) -> None:
        self.values: list[float] = []

    def update(self, clip: Clip, features: Any) -> None:
        self.values.append(float(features.of(OTHER)[0]))

    def compute(self) -> float:
        return float(np.std(self.values))


@pytest.fixture(autouse=True)
def _family() -> Iterator[None]:
    for kind in (Bright, Wordy, Best, Total, Closed, Spread):
        registry.register_metric(kind)
    passes.clear()
    Best.closed.clear()
    yield
    for kind in (Bright, Wordy, Best, Total, Closed, Spread):
        registry.metrics._classes.pop(kind.name)


def specs(*names: str) -> tuple[MetricSpec, ...]:
    return metric_specs([{"name": name} for name in names])


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Two prompts of three samples, a clip of its own, and one that is secret."""
    out = []
    for number in range(8):
        path = tmp_path / f"{number}.mp4"
        video.write(path, np.full((4, 32, 32, 3), 20 + 25 * number, np.uint8), 8)
        meta = {"sample": number % 3} if number < 6 else {"secret": number == 7}
        prompt = ["a cat", "a dog", "a bird"][number // 3]
        out.append(Clip(f"c{number}", path, sha256_file(path), prompt, 0, meta))
    return out


def run(clips: Sequence[Clip], folder: Path, *names: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    wanted = specs(*names)
    score_clips(clips, wanted, folder, more.pop("whole", True), lambda done, of: None, **more)
    return {spec.name: read_jsonl(folder / f"{spec.id}.jsonl") for spec in wanted}


def test_samples_of_a_prompt_are_judged_together(clips: list[Clip], tmp_path: Path) -> None:
    assert [len(group) for group in sample_groups(clips)] == [3, 3, 1, 1]
    rows = run(clips, tmp_path / "s", "fam/best", "fam/bright")
    notes = [row["note"] for row in rows["fam/best"]]
    assert notes == ["", "", "two are enough", "", "", "two are enough", "", ""]
    assert [row["clip"] for row in rows["fam/best"]] == [clip.id for clip in clips]
    np.testing.assert_allclose(
        [row["value"] for row in rows["fam/bright"][:3]], [20 / 255, 45 / 255, 70 / 255], atol=0.01
    )
    assert passes == ["fam/level"] * 8  # both metrics share each clip's one pass
    assert Best.closed == ["fam/best"]


def test_a_metric_of_the_set_shares_the_decoding(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = list[str](), video._open
    monkeypatch.setattr(video, "_open", lambda path: opened.append(str(path)) or real(path))  # type: ignore[func-returns-value]
    rows = run(clips, tmp_path / "s", "fam/bright", "whole/spread")
    values = [(20 + 25 * number) / 255 for number in range(8)]
    assert rows["whole/spread"][0]["value"] == pytest.approx(np.std(values), abs=0.003)
    assert sorted(passes) == ["fam/level"] * 7 + ["fam/other"] * 8  # one clip is secret to the first
    assert len(opened) == 8


def test_why_a_metric_of_the_set_failed_is_said(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Spread) -> Score:
        raise UserError("the reference is another's", "give its own")

    monkeypatch.setattr(Spread, "compute", broken)
    words = ["evaluate", str(clips[0].path.parent), "--metrics", Spread.name, "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3, done.output
    assert f"failed  {Spread.name}: the reference is another's\n" in done.output


def test_what_does_not_apply_says_why_and_is_not_decoded(clips: list[Clip], tmp_path: Path) -> None:
    rows = run(clips, tmp_path / "s", "fam/bright")["fam/bright"]
    assert (rows[7]["value"], rows[7]["note"], rows[7]["error"]) == (None, "too secret", "")
    assert len(passes) == 7


def test_a_summary_reads_the_rows_of_others(clips: list[Clip], tmp_path: Path) -> None:
    rows = run(clips, tmp_path / "s", "fam/total", "fam/bright", "fam/best")
    (total,) = rows["fam/total"]
    values = [row["value"] for name in ("fam/bright", "fam/best") for row in rows[name] if row["value"] is not None]
    assert total["clip"] == "*"
    assert total["parts"] == {"values": 7 + 6, "inputs": 2}
    assert total["value"] == pytest.approx(np.mean(values), abs=1e-12)
    assert run(clips, tmp_path / "p", "fam/total", "fam/bright", whole=False)["fam/total"] == []


def test_a_prompt_that_fails_takes_no_other_with_it(clips: list[Clip], tmp_path: Path) -> None:
    broken = [Clip(c.id, c.path, c.sha256, "break", 0, c.meta) if c.prompt == "a dog" else c for c in clips]
    rows = run(broken, tmp_path / "s", "fam/best")["fam/best"]
    assert [row["error"] for row in rows] == [""] * 3 + ["this prompt breaks it"] * 3 + [""] * 2


def test_a_second_run_looks_at_nothing_and_a_changed_sample_is_judged_with_its_prompt(
    clips: list[Clip], tmp_path: Path
) -> None:
    first = run(clips, tmp_path / "s", "fam/best", "fam/bright")
    passes.clear()
    assert run(clips, tmp_path / "s", "fam/best", "fam/bright") == first
    assert passes == []
    video.write(clips[0].path, np.full((4, 32, 32, 3), 200, np.uint8), 8)
    changed = [Clip("c0", clips[0].path, sha256_file(clips[0].path), "a cat", 0, clips[0].meta), *clips[1:]]
    again = run(changed, tmp_path / "s", "fam/best", "fam/bright", cache=tmp_path / "cache")
    assert again["fam/best"][1:] == first["fam/best"][1:]
    assert again["fam/best"][0]["value"] == pytest.approx(200 / 255, abs=0.01)
    assert len(passes) == 3  # the prompt's three samples; the changed one once for both metrics


@pytest.mark.parametrize("of", [1, 2, 3])
def test_shards_merge_to_the_same_rows(clips: list[Clip], tmp_path: Path, of: int) -> None:
    names = ("fam/total", "fam/bright", "fam/best")
    whole = run(clips, tmp_path / "whole", *names)
    groups = sample_groups(clips)
    shards = []
    for number in range(of):
        part = [clip for group in groups[number::of] for clip in group]
        shards.append(tmp_path / f"part{number}")
        run(part, shards[-1], *names, whole=False)
    passes.clear()
    assert run(clips, tmp_path / "merged", *names, shards=shards) == whole
    assert passes == []


def test_family_names_are_spelled_out() -> None:
    items, excluded = metric_items([{"name": "fam", "kind": "some", "scale": 2.0}])
    assert [item["name"] for item in items] == ["fam/best", "fam/bright", "fam/total"]
    assert items[1] == {"name": "fam/bright", "kind": "some", "scale": 2.0}
    assert items[2] == {"name": "fam/total"}
    assert excluded == {"fam/closed": "only with kind all"}
    with pytest.raises(UserError, match='no member has an option "knd"'):
        metric_items([{"name": "fam", "knd": "some"}])
    with pytest.raises(UserError, match="only with kind all"):
        metric_specs([{"name": "fam/closed", "kind": "some"}])
    with pytest.raises(UserError, match="fam/bright is named twice"):
        specs("fam/bright", "fam/bright")


def test_shards_on_the_command_line(clips: list[Clip], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["evaluate", str(tmp_path), "--metrics", "fam/bright", "--out", str(out), "--runs", str(tmp_path / "runs")]
    for part in ("1/2", "2/2"):
        assert CliRunner().invoke(app, [*words, "--shard", part]).exit_code == 0
    passes.clear()
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, passes) == (0, [])
    (scores,) = (out / "scores").glob("fam/bright@*.jsonl")
    assert len(read_jsonl(scores)) == 8
    bad = CliRunner().invoke(app, [*words, "--shard", "3/2"])
    assert "--shard" in str(bad.exception)
    assert "no metric" in str(CliRunner().invoke(app, [*words, "--metrics", "fan"]).exception)
    assert '"colour"' in str(CliRunner().invoke(app, [*words, "--set", "colour=red"]).exception)


def test_another_prompt_is_another_question(clips: list[Clip], tmp_path: Path) -> None:
    """Rows hold no prompt: those of a clip that has another one now, or came back with it, are made again."""
    folder, prompts, out = tmp_path / "few", tmp_path / "prompts.json", tmp_path / "out"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(clips[number].path.read_bytes())

    def asked(*said: str, metric: str = Wordy.name) -> list[str]:
        passes.clear()
        prompts.write_text(json.dumps({f"{number}.mp4": prompt for number, prompt in enumerate(said)}))
        words = ["evaluate", str(folder), "--metrics", metric, "--out", str(out), "--runs", str(tmp_path / "runs")]
        done = CliRunner().invoke(app, [*words, "--prompts", str(prompts)])
        assert done.exit_code == 0, done.output
        (scores,) = (out / "scores").glob("ask/wordy@*.jsonl")
        if metric == Wordy.name:
            assert [row["value"] for row in read_jsonl(scores)] == [len(prompt.split()) for prompt in said]
        return passes

    assert asked("a cat", "a black dog", "a cat") == ["0.mp4", "1.mp4", "2.mp4"]
    assert asked("a cat", "a black dog", "a cat") == []
    assert asked("a cat", "a dog", "a cat") == ["1.mp4"]
    assert asked("a red cow", "a dog", "a cat") == ["0.mp4", "2.mp4"]  # they had one prompt, and may be judged together
    away = (folder / "1.mp4").rename(tmp_path / "1.mp4")
    asked("a red cow", "a dog", "a cat", metric=Bright.name)
    away.rename(folder / "1.mp4")
    assert asked("a red cow", "a big old dog", "a cat") == ["1.mp4"]


def test_a_summary_of_other_evaluators_is_another_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = specs("fam/total")
    monkeypatch.setattr(Bright, "version", 2)
    assert specs("fam/total")[0].fingerprint != before.fingerprint


def test_what_needs_the_memory_goes_by_itself_and_is_closed_before_the_next(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    for kind in (Bright, Closed):
        monkeypatch.setattr(kind, "alone", True)
        score = kind.score
        monkeypatch.setattr(kind, "score", lambda self, *given, s=score: log.append(self.name) or s(self, *given))  # type: ignore[misc]
        monkeypatch.setattr(kind, "close", lambda self: log.append(f"{self.name} closed"))
    told: list[tuple[int, int]] = []
    wanted = specs("fam/bright", "fam/best", "fam/closed")
    failed, seen = score_clips(clips, wanted, tmp_path / "s", True, lambda done, of: told.append((done, of)))
    assert (failed, seen) == ([], 8)
    assert log[:10] == ["fam/bright"] * 7 + ["fam/bright closed"] + ["fam/closed"] * 2
    assert log[15:17] == ["fam/closed", "fam/closed closed"]
    assert told[-1] == (24, 24)
    assert run(clips, tmp_path / "s", "fam/best", "fam/bright") == run(clips, tmp_path / "t", "fam/best", "fam/bright")
