"""VBench's result files: what we write is what it writes, what it writes we read, and nonsense is refused by name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.samples import ClipSpec
from metrics.vbench.aggregate import DIMENSIONS, dimension_score
from metrics.vbench.imported import NAN, read_official
from metrics.vbench.prompts import VBenchPrompts
from metrics.vbench.results import BOOLEAN, not_comparable, official_json, submission, to_official
from tests.metrics.vbench.evaluations import clip_rows, score_rows

STANDARD = {"protocol": "standard", "precision": "exact", "unofficial_weights": False}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def clips() -> list[Json]:
    return clip_rows(VBenchPrompts(VBenchPrompts.Config(), ClipSpec()).rows())


@pytest.fixture(scope="module")
def rows(clips: list[Json]) -> dict[str, list[Json]]:
    return score_rows(clips)


def custom(**values: float | None) -> list[Json]:
    """Rows of clips a, b, ... of 9 frames."""
    return [
        {"clip": clip, "sha256": "", "value": value, "parts": {"frames": 9.0, "pairs": 8.0}, "note": "", "error": ""}
        for clip, value in values.items()
    ]


FILES = [{"id": name, "prompt": f"clip {name}", "file": f"my clips/{name}.mp4", "meta": {}} for name in "ab"]


def test_scales_and_keys_are_vbenchs() -> None:
    """The `video_results.append(...)` of each module of vbench 0.1.5."""
    both = {name: custom(a=0.75, b=0.25) for name in DIMENSIONS} | {name: custom(a=1, b=0) for name in BOOLEAN}
    found = to_official(FILES, both).results
    path = {"video_path": "my clips/a.mp4"}
    assert found["imaging_quality"][0] == 0.5
    assert found["imaging_quality"][1][0] == {**path, "video_results": 75.0}
    assert found["aesthetic_quality"][1][0] == {**path, "video_results": 0.75}
    assert found["background_consistency"][1][0] == {
        **path,
        "video_results": 0.75,
        "video_sim": 6.0,
        "cnt_per_video": 8,
    }
    assert found["object_class"][1][0] == {**path, "video_results": 0.75, "success_frame_count": 7, "frame_count": 9}
    assert found["color"][1][0] == {**path, "video_results": 0.75, "cur_success_frame_rate": 0.75}
    assert found["dynamic_degree"] == (
        0.5,
        [{**path, "video_results": True}, {"video_path": "my clips/b.mp4", "video_results": False}],
    )
    assert found["dynamic_degree"][1][0]["video_results"] is True
    assert found["human_action"][1][0] == {**path, "video_results": True, "cor_num_per_video": 1}


def test_official_samples_get_official_names(clips: list[Json], rows: Mapping[str, list[Json]]) -> None:
    official = to_official(clips, rows)
    name = official.results["color"][1][0]["video_path"]
    assert name.startswith("a ")
    assert name.endswith("-0.mp4")
    assert len(official.results["temporal_flickering"][1]) == 5 * 75
    (entry,) = (entry for entry in official.info if entry["prompt_en"] == "a bird and a cat")
    assert entry == {
        "prompt_en": "a bird and a cat", "dimension": ["multiple_objects"],
        "auxiliary_info": {"multiple_objects": {"object": "bird and cat"}},
        "video_list": [f"a bird and a cat-{k}.mp4" for k in range(5)],
    }  # fmt: skip
    assert len(official.info) == 946
    still = official.info[0]
    assert still["video_list"] == [f"{still['prompt_en']}-{k}.mp4" for k in range(5)]  # of 25: the filter rejects 20


def test_custom_clips_have_entries_of_their_own() -> None:
    official = to_official(FILES, {"imaging_quality": custom(a=0.5, b=0.7), "color": custom(a=None, b=None)})
    assert official.info == [
        {"prompt_en": f"clip {name}", "dimension": ["imaging_quality"], "video_list": [f"my clips/{name}.mp4"]}
        for name in "ab"
    ]
    assert official.left_out == {"color": "the object is in none of their frames (2 clips)"}


def test_a_dimension_with_a_failed_clip_is_left_out() -> None:
    official = to_official(FILES, {"imaging_quality": custom(a=0.5, b=None)})
    assert (official.results, official.info) == ({}, [])
    assert official.left_out == {"imaging_quality": "1 clips have no score, first b: no value"}


def test_out_and_back(tmp_path: Path, clips: list[Json], rows: Mapping[str, list[Json]]) -> None:
    """Every value, weight, prompt and sample survives; so does every score."""
    official = to_official(clips, rows)
    file = tmp_path / "x_eval_results.json"
    file.write_text(official_json(official.results))
    back = read_official(file)
    assert back.scores == {name: score for name, (score, _) in official.results.items()}
    assert not back.notes
    names = {clip["id"]: (clip["prompt"], clip["meta"]["sample"]) for clip in clips}
    known = {clip["id"]: (clip["prompt"], clip["meta"]["sample"]) for clip in back.clips}
    for dimension in DIMENSIONS:
        before = {names[row["clip"]]: row["value"] for row in rows[dimension] if row["value"] is not None}
        after = {known[row["clip"]]: row["value"] for row in back.rows[dimension]}
        assert after == pytest.approx(before, abs=1e-15), dimension
    for dimension in ("background_consistency", "object_class", "scene"):
        assert dimension_score(dimension, back.rows[dimension]).score == pytest.approx(
            back.scores[dimension], abs=1e-15
        )


def test_valid_json_only() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        official_json({"color": [float("nan"), []]})


def test_two_clips_of_one_name_are_refused(clips: list[Json], rows: Mapping[str, list[Json]]) -> None:
    with pytest.raises(UserError, match="same sample of the same prompt"):
        to_official([*clips[:2], {**clips[0], "id": "again"}], rows)


# ---- the leaderboard -----------------------------------------------------------------------------------------------


def test_a_submission_is_one_file_at_the_root(clips: list[Json], rows: Mapping[str, list[Json]]) -> None:
    official = to_official(clips, rows)
    assert not_comparable(official, [STANDARD] * 16) == []
    packed = submission(official, "wan")
    assert packed == submission(official, "wan")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["wan_eval_results.json"]
        content = json.loads(archive.read("wan_eval_results.json"))
    assert {name: table[0] for name, table in content.items()} == {
        name: score for name, (score, _) in official.results.items()
    }


def test_what_the_leaderboard_must_not_get(clips: list[Json], rows: Mapping[str, list[Json]]) -> None:
    def reasons(rows: Mapping[str, list[Json]], **config: Any) -> list[str]:
        return not_comparable(to_official(clips, rows), [{**STANDARD, **config}])

    assert reasons(rows, precision="fast") == ["evaluated with precision other than exact"]
    assert reasons(rows, unofficial_weights=True) == ["evaluated with unofficial_weights other than False"]
    assert reasons(rows, protocol="custom") == ["evaluated with protocol other than standard"]
    some = {name: scores for name, scores in rows.items() if name != "scene"}
    assert reasons(some) == ["not evaluated, so counted as 0: scene"]
    few = {**rows, "scene": [row for row in rows["scene"] if row["value"] is not None][:7]}
    assert reasons(few) == ["scene: 7 of 430 clips"]
    failed = {**rows, "scene": [{**few["scene"][0], "value": None, "error": "boom"}]}
    assert reasons(failed) == [
        "scene: 1 clips have no score, first " + failed["scene"][0]["clip"] + ": boom",
        "scene: 1 of 430 clips",
    ]


# ---- reading -------------------------------------------------------------------------------------------------------


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def video(path: str, value: Any, **extra: Any) -> Json:
    return {"video_path": path, "video_results": value, **extra}


def test_bare_nan_becomes_a_named_missing_value(tmp_path: Path) -> None:
    table = '{"temporal_flickering": [NaN, []], "color": [0.5, [%s, {"video_path": "b.mp4", "video_results": NaN}]]}'
    found = read_official(write(tmp_path / "r.json", table % json.dumps(video("a.mp4", 0.5))))
    assert found.scores == {"color": 0.5}
    assert [(row["value"], row["note"]) for row in found.rows["color"]] == [(0.5, ""), (None, NAN)]
    assert found.notes == (
        "temporal_flickering: the file's score is NaN; of its 0 videos 0 have none either",
        "color: 1 of 2 videos have no score (NaN)",
    )


def test_clips_are_recognised_by_made_names(tmp_path: Path) -> None:
    table = {"color": [0.5, [video("v/a red bicycle-3.mp4", 0.5), video("v/my-3.mp4", 0.5)]]}
    first, second = read_official(write(tmp_path / "r.json", table)).clips
    assert (first["id"], first["prompt"], first["meta"]["sample"]) == ("a red bicycle-3.mp4", "a red bicycle", 3)
    assert first["meta"]["auxiliary_info"] == {"color": {"color": "red"}}
    assert (second["id"], second["prompt"], second["meta"], second["sha256"]) == ("my-3.mp4", None, {}, "")


def test_equal_file_names_keep_their_folders(tmp_path: Path) -> None:
    table = {"color": [0.5, [video("x/a.mp4", 0.5), video("y/a.mp4", 0.5), video("C:\\z\\b.mp4", 0.5)]]}
    found = read_official(write(tmp_path / "r.json", table))
    assert [clip["id"] for clip in found.clips] == ["x/a.mp4", "y/a.mp4", "b.mp4"]


def test_prompts_come_from_full_info(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("out/x_eval_results.json", json.dumps({"color": [0.5, [video("v/a.mp4", 0.5)]]}))
        archive.writestr("out/x_full_info.json", json.dumps([{"prompt_en": "a cat", "video_list": ["v/a.mp4"]}]))
        archive.writestr("__MACOSX/._x_eval_results.json", b"\0\1")
        archive.writestr(".hidden.json", "{")
        archive.writestr("notes.txt", "hello")
    (clip,) = read_official(path).clips
    assert clip["prompt"] == "a cat"


def test_a_score_that_is_not_its_videos_mean_is_noted(tmp_path: Path) -> None:
    """On several GPUs VBench's appearance_style is the mean of last frames."""
    videos = [video("a.mp4", 0.2, frame_results=[0.1, 0.3], cur_sim=0.3), video("b.mp4", 0.5, frame_results=[0.5])]
    one = read_official(write(tmp_path / "r.json", {"appearance_style": [0.3, videos]}))
    assert one.notes == ()
    assert one.rows["appearance_style"][0]["parts"] == {"frames": 2.0}
    more = read_official(write(tmp_path / "r.json", {"appearance_style": [0.4, videos]}))
    assert more.notes == (
        "appearance_style: the file says 0.400000, its videos give 0.300000 (more than one GPU does that)",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"colour": [0.5, []]}, 'VBench has no dimension "colour"'),
        ({"color": 0.5}, "color: not [score, [videos]]"),
        ({"color": ["0.5", []]}, "color: score: '0.5' is no number"),
        ({"color": [True, []]}, "color: score: True is no number"),
        ({"color": [1.5, []]}, "color: score: 1.5 is not between 0 and 1"),
        ('{"color": [1' + "0" * 400 + ", []]}", "color: score: inf is not between 0 and 1"),
        ('{"color": [Infinity, []]}', "color: score: inf is not between 0 and 1"),
        ({"imaging_quality": [0.7, [video("a.mp4", 101)]]}, "video 1: video_results: 101 is not between 0 and 100"),
        ({"color": [0.5, [{"video_results": 0.5}]]}, "color: video 1: no video_path"),
        ({"color": [0.5, [video("a.mp4", None)]]}, "video_results: None is no number"),
        ({"color": [0.5, [video("a.mp4", 0.5)] * 2]}, "color: a.mp4 comes 2 times"),
        ('{"color": [0.5, []], "color": [0.6, []]}', '"color" comes twice'),
        ("[1, 2]", "no VBench results in it"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_nonsense_is_named(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        read_official(write(tmp_path / 'my "results".json', content))
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_bad_zips_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps({"color": [0.5, []]}))
        archive.writestr("b.json", json.dumps({"color": [0.5, []]}))
    with pytest.raises(UserError, match=r"color is in .*a\.json and in .*b\.json"):
        read_official(path)
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError):
        read_official(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_official(tmp_path / "gone.json")
