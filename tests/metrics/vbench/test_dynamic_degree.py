"""dynamic_degree: the rule against a transcription of the official one, the answers against recorded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.vbench import dynamic_degree as module
from metrics.vbench.dynamic_degree import MovingPairs, Tally, dynamic_degree, stride
from tests.metrics.vbench.flow import CLIPS, RAFT, measured, official, render, streamed, write_clip, write_weights


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> MovingPairs:
    return MovingPairs((write_weights(tmp_path_factory.getbasetemp() / "seeded") / RAFT,), "cpu", "exact")


def official_check(scores: list[float], threshold: float, needed: int) -> bool:
    """`check_move` of vbench 0.1.5."""
    count = 0
    for score in scores:
        if score > threshold:
            count += 1
        if count >= needed:
            return True
    return False


def test_stopping_early_changes_no_answer() -> None:
    rng = np.random.default_rng(0)
    saved = 0
    for _ in range(5000):
        frames = int(rng.integers(1, 60))
        scores = [*rng.choice([0.0, 1.0, 2.0, np.nan], frames - 1, p=rng.dirichlet(np.ones(4)))]
        tally = Tally(needed=round(4 * (frames / 16.0)), pairs=frames - 1)
        for score in scores:
            if tally.answer is None:
                tally.add(score > 1.0)
        assert tally.answer is official_check(scores, 1.0, tally.needed)
        saved += tally.pairs - tally.seen
    assert saved > 20_000  # of some 145 000


def test_few_frames() -> None:
    assert Tally(needed=0, pairs=0).answer is False  # a single frame
    assert Tally(needed=0, pairs=1).answer is True  # round(4 * 2 / 16) is 0: two frames pass unseen
    assert Tally(needed=1, pairs=2).answer is None


def test_every_how_many_frames() -> None:
    rates = (1, 4, 8, 12, 12.5, 16, 20, 20.1, 23.976, 24, 28, 30, 60)
    assert [stride(fps) for fps in rates] == [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 8]


@pytest.mark.parametrize("name", CLIPS)
def test_the_official_answer(moving: MovingPairs, name: str, tmp_path: Path) -> None:
    score = dynamic_degree(measured(write_clip(tmp_path, name), moving))
    recorded = official()[name]["dynamic"]
    if isinstance(recorded, str):  # an error there
        assert score.value is None
        assert "57 px" in score.note
    else:
        assert score.value == float(recorded)
        assert ("no flow" in score.note) == (name == "small")


class Scripted:
    """A network whose frames are what the test says: the first pixel."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, image: object) -> int:
        self.encoded.append(int(image[0, 0, 0]))  # type: ignore[index]
        return self.encoded[-1]

    def flow(self, first: int, second: int) -> tuple[int, int]:
        return first, second


@pytest.mark.parametrize("size", [1, 3, 16])
def test_frames_are_kept_by_rate_and_the_rest_is_not_looked_at(
    moving: MovingPairs, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Scripted()
    monkeypatch.setattr("metrics.vbench.networks.raft.load", lambda *_: network)
    asked: list[tuple[int, int]] = []

    def speed(pair: tuple[int, int], share: float) -> float:
        asked.append(pair)
        assert share == 0.05
        return 3.1 if pair[0] >= 6 else 2.9  # 6 * 128 / 256 is 3

    monkeypatch.setattr(module, "fastest", speed)
    frames = np.zeros((40, 128, 130, 3), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None, None]
    # every third: 14 frames, 13 pairs, round(3.5) = 4 needed
    assert streamed(frames, moving, 24.0, size).tolist() == [1, 4, 4, 13, 6, 1]
    assert asked == [(0, 3), (3, 6), (6, 9), (9, 12), (12, 15), (15, 18)]
    assert network.encoded == [0, 3, 6, 9, 12, 15, 18]


def test_the_same_however_frames_are_cut_into_chunks(moving: MovingPairs) -> None:
    frames = render("boundary")
    assert [streamed(frames, moving, 12.0, size).tolist() for size in (1, 3, 10)] == [[1, 1, 1, 4, 1, 1]] * 3
