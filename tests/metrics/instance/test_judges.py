"""The two official instance judges: what they are asked, and what their answers say.

Both are recorded from the official code: the master's on a tiny judge of the real classes (`record.py`), those of
vbench2 0.1.1 on a seeded detector of the real configuration (`record_counting.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, ScoreRow, UserError
from metrics.instance import master
from metrics.instance.counting import InstancePreservationCounting
from metrics.instance.master import InstancePreservationMaster, MasterOptions, PreservedShare
from metrics.instance.windows import windows
from metrics.workers.client import WorkerError
from metrics.workers.judge import JudgeOptions
from metrics.workers.known import known

TRANSCRIPT = json.loads(Path(__file__).with_name("transcript.json").read_text())
COUNTED = json.loads(Path(__file__).with_name("transcript_counting.json").read_text())
NAMES = ("instance_preservation@vbench2-master", "instance_preservation@vbench2-0.1.1")


def judge(max_errors: float = 0.1) -> InstancePreservationMaster:
    return InstancePreservationMaster(MasterOptions(max_errors=max_errors))


def answer(*said: str | None, frames: int = 81, fps: float = 16.0) -> dict[str, Any]:
    """As the worker gives it; None: the judge failed."""
    heard = [{"error": "RuntimeError: out of memory"} if text is None else {"text": text} for text in said]
    return {"frames": frames, "fps": fps, "windows": heard, "official": 1.0}


def clip(**meta: Any) -> Clip:
    return Clip("a", Path("a.mp4"), "0" * 64, "an orange cat and a white cat", meta=meta)


# ---- the judge ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(TRANSCRIPT["answers"]))
def test_recorded_answers_are_read_as_upstream_reads_them(name: str) -> None:
    said = TRANSCRIPT["answers"][name]
    score = judge().read(said)
    assert score.value == said["official"]
    assert score.parts["windows"] == score.parts["looked_at"] == len(said["windows"])
    assert len(said["windows"]) == len(windows(said["frames"], said["fps"]))  # ours and the official split's
    assert score.parts["judge_errors"] == 0


def test_the_recorded_words_are_kept() -> None:
    assert judge().read(TRANSCRIPT["answers"]["three seconds"]).note == "judge: B. No | B. No"
    assert judge().read(TRANSCRIPT["answers"]["a second"]).note == "shorter than a window, counted as preserved"


def test_an_anomaly_ends_the_looking() -> None:
    score = judge().read(answer("B. No", "A. Yes"))
    assert score.value == 0.0
    assert score.parts == {"windows": 4, "looked_at": 2, "judge_errors": 0}
    assert score.note == "judge: B. No | A. Yes"


def test_judge_errors_count_as_fine_up_to_the_stated_share() -> None:
    said = answer("B", None, "B", "B")
    tolerant = judge(max_errors=0.25).read(said)
    assert (tolerant.value, tolerant.parts["judge_errors"]) == (1.0, 1)
    assert tolerant.note == "judge: B | (error) | B | B"
    with pytest.raises(WorkerError, match="failed on 1 of 4 windows: RuntimeError: out of memory"):
        judge(max_errors=0.24).read(said)


@pytest.mark.parametrize("said", [answer("B"), answer("B", "B", "B", "B", "B"), answer(frames=81)])
def test_answers_that_do_not_fit_the_windows_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="answers to 4 windows"):
        judge().read(said)


def test_nothing_of_the_clip_but_its_path_is_sent() -> None:
    assert judge().request(clip()) == {}


def test_the_share_comes_with_its_interval() -> None:
    rows: list[ScoreRow] = [
        {"clip": str(number), "value": float(number < 158), "error": "", "note": "", "parts": {"windows": 4}}
        for number in range(171)
    ]
    found = PreservedShare(MasterOptions()).summarise({NAMES[0]: rows})
    assert found.value == pytest.approx(158 / 171)
    assert {name: round(value, 4) for name, value in found.parts.items()} == {
        "k": 158, "n": 171, "low": 0.8743, "high": 0.955,
    }  # fmt: skip
    assert found.note == "158 of 171, 95 % [0.874, 0.955]"
    rows[0] = {**rows[0], "value": None, "error": "crashed"}
    assert PreservedShare(MasterOptions()).summarise({NAMES[0]: rows}).note == "1 clips failed"
    assert PreservedShare(MasterOptions()).summarise({}).value is None


# ---- weights -----------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file of the judge and of the base that its adapter names, and an environment that is there."""
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metrics.workers.environment.Environment.require", lambda self, extra="": Path("python"))
    monkeypatch.setattr(master.shutil, "which", lambda name: name)
    for entry in InstancePreservationMaster.table().select(["judge", "base-Qwen2.5-VL-7B-Instruct"]):
        file = tmp_path / "weights" / entry.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    (tmp_path / "weights" / master.ARGUMENTS).write_text('{"model": "Qwen/Qwen2.5-VL-7B-Instruct"}')
    return tmp_path / "weights"


