"""Broken trackers are caught by the check that is about them; sound ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api import Tracker, UserError
from harness.conformance import check_tracker, examine_tracker
from harness.conformance.wandering import SIDES, drifting, path, scattered
from metrics.trackers.bootstapir import BootsTapir
from tests.conformance import broken_trackers
from tests.conformance.asking import about_tracker, caught
from tests.test_cli import Run, run

__all__ = ["run"]


def named(value: object) -> str:
    return getattr(value, "__name__", "-")


@pytest.mark.parametrize(("kind", "check", "words"), broken_trackers.BROKEN, ids=named)
def test_a_broken_tracker_is_caught(kind: type[Tracker], check: str, words: str) -> None:
    caught(about_tracker(kind, check), check, words)


def test_a_sound_tracker_passes_everything() -> None:
    report = check_tracker(broken_trackers.Sound, {"windows": [7]})
    assert {check.name for check in report.of("not applicable")} == {"runtime options", "GPU"}
    assert report["identity"].message == "changes with levels, tolerance, patch"
    assert report["answers"].message == "[12, 9, 2] positions, 100% visible"
    assert report["outside the frame"].message == "23 places outside the frame, 0% called visible"


def test_points_that_inform_each_other_may_if_an_option_says_so() -> None:
    report = about_tracker(broken_trackers.DeclaredHerd, "points alone").demand()
    assert report["points alone"].message == "points inform each other, and `together` is in the identity"


def test_a_size_that_is_refused_is_no_fault() -> None:
    report = about_tracker(broken_trackers.Polite, "clips").demand()
    assert report["clips"].message == "refuses clips of 8x8: frames below 16x16 cannot be tracked"


def test_a_tracker_without_its_checkpoint_is_a_mistake_not_a_failure() -> None:
    with pytest.raises(UserError, match="nowhere"):
        examine_tracker(BootsTapir, {"weights": "nowhere.pt"})


def test_the_command_passes_lk(run: Run) -> None:
    code, out, _ = run("check", "lk")
    assert code == 0
    assert out.startswith("lk  tracker")
    assert "\n12 passed, 2 not applicable; " in out


def test_the_texture_moves_as_its_path_says() -> None:
    video, queries = drifting((2.0, -1.0)), scattered([4])
    columns, rows = path(queries, (2.0, -1.0)).round().astype(int).transpose(2, 0, 1)
    colours = video[np.arange(9), rows, columns].astype(int)
    assert np.abs(colours - colours[:, 4:5]).max() <= 1
    assert video.shape == (9, *SIDES, 3)
    assert video.std() == pytest.approx(40, abs=5)
