"""motion_smoothness against what the official class makes of the same seeded weights and clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import video
from harness.api import UserError
from metrics.vbench.motion_smoothness import GuessedFrames, motion_smoothness
from metrics.vbench.networks import amt
from tests.metrics.vbench.flow import AMT, CLIPS, measured, official, render, streamed, write_clip, write_weights


@pytest.fixture(scope="module")
def guesses(tmp_path_factory: pytest.TempPathFactory) -> GuessedFrames:
    return GuessedFrames((write_weights(tmp_path_factory.getbasetemp() / "seeded") / AMT,), "cpu", "exact")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CLIPS)
def test_the_official_number(guesses: GuessedFrames, name: str, tmp_path: Path) -> None:
    score = motion_smoothness(measured(write_clip(tmp_path, name), guesses))
    recorded = official()[name]["smoothness"]
    if isinstance(recorded, str):  # an error there
        assert score.value is None
        assert "three frames" in score.note
    else:
        assert score.value == pytest.approx(recorded, abs=1e-6)
        assert ("divides by zero" in score.note) == (name == "small")
        assert score.parts["guesses"] == (CLIPS[name][0] - 1) // 2


def test_the_same_however_frames_are_cut_into_chunks(guesses: GuessedFrames) -> None:
    frames = render("odd_rate")[:6]
    whole = streamed(frames, guesses, 8.0, 6)
    assert whole.shape == (2, 2)  # the sixth frame takes no part
    for size in (1, 2, 3, 5):
        np.testing.assert_array_equal(streamed(frames, guesses, 8.0, size), whole)
    np.testing.assert_array_equal(streamed(frames[2:5], guesses, 8.0, 3), whole[:, 1:])


def test_levels_are_cut_off_not_rounded(guesses: GuessedFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed(render("two"), guesses, 8.0, 2)
    shown = torch.tensor([[10.9, 254.99, -3.0, 400.0, torch.nan]]).expand(3, 1, 5) / 255
    framed = torch.zeros(1, 3, 16, 16)
    framed[0, :, 7:8, 5:10] = shown  # 1x5 padded to 16x16, centred
    monkeypatch.setattr(guesses.network, "forward", lambda *_: framed)
    image = torch.zeros(3, 1, 5, dtype=torch.uint8)
    assert guesses.network.guess(image, image)[0, 0].tolist() == [10, 254, 0, 255, 0]


def test_warp_follows_the_flow_and_repeats_edges() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0], flow[:, 1] = 1, -1
    expected = torch.tensor([[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7.0]])
    torch.testing.assert_close(amt.warp(image, flow)[0, 0], expected)


def test_by_hand() -> None:
    score = motion_smoothness(np.array([[0.0, 51.0], [1.0, 1.0]]))
    assert score.value == pytest.approx(0.9)


def test_another_checkpoint_is_named(guesses: GuessedFrames, tmp_path: Path) -> None:
    held = torch.load(guesses.paths[0], weights_only=True)["state_dict"]
    cpu = torch.device("cpu")
    short = {name: value for name, value in held.items() if name != "comb_block.2.bias"}
    torch.save({"state_dict": short}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"comb_block\.2\.bias"):
        amt.load(tmp_path / "a.pth", cpu)
    torch.save({"state_dict": {**held, "more": torch.zeros(1)}}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="more"):
        amt.load(tmp_path / "b.pth", cpu)
    video.write(tmp_path / "c.pth", np.zeros((1, 32, 32, 3), np.uint8), 8)
    with pytest.raises(UserError, match="damaged"):
        amt.load(tmp_path / "c.pth", cpu)
