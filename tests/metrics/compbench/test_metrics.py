"""The three metrics: requests, recorded answers (`transcript.json`, made by record.py), and answers written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, UserError
from metrics import compbench
from metrics.compbench.metrics import ActionBinding, DrawOptions, DynamicAttribute, MotionBinding, Replied, ReplyOptions

HEAD, *EXCHANGES = json.loads((Path(__file__).parent / "transcript.json").read_text(encoding="utf-8"))
KINDS: dict[str, type[Replied]] = {"action_binding": ActionBinding, "dynamic_attribute": DynamicAttribute}
MOTION = {"object_1": "ball", "d_1": "left", "object_2": "puppy", "d_2": "right"}


def clip(prompt: str | None, **meta: Any) -> Clip:
    return Clip("c", Path("c.mp4"), "0" * 64, prompt, meta=meta)


# ---- recorded ----------------------------------------------------------------------------------------------------


def test_our_requests_are_the_recorded_ones() -> None:
    for exchange in EXCHANGES:
        entry = exchange["request"]["entry"]
        metric = KINDS[exchange["request"]["category"]](ReplyOptions())
        assert metric.request(clip(**entry)) == exchange["request"]  # the prompt is in the entry


def test_recorded_rows_are_refused_for_their_replies_and_not_for_their_form() -> None:
    """Random weights rarely say one score a reply: here each answer has at least one that nobody can read. (Readable
    ones: test_replies.py.) The scripts' own scores are "bad reply", or made with the number of the reply before."""
    answers = [(each["request"]["category"], each["answer"]) for each in EXCHANGES if "answer" in each]
    assert len(answers) >= 4
    for category, answer in answers:
        with pytest.raises(ValueError, match="bad reply: no score in"):
            KINDS[category](ReplyOptions()).read(answer)
    assert {answer["row"]["Score"] for category, answer in answers if category == "action_binding"} == {"bad reply"}
    assert all(float(answer["row"]["Score"]) >= 0 for category, answer in answers if category == "dynamic_attribute")


def test_a_clip_that_is_too_short_is_refused_by_name() -> None:
    said = [
        exchange["error"]["problem"] for exchange in EXCHANGES if "error" in exchange and exchange["clip"] == "short"
    ]
    assert said == ["compbench: ValueError: 9 frames; dynamic_attribute looks at 16"]


def test_the_transcript_is_of_the_pinned_packages_but_for_torch() -> None:
    pins = (Path(compbench.__file__).parent / "official_env" / "requirements.txt").read_text().splitlines()
    differing = [name for name, version in HEAD["versions"].items() if f"{name}=={version}" not in pins]
    assert differing == ["python", "torch", "torchvision"]  # as record.py says


# ---- written by hand ---------------------------------------------------------------------------------------------


def test_clips_of_other_categories_are_not_scored() -> None:
    action, dynamic, motion = (
        ActionBinding(ReplyOptions()),
        DynamicAttribute(ReplyOptions()),
        MotionBinding(DrawOptions()),
    )
    assert action.skip(clip("p")) == "not a prompt of this category: no phrase_0, phrase_1 in its meta"
    assert dynamic.skip(clip("p", **{"state 0": "green"})) == "not a prompt of this category: no state 1 in its meta"
    assert motion.skip(clip("p", **MOTION)) == ""
    assert motion.request(clip("p", tag="x", **MOTION)) == {"entry": {"prompt": "p", **MOTION}}
    with pytest.raises(UserError, match="c: no prompt"):
        motion.request(clip(None, **MOTION))


def test_scores_from_rows() -> None:
    action = {"row": {"outputs_1": "A dog.", "outputs_2": '{"score": 4, "explanation": "x"}', "Score": "4"}}
    assert ActionBinding(ReplyOptions()).read(action).value == 0.8
    said = '{"score": %d, "explanation": "x"}'
    row = {"1_answer2": said % 5, "_answer3": said % 2, "2_answer2": said % 1, "2_answer3": said % 4}
    dynamic = {"row": {**row, "inter_answers": repr([said % 1] * 12 + [said % 0] * 2)}}
    score = DynamicAttribute(ReplyOptions()).read(dynamic)
    assert score.value == pytest.approx((1 * 0.6 + 0.8 * 0.8) / 2)
    assert score.parts == {"s0": 5.0, "s01": 2.0, "s1": 1.0, "s11": 4.0, "middle": 12.0}


def test_motion_from_tables() -> None:
    start = {"id": "0001", "prompt": "p", **MOTION}
    puppy = {**start, "mask_name": "mask_foreground_puppy.jpg", "change_in_x": "428", "change_in_y": "0"}
    lost = {**start, "mask_name": "", "change_in_x": "", "change_in_y": ""}
    camera = {**start, "mask_name": "mask_background.jpg", "change_in_x": "0", "change_in_y": "0"}
    score = MotionBinding(DrawOptions()).read({"foreground": [puppy, lost], "background": [camera]})
    assert (score.value, score.note) == (pytest.approx(0.4), "not found: ball")
    assert score.parts == {"as_listed": pytest.approx(0.2), "found": 1.0}
    nothing = MotionBinding(DrawOptions()).read({"foreground": [lost, lost], "background": [lost]})
    assert (nothing.value, nothing.note) == (0.0, "not found: ball, puppy")


def test_what_is_drawn_is_said_and_enters_the_fingerprint() -> None:
    assert "temperature 0.2" in ActionBinding.warning(ReplyOptions())
    assert "not sampled, the official ones are" in ActionBinding.warning(ReplyOptions(temperature=0))
    assert "points are drawn" in MotionBinding.warning(DrawOptions(unofficial_weights=True))
    assert "weights may be others" in MotionBinding.warning(DrawOptions(unofficial_weights=True))
    assert ActionBinding(ReplyOptions(seed=3)).settings() == {"temperature": 0.2, "seed": 3}
    assert MotionBinding(DrawOptions(seed=3)).settings() == {"seed": 3}
    assert not {"seed", "temperature"} & ActionBinding.runtime


def test_weights_are_linked_where_the_official_code_looks(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    for metric, link in (
        (ActionBinding(ReplyOptions(weights=str(weights))), "openai"),
        (MotionBinding(DrawOptions(weights=str(weights))), "bert-base-uncased"),
    ):
        assert metric.variables(tmp_path)["HF_HUB_OFFLINE"] == "1"
        assert (tmp_path / link).readlink() == weights.resolve() / link
    table = ActionBinding.table()
    assert {entry.file.split("/")[0] for entry in table.select(["llava"])} == {"llava-v1.6-34b", "openai"}
    assert len(table.select(["motion"])) == 10
