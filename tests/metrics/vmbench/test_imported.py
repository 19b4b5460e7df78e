"""VMBench's own results.json as rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import UserError
from metrics.vmbench.imported import read_results
from metrics.vmbench.measures import KEYS


def entry(number: int, **changes: Any) -> dict[str, Any]:
    scores = dict(zip(KEYS.values(), (0.1, 0.9, 1.0, 0.5, 0.8), strict=True))
    base = {
        "prompt": "A horse runs.",
        "subject_noun": "horse",
        "index": f"{number:04d}",
        "filepath": f"/v/{number:04d}.mp4",
    }
    return {key: value for key, value in {**base, **scores, **changes}.items() if value is not ...}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_averages_are_of_the_clips_and_of_five(tmp_path: Path) -> None:
    found = read_results(write(tmp_path / "r.json", [entry(1), entry(2, perceptible_amplitude_score=0.3)]))
    assert found.averages == pytest.approx(
        {"pas": 20.0, "ois": 90.0, "tcs": 100.0, "cas": 50.0, "mss": 80.0, "mean": 68.0}
    )
    assert [row["value"] for row in found.rows["vmbench/pas"]] == [0.1, 0.3]
    assert found.clips[0] == {
        "id": "0001", "prompt": "A horse runs.", "file": "/v/0001.mp4", "sha256": "", "meta": {"subject_noun": "horse"},
    }  # fmt: skip
    assert found.notes == ("2 of VMBench's 1050 clips: not comparable with its table",)


def test_either_spelling_of_the_amplitude(tmp_path: Path) -> None:
    other = entry(1, perceptible_amplitude_score=..., perceptible_amplitude_socre=0.2)
    assert read_results(write(tmp_path / "r.json", [other, entry(2)])).averages["pas"] == pytest.approx(15.0)


def test_what_is_missing_is_an_error_of_that_clip_and_there_is_no_mean(tmp_path: Path) -> None:
    missing = [entry(1), entry(2, motion_smoothness_score=...), entry(3, object_integrity_score=float("nan"))]
    found = read_results(write(tmp_path / "r.json", missing))
    assert [row["error"] for row in found.rows["vmbench/mss"]] == ["", "not in the file", ""]
    assert [row["error"] for row in found.rows["vmbench/ois"]] == ["", "", "nan in the file"]
    assert "mean" not in found.averages
    assert found.averages["mss"] == pytest.approx(80.0)
    assert found.notes[:2] == ("ois: 2 of 3 clips", "mss: 2 of 3 clips")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([entry(1), entry(1)], "clip 0001 comes more than once"),
        ({"a": 1}, "not a list of clips"),
        ([], "not a list of clips"),
        ([entry(1, index=..., filepath=...)], "entry 1: no index"),
        ([entry(1, commonsense_adherence_score="0.5")], "commonsense_adherence_score: '0.5' is no number"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_results(write(tmp_path / "r.json", content))