def test_the_base_is_the_one_the_adapter_names(weights: Path) -> None:
    config = MasterOptions(weights=str(weights))
    paths = InstancePreservationMaster.weights(config)
    assert weights / "Qwen2.5-VL-7B-Instruct" / "model-00005-of-00005.safetensors" in paths
    assert any(path.name == "requirements.txt" for path in paths)
    (weights / master.ARGUMENTS).write_text('{"model": "Qwen/Qwen2.5-VL-3B-Instruct"}')
    with pytest.raises(
        UserError, match=r"3B.*missing\nfetch with `mutoscope weights fetch instance --for base-Qwen2.5"
    ):
        InstancePreservationMaster.weights(config)
    (weights / master.ARGUMENTS).write_text('{"model": "Qwen/Qwen9"}')
    with pytest.raises(UserError, match='no file of instance is for "base-Qwen9"'):
        InstancePreservationMaster.weights(config)


def test_without_ffmpeg_it_is_unavailable(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"ffmpeg and ffprobe not found.*\ninstall ffmpeg"):
        InstancePreservationMaster.weights(MasterOptions(weights=str(weights)))


# ---- counting ----------------------------------------------------------------------------------------------------


def test_recorded_counts_are_scored_as_upstream_scores_them() -> None:
    """Of frames with 3 cats and a dog, and with none of either; and of a grey one."""
    counting = InstancePreservationCounting(JudgeOptions())
    assert [(said["targets"], said["counts"], said["official"]) for said in COUNTED["answers"]] == [
        ("1.cat and 1.white dog", [[3, 1], [0, 0]], 0.25),  # too many, right; too few, too few
        ("3.cat", [[3], [0]], 0.5),  # right; none
        ("1.cat", [[0]], 0.0),
    ]
    scores = [counting.read(said) for said in COUNTED["answers"]]
    assert [score.value for score in scores] == [said["official"] for said in COUNTED["answers"]]
    assert scores[0].parts == {"frames": 2, "mean_cat": 1.5, "mean_white_dog": 0.5}


def test_the_recorded_versions_are_the_pinned_ones() -> None:
    folder = InstancePreservationCounting.where().file.parent
    pins = {line for name in ("requirements.txt", "ops.txt") for line in (folder / name).read_text().splitlines()}
    assert {name for name, version in COUNTED["versions"].items() if f"{name}=={version}" not in pins} == {"python"}


def test_counts_are_scored_by_frame() -> None:
    counting = InstancePreservationCounting(JudgeOptions())
    said = {"targets": "1.orange cat and 1.white cat", "counts": [[1, 1], [1, 0], [2, 2], [1, 1]], "official": 0.625}
    score = counting.read(said)
    assert score.value == 0.625
    assert score.parts == {"frames": 4, "mean_orange_cat": 1.25, "mean_white_cat": 1.0}


@pytest.mark.parametrize(("counts", "said"), [([], "no frames"), ([[1], [1]], "shorter|longer")])
def test_counts_that_cannot_be_scored_are_refused(counts: list[list[int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InstancePreservationCounting(JudgeOptions()).read({"targets": "1.cat and 2.dog", "counts": counts})


def test_only_prompts_that_name_objects_are_counted() -> None:
    counting = InstancePreservationCounting(JudgeOptions())
    named = clip(auxiliary_info={"Instance_Preservation": "1.orange cat"})
    assert counting.skip(named) == ""
    assert counting.request(named) == {"targets": "1.orange cat"}
    for other in (clip(), clip(auxiliary_info={"Camera_Motion": "zoom_in"}), clip(auxiliary_info="1.cat")):
        assert "does not say which objects" in counting.skip(other)


def test_both_environments_are_known_under_names_of_their_own() -> None:
    assert {"instance", "instance-yolo"} <= set(known())
    assert (InstancePreservationMaster.name, InstancePreservationCounting.name) == NAMES
