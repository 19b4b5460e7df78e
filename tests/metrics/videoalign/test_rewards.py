"""VideoReward's answers, recorded from the official code on a tiny model of the real classes (`record.py`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, UserError
from metrics.videoalign.rewards import (
    MotionQuality,
    Overall,
    Reward,
    RewardOptions,
    TextAlignment,
    VisualQuality,
    normalise,
)

TRANSCRIPT = json.loads(Path(__file__).with_name("transcript.json").read_text())
KINDS: dict[str, type[Reward]] = {"VQ": VisualQuality, "MQ": MotionQuality, "TA": TextAlignment, "Overall": Overall}
PUBLISHED = {"VQ": (3.6757, 2.2476), "MQ": (1.1646, 1.3811), "TA": (2.8105, 2.5121)}


def answer(number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = TRANSCRIPT["exchanges"][number]["answer"]
    return found


@pytest.mark.parametrize("form", ["raw", "normalised"])
@pytest.mark.parametrize("name", list(KINDS))
def test_numbers_are_those_of_the_official_reward(name: str, form: Any) -> None:
    score = KINDS[name](RewardOptions(form=form)).read(answer())
    assert score.value == pytest.approx(TRANSCRIPT["official"][form][name], abs=1e-12)
    for each in ("raw", "normalised"):
        assert score.parts[each] == pytest.approx(TRANSCRIPT["official"][each][name], abs=1e-12)


def test_the_calibration_is_the_checkpoints_own() -> None:
    raw = {"VQ": 3.6757, "MQ": 1.1646 + 1.3811, "TA": 2.8105 - 2 * 2.5121}
    assert normalise(raw, answer()["calibration"]) == pytest.approx({"VQ": 0, "MQ": 1, "TA": -2})
    for name, (mean, deviation) in PUBLISHED.items():
        assert answer()["calibration"][f"{name}_mean"] == mean
        assert answer()["calibration"][f"{name}_std"] == deviation


def test_requests_are_those_the_worker_was_given() -> None:
    clip = Clip("a", Path("a.mp4"), "0" * 64, "A red square moves to the right.")
    options: list[dict[str, Any]] = [{}, {"num_frames": 6}, {"fps": 4.0}, {"max_pixels": 4 * 28 * 28}]
    for exchange, chosen in zip(TRANSCRIPT["exchanges"], options, strict=True):
        assert VisualQuality(RewardOptions(**chosen)).request(clip) == exchange["request"]


def test_sampling_reaches_the_official_code() -> None:
    """24 frames at 8 fps: two a second are six frames, four a second are others, and smaller frames are too."""
    rewards = [exchange["answer"]["rewards"]["VQ"] for exchange in TRANSCRIPT["exchanges"]]
    assert rewards[0] == rewards[1]
    assert len(set(rewards)) == 3


def test_an_answer_without_calibration_has_no_score() -> None:
    with pytest.raises(TypeError):
        VisualQuality(RewardOptions()).read({**answer(), "calibration": None})
    with pytest.raises(KeyError):
        VisualQuality(RewardOptions()).read({**answer(), "rewards": {"VQ": 1.0, "MQ": 1.0}})


def test_a_clip_without_a_prompt_is_refused_and_options_that_exclude_each_other_too() -> None:
    with pytest.raises(UserError, match="no prompt"):
        VisualQuality(RewardOptions()).request(Clip("a", Path("a.mp4"), "0" * 64))
    assert "exclude each other" in VisualQuality.excluded(RewardOptions(fps=2.0, num_frames=8))
    assert VisualQuality.excluded(RewardOptions(fps=2.0)) == ""
    assert VisualQuality.warning(RewardOptions(form="raw")) == "raw rewards"


def test_missing_weights_are_unavailable_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTOSCOPE_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"model\.pth.*missing\nfetch with `mutoscope weights fetch videoalign`"):
        VisualQuality.weights(RewardOptions())
