"""The four numbers from recorded answers of the worker: `record.py` says how `transcript.json` was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.api import Clip, Score, UserError
from metrics import videophy2
from metrics.videophy2.metrics import Joint, PhysicalCommonsense, Rule, SemanticAdherence, VideoPhy2
from metrics.videophy2.reading import RATINGS, official_score
from metrics.workers.judge import JudgeOptions

HEAD, *EXCHANGES = json.loads((Path(__file__).parent / "transcript.json").read_text(encoding="utf-8"))
OPTIONS = JudgeOptions()


def clip(prompt: str | None = "a ball", **meta: Any) -> Clip:
    return Clip("c", Path("c.mp4"), "0" * 64, prompt, meta=meta)


def of(kind: type[VideoPhy2], **replies: str) -> Score:
    return kind(OPTIONS).read({"replies": replies, "scores": {}})


# ---- recorded ----------------------------------------------------------------------------------------------------


def test_the_transcript_is_of_the_pinned_environment() -> None:
    pins = (Path(videophy2.__file__).parent / "official_env" / "requirements.txt").read_text().splitlines()
    for package in ("torch", "transformers", "tokenizers", "sentencepiece", "decord", "numpy", "pillow"):
        assert f"{package}=={HEAD['versions'][package].split('+')[0]}" in pins


def test_our_requests_are_the_recorded_ones() -> None:
    for exchange in EXCHANGES:
        asked = exchange["request"]
        assert (
            Joint(OPTIONS).request(clip(asked["caption"], **({"rule": asked["rule"]} if "rule" in asked else {})))
            == asked
        )


def test_our_reading_is_the_scripts_own_wherever_that_is_on_the_scale() -> None:
    readable = 0
    for exchange in EXCHANGES:
        answer: Mapping[str, Any] = exchange["answer"]
        assert set(answer["replies"]) == {"sa", "pc", *(["rule"] if "rule" in exchange["request"] else [])}
        for task, reply in answer["replies"].items():
            assert official_score(reply) == answer["scores"][task]
        for kind, task in ((SemanticAdherence, "sa"), (PhysicalCommonsense, "pc")):
            if answer["scores"][task] in RATINGS:
                readable += 1
                assert kind(OPTIONS).read(answer).value == answer["scores"][task]
            else:
                with pytest.raises(ValueError, match="no rating"):
                    kind(OPTIONS).read(answer)
    assert 0 < readable < 2 * len(EXCHANGES)  # random weights say both kinds of things


# ---- written by hand ---------------------------------------------------------------------------------------------


def test_ratings_and_the_joint_score() -> None:
    assert of(SemanticAdherence, sa="5", pc="3") == Score(5.0)
    assert of(PhysicalCommonsense, sa="5", pc="3") == Score(3.0)
    assert of(Joint, sa="5", pc="3") == Score(0.0, {"semantic_adherence": 5.0, "physical_commonsense": 3.0})
    assert of(Joint, sa="4", pc="4").value == 1.0
    assert of(SemanticAdherence, sa="I say four", pc="?") == Score(4.0, note="the reply was 'I say four'")


def test_one_unreadable_rating_fails_the_joint_score_and_not_the_other() -> None:
    assert of(SemanticAdherence, sa="5", pc="?").value == 5.0
    for kind in (PhysicalCommonsense, Joint):
        with pytest.raises(ValueError, match=r"no rating from 1 to 5 in the reply '\?'"):
            of(kind, sa="5", pc="?")


def test_a_rule_is_asked_only_where_there_is_one() -> None:
    assert Rule(OPTIONS).skip(clip()) == "the clip has no physical rule"
    assert Rule(OPTIONS).skip(clip(rule="it falls")) == ""
    assert Rule(OPTIONS).request(clip(rule="it falls")) == {"caption": "a ball", "rule": "it falls"}
    assert Joint(OPTIONS).request(clip(dimensions=["x"])) == {"caption": "a ball"}
    assert of(Rule, sa="1", pc="1", rule="1") == Score(1.0)
    assert of(Rule, sa="1", pc="1", rule="0") == Score(0.0)
    assert of(Rule, sa="1", pc="1", rule="2") == Score(None, note="not decidable in this video")


def test_a_clip_without_a_prompt_is_a_named_failure() -> None:
    with pytest.raises(UserError, match="c: no prompt"):
        SemanticAdherence(OPTIONS).request(clip(None))


def test_weights_and_environment_are_found() -> None:
    table = SemanticAdherence.table()
    assert [entry.file for entry in table.files if not entry.file.endswith("json")] == [
        "pytorch_model.bin", "tokenizer.model",
    ]  # fmt: skip
    assert SemanticAdherence.entries(OPTIONS) == table.files
    source = SemanticAdherence.where().description.sources["videophy"]
    assert source.commit == "01d366c979e4a82875852adbf427ccc036e7373a"
    ranges = {cast(str, kind.name): kind.range for kind in (SemanticAdherence, PhysicalCommonsense, Joint, Rule)}
    assert ranges == {
        "videophy2/semantic_adherence": (1.0, 5.0), "videophy2/physical_commonsense": (1.0, 5.0),
        "videophy2/joint": (0.0, 1.0), "videophy2/rule": (0.0, 1.0),
    }  # fmt: skip
