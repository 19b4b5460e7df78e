"""The five measures: requests, recorded answers (`transcript.json`, made by record.py), their mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from harness.api import Clip, Features, Score, ScoreRow, UserError
from metrics import vmbench
from metrics.vmbench.measures import KEYS, SPELLINGS, mean_of_five
from metrics.vmbench.metrics import (
    CommonsenseAdherence,
    Mean,
    Measure,
    MotionSmoothness,
    ObjectIntegrity,
    PerceptibleAmplitude,
    TemporalCoherence,
    VMBenchOptions,
)  # fmt: skip

HEAD, *EXCHANGES = json.loads((Path(__file__).parent / "transcript.json").read_text(encoding="utf-8"))
OPTIONS = VMBenchOptions()
NOTHING = cast(Features, None)
KINDS: dict[str, type[Measure]] = {
    kind.measure: kind
    for kind in (PerceptibleAmplitude, ObjectIntegrity, TemporalCoherence, CommonsenseAdherence, MotionSmoothness)
}
OPENSORA = {"cas": 31.2, "mss": 61.9, "ois": 73.0, "pas": 3.4, "tcs": 88.5}  # the published table


def clip(**meta: Any) -> Clip:
    return Clip("c", Path("c.mp4"), "5" * 64, "A horse runs.", meta=meta)


# ---- recorded ----------------------------------------------------------------------------------------------------


def answers(metric: str, name: str) -> list[dict[str, Any]]:
    return [
        each["answer"] for each in EXCHANGES if (each["metric"], each["clip"]) == (metric, name) and "answer" in each
    ]


def test_the_transcript_is_of_the_pinned_environment() -> None:
    pins = (Path(vmbench.__file__).parent / "official_env" / "requirements.txt").read_text().splitlines()
    assert [name for name, version in HEAD["versions"].items() if f"{name}=={version.split('+')[0]}" not in pins] == [
        "python"
    ]


def test_smoothness_of_recorded_answers() -> None:
    """The random network rates every picture alike: no jumps. The form is what is recorded here."""
    for name, frames in (("still", 12), ("flashing", 12), ("one frame", 1)):
        scores = [MotionSmoothness(OPTIONS).read(answer) for answer in answers("mss", name)]
        assert scores == [Score(1.0, {"frames": frames})] * 2


def test_commonsense_is_an_expected_class_between_zero_and_one() -> None:
    for name, frames in (("still", 12), ("flashing", 12), ("one frame", 1)):
        (answer,) = answers("cas", name)
        score = CommonsenseAdherence(OPTIONS).read(answer)
        assert 0.0 < cast(float, score.value) < 1.0
        assert score.parts == {"frames": frames}
    values = {CommonsenseAdherence(OPTIONS).read(answers("cas", name)[0]).value for name in ("still", "flashing")}
    assert len(values) == 2  # and not near 0.5 for all: the checkpoint was read


def test_a_broken_file_is_refused_before_the_scripts_see_it() -> None:
    said = {each["error"]["problem"] for each in EXCHANGES if each["clip"] == "broken"}
    assert said == {"vmbench: ValueError: OpenCV reads no frame of it"}
    assert not [each for each in EXCHANGES if each["clip"] == "broken" and "answer" in each]


# ---- requests ----------------------------------------------------------------------------------------------------


def test_the_subject_must_be_named_where_it_is_looked_for() -> None:
    asked = {"prompt": "A horse runs.", "subject_noun": "horse"}
    for kind in (PerceptibleAmplitude, TemporalCoherence):
        assert kind(OPTIONS).request(clip(subject_noun="horse", place="raceway")) == asked
        for meta in ({}, {"subject_noun": " "}, {"subject_noun": 3}):
            with pytest.raises(
                UserError, match="c: no subject_noun in its meta\nVMBench looks for the prompt's subject"
            ):
                kind(OPTIONS).request(clip(**meta))
    for kind in (ObjectIntegrity, CommonsenseAdherence):
        assert kind(OPTIONS).request(clip()) == {}


def test_smoothness_is_asked_with_the_amplitude_of_the_same_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def ask(self: Measure, request: dict[str, Any]) -> dict[str, Any]:
        asked.append({"of": self.measure, **request})
        return {"entry": {KEYS[self.measure]: 0.25 if self.measure == "pas" else 0.75}, "frames": 9}

    class Forgetful:
        def __init__(self, *words: object) -> None: ...
        def recall(self, *words: object) -> None: ...
        def keep(self, *words: object) -> None: ...

    monkeypatch.setattr(Measure, "_ask", ask)
    monkeypatch.setattr(Measure, "_identity", lambda self: {})
    monkeypatch.setattr("metrics.workers.judge.Answers", Forgetful)
    score = MotionSmoothness(OPTIONS).score(clip(subject_noun="horse"), NOTHING)
    assert score == Score(0.75, {"frames": 9.0, "pas": 0.25})
    assert [each["of"] for each in asked] == ["pas", "mss"]
    assert {key: value for key, value in asked[1].items() if key not in ("of", "path")} == {KEYS["pas"]: 0.25}
    with pytest.raises(UserError, match="no subject_noun"):
        MotionSmoothness(OPTIONS).score(clip(), NOTHING)


def test_each_measure_has_its_own_process_weights_and_layer() -> None:
    assert {name: kind(OPTIONS).settings() for name, kind in KINDS.items()} == {
        name: {"metric": name, "seed": 0} for name in KEYS
    }
    assert {name: kind.layer for name, kind in KINDS.items() if kind.layer} == {"ois": "pose"}
    files = {name: {entry.file.split("/")[0] for entry in kind.entries(OPTIONS)} for name, kind in KINDS.items()}
    assert files["cas"] == {"vit_g_vmbench.pt"}
    assert files["mss"] == files["pas"] | {"q-future"}
    assert len(files["ois"]) == 2


# ---- the mean ----------------------------------------------------------------------------------------------------


def rows(**values: list[float | None]) -> dict[str, list[ScoreRow]]:
    return {
        f"vmbench/{name}": [{"clip": str(number), "value": value} for number, value in enumerate(found)]
        for name, found in values.items()
    }


def test_the_mean_is_that_of_five_as_in_the_published_table() -> None:
    assert mean_of_five({name: value / 100 for name, value in OPENSORA.items()}) == pytest.approx(0.516)
    score = Mean(OPTIONS).summarise(rows(**{name: [value / 100] * 3 for name, value in OPENSORA.items()}))
    assert score == Score(pytest.approx(51.6), pytest.approx(OPENSORA))  # type: ignore[arg-type]
    unequal = rows(pas=[0.0, 0.5], ois=[1.0, 0.0], tcs=[1.0, 1.0], cas=[0.2, 0.4], mss=[0.5, 0.6])
    assert cast(Score, Mean(OPTIONS).summarise(unequal)).value == pytest.approx(100 * (0.25 + 0.5 + 1 + 0.3 + 0.55) / 5)


def test_no_mean_without_every_measure_of_every_clip() -> None:
    whole = {name: [0.5, 0.5] for name in KEYS}
    missing = cast(Score, Mean(OPTIONS).summarise(rows(**{**whole, "mss": [0.5, None]})))
    assert (missing.value, missing.note) == (None, "not all clips have all five: mss: 1 of 2 clips")
    absent = cast(
        Score, Mean(OPTIONS).summarise(rows(**{name: found for name, found in whole.items() if name != "pas"}))
    )
    assert (absent.value, absent.note) == (None, "not all clips have all five: pas: 0 of 2 clips")
    assert cast(Score, Mean(OPTIONS).summarise({})).value is None
    assert "mss" in missing.parts


def test_both_spellings_are_known() -> None:
    assert SPELLINGS["pas"] == ("perceptible_amplitude_score", "perceptible_amplitude_socre")
    assert SPELLINGS["cas"] == ("commonsense_adherence_score",)
