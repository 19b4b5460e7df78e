"""The static filter and temporal_flickering's standard protocol, against transcriptions and recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.api import Clip
from harness.features import ClipFeatures, FeatureStore, sha256_file
from metrics.vbench import dynamic_degree as module
from metrics.vbench import temporal_flickering as flickering
from metrics.vbench.static_filter import StaticClip, allowed, keep_static, official_order, threshold
from metrics.vbench.temporal_flickering import FrameDifferences, TemporalFlickering
from tests.metrics.vbench.flow import CLIPS, RAFT, measured, official, render, streamed, write_clip, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.getbasetemp() / "seeded")


@pytest.fixture(scope="module")
def static(weights: Path) -> StaticClip:
    return StaticClip((weights / RAFT,), "cpu", "exact")


def official_check(scores: list[float], threshold_: float, count_num: int) -> bool:
    """`check_static` of vbench 0.1.5: neighbours, first to last, last to first."""
    count = 0
    for score in scores[:-2]:
        if score > threshold_:
            count += 1
        if count > count_num:
            return False
    return all(not score > threshold_ * count_num * 2 for score in scores[-2:])


class Scripted:
    """A network whose frames are their numbers, and whose flows are pairs of them."""

    def encode(self, image: object) -> int:
        return int(image[0, 0, 0])  # type: ignore[index]

    def flow(self, first: int, second: int) -> tuple[int, int]:
        return first, second


def said(scores: list[float], asked: list[tuple[int, int]]) -> Callable[[tuple[int, int], float], float]:
    """Speeds as a list of the official tool holds them; the pairs that are asked for are noted down."""
    last = len(scores) - 2

    def speed(pair: tuple[int, int], share: float) -> float:
        assert share == 0.02
        asked.append(pair)
        if pair[1] == pair[0] + 1 == len(asked):
            return scores[pair[0]]
        assert sorted(pair) == [0, last]
        back = pair[0] > pair[1] or (last == 0 and len(asked) == 2)
        return scores[-1 if back else -2]

    return speed


def test_stopping_early_changes_no_answer(static: StaticClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.vbench.networks.raft.load", lambda *_: Scripted())
    rng = np.random.default_rng(0)
    limit, answers, computed, whole = threshold(128), [0, 0], 0, 0
    for _ in range(600):
        count = int(rng.integers(1, 40))
        moving = float(rng.uniform(0, 0.4))
        scores = [*rng.choice([0.0, limit, 2.0, np.nan], count - 1, p=[0.5 - moving, 0.3, moving, 0.2])]
        scores += [*rng.choice([0.0, 1.0, 4.0, 20.0, np.nan], 2, p=[0.6, 0.1, 0.1, 0.1, 0.1])]
        asked: list[tuple[int, int]] = []
        monkeypatch.setattr(module, "fastest", said(scores, asked))
        frames = np.zeros((count, 128, 130, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
        verdict, _, most, pairs, seen, _ = streamed(frames, static, 8.0, int(rng.integers(1, 17)))
        assert bool(verdict) == official_check(scores, limit, allowed(count))
        assert (most, pairs) == (round(2 * count / 16), count - 1)
        assert seen <= len(asked) <= seen + 2
        answers[int(verdict)] += 1
        computed, whole = computed + len(asked), whole + count + 1
    assert min(answers) > 50
    assert computed < 0.75 * whole


def test_constants_of_the_rule() -> None:
    assert [allowed(frames) for frames in (1, 4, 5, 12, 16, 20, 49, 81)] == [0, 0, 1, 2, 2, 2, 6, 10]
    assert [threshold(side) for side in (128, 256, 480)] == [1.5, 3.0, 5.625]


@pytest.mark.parametrize("name", CLIPS)
def test_the_official_answer(static: StaticClip, name: str, tmp_path: Path) -> None:
    verdict = measured(write_clip(tmp_path, name), static)
    recorded = official()[name]["static"]
    assert verdict.tolist()[:1] == ([] if isinstance(recorded, str) else [float(recorded)])


def test_samples_come_in_the_order_of_their_file_names() -> None:
    order = official_order((number, number) for number in range(25))
    assert order == [0, 1, *range(10, 20), 2, *range(20, 25), *range(3, 10)]
    names = sorted(f"a prompt-{number}.mp4" for number in range(25))
    assert [f"a prompt-{number}.mp4" for number in order] == names


def test_the_first_five_static_ones_are_kept_and_no_more_looked_at() -> None:
    seen: list[int] = []

    def odd(number: int) -> bool:
        seen.append(number)
        return number % 2 == 1

    order = official_order((number, number) for number in range(25))
    assert keep_static(order, odd) == [1, 11, 13, 15, 17]
    assert seen == [0, 1, *range(10, 18)]
    assert keep_static(order[:4], odd) == [1, 11]
    assert keep_static([], odd) == []


# ---- temporal_flickering ---------------------------------------------------------------------------------------


def samples(folder: Path, moving: set[int], count: int) -> list[Clip]:
    """Grey clips; for `Scripted`, those that change by more than a few levels move."""
    found = []
    for number in range(count):
        path = folder / f"{number}.mp4"
        levels = 100 + np.arange(5) % 2 * (1 + number) + np.arange(5) * (20 + number) * (number in moving)
        frames = np.broadcast_to(levels[:, None, None, None].astype(np.uint8), (5, 128, 130, 3))
        video.write(path, frames, 8)
        meta = {"sample": number, "samples": count, "dimensions": ["temporal_flickering"]}
        found.append(Clip(f"s{number}", path, sha256_file(path), "a still life", meta=meta))
    return found


def test_standard_protocol(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flickering, "require", lambda *_: (weights / RAFT,))
    monkeypatch.setattr("metrics.vbench.networks.raft.load", lambda *_: Scripted())
    monkeypatch.setattr(module, "fastest", lambda pair, share: abs(pair[1] - pair[0]) / 10)
    opened: list[str] = []

    @contextmanager
    def open_clip(clip: Clip) -> Iterator[ClipFeatures]:
        opened.append(clip.id)
        with FeatureStore().open(clip) as features:
            yield features

    clips = samples(tmp_path, {1, 10}, 12)
    metric = TemporalFlickering(TemporalFlickering.Config(protocol="standard", device="cpu"))
    answers = metric.score_samples(clips, open_clip)
    assert opened == ["s0", "s1", "s10", "s11", "s2", "s3", "s4"]
    kept = {key: answer for key, answer in answers.items() if answer.value is not None}
    assert sorted(kept) == ["s0", "s11", "s2", "s3", "s4"]
    for key, answer in kept.items():
        differences = measured(tmp_path / f"{key[1:]}.mp4", FrameDifferences())
        assert answer.value == (255.0 - float(np.mean(differences))) / 255.0 < 1
        assert answer.parts["static"] == 1
    assert [answers[key].note for key in ("s1", "s10", "s5")] == [
        "not static",
        "not static",
        "5 static samples of the prompt came before it",
    ]
    assert answers["s1"].parts["static"] == 0
    assert answers["s1"].parts["pairs_computed"] == 2  # of 4, of which round(5 / 8) = 1 may move
    assert answers["s5"].parts == {}


def test_custom_protocol_needs_no_weights_and_scores_every_clip(tmp_path: Path) -> None:
    config = TemporalFlickering.Config(protocol="custom")
    assert TemporalFlickering.weights(config) == ()
    clips = samples(tmp_path, {1}, 7)
    answers = TemporalFlickering(config).score_samples(clips, FeatureStore().open)
    assert all(answers[clip.id].value is not None for clip in clips)
    assert answers["s1"].value < answers["s0"].value  # type: ignore[operator]


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "one"])
def test_flickering_is_the_official_number(name: str, tmp_path: Path) -> None:
    differences = measured(write_clip(tmp_path, name), FrameDifferences())
    assert (255.0 - np.mean(differences)) / 255.0 == pytest.approx(official()[name]["flickering"], abs=1e-7)


def test_differences_are_exact_and_the_same_in_any_chunks() -> None:
    frames = render("boundary")
    expected = [np.abs(a.astype(int) - b).sum() / a.size for a, b in pairwise(frames)]
    for size in (1, 2, 16):
        assert streamed(frames, FrameDifferences(), 8.0, size).tolist() == expected
