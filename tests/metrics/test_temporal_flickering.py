"""vbench/temporal_flickering against the official formula, evaluated with OpenCV as the official code does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness import video
from harness.api import Clip
from harness.features import FeatureStore
from metrics.vbench.temporal_flickering import TemporalFlickering, difference
from tests.footage import REAL, drifting, needs_real_clips


def official(path: Path) -> float:
    """vbench 0.1.5 temporal_flickering.py, in its own terms: cv2.VideoCapture, float32 absdiff, mean of means."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    maes = [
        np.mean(cv2.absdiff(np.array(a, dtype=np.float32), np.array(b, dtype=np.float32))) for a, b in pairwise(frames)
    ]
    return (255.0 - np.mean(np.array(maes)).item()) / 255.0


def ours(path: Path) -> float | None:
    clip = Clip(path.stem, path, "0")
    with FeatureStore().open(clip) as features:
        return TemporalFlickering(TemporalFlickering.Config()).score(clip, features).value


def write(path: Path, frames: np.ndarray) -> Path:
    video.write(path, frames, 8)
    return path


def test_parity_on_a_written_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", drifting(9, 64, 96, 2.0, 1.0))
    assert ours(path) == pytest.approx(official(path), abs=1e-6)
    assert 0.8 < official(path) < 0.97


@needs_real_clips
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_parity_on_real_clips(path: Path) -> None:
    assert ours(path) == pytest.approx(official(path), abs=1e-6)


def test_by_hand() -> None:
    frames = np.array([0, 255, 250, 250], np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    assert [difference(a, b) for a, b in pairwise(frames)] == [255.0, 5.0, 0.0]
    frames[1, 0, 0, 0] = 0  # one channel of one of 16 pixels
    assert difference(frames[0], frames[1]) == pytest.approx(255 * 47 / 48)


def test_frozen_clip_is_one_and_flashing_is_low(tmp_path: Path) -> None:
    still = np.full((5, 32, 32, 3), 90, np.uint8)
    assert ours(write(tmp_path / "still.mp4", still)) == 1.0
    flash = still.copy()
    flash[::2] = 0
    assert ours(write(tmp_path / "flash.mp4", flash)) == pytest.approx(1 - 90 / 255, abs=0.01)


def test_single_frame_is_not_applicable(tmp_path: Path) -> None:
    assert ours(write(tmp_path / "one.mp4", np.full((1, 32, 32, 3), 90, np.uint8))) is None
