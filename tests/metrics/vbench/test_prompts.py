"""The official prompt suite is there to the byte, and the dataset made of it says what VBench's protocol says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.config import validate
from harness.errors import UserError
from harness.prompts import read_prompts
from harness.samples import ClipSpec
from harness.suite import Suite
from metrics.vbench.aggregate import DIMENSIONS, QUALITY
from metrics.vbench.prompts import FILE, VBenchPrompts, choose, official_entries, official_info, official_prompts

COUNTS = {  # prompts per dimension (VBench prompts/README.md); five videos each, flickering 25
    "subject_consistency": 72, "motion_smoothness": 72, "dynamic_degree": 72, "temporal_flickering": 75,
    "aesthetic_quality": 93, "imaging_quality": 93, "overall_consistency": 93, "background_consistency": 86,
    "scene": 86, "object_class": 79, "multiple_objects": 82, "human_action": 100, "color": 85,
    "spatial_relationship": 84, "temporal_style": 100, "appearance_style": 90,
}  # fmt: skip
TWICE = ["A beautiful coastal beach in spring, waves lapping on sand by Hokusai, in the style of Ukiyo",
         "The bund Shanghai, oil painting"]  # fmt: skip


def dataset(**options: Any) -> VBenchPrompts:
    return VBenchPrompts(validate(VBenchPrompts.Config, options, "prompts"), ClipSpec())


def test_the_official_file_is_reproduced_to_the_byte() -> None:
    """VBench_full_info.json of vbench 0.1.5 as `json.dumps(..., indent=4)` writes it."""
    stated = json.loads(FILE.read_text(encoding="utf-8"))
    assert stated["license"] == "Apache-2.0"
    text = json.dumps(official_info(), indent=4)
    assert hashlib.sha256(text.encode()).hexdigest() == stated["sha256"]
    assert stated["sha256"].startswith("5dd2de80ee43cda7")


def test_the_protocols_numbers() -> None:
    entries = official_entries()
    assert (len(entries), len(official_prompts())) == (946, 944)
    assert {name: sum(name in entry.dimensions for entry in entries) for name in DIMENSIONS} == COUNTS
    rows = dataset().rows()
    videos = {name: sum(name in row.meta["dimensions"] for row in rows) for name in DIMENSIONS}
    assert videos == {name: (25 if name == "temporal_flickering" else 5) * count for name, count in COUNTS.items()}
    assert len(rows) == 5 * (944 - 75) + 25 * 75 == 6220


def test_two_prompts_serve_two_lists() -> None:
    twice = [entry for entry in official_prompts() if entry.prompt in TWICE]
    for entry in twice:
        assert entry.dimensions == ("appearance_style", "overall_consistency", "aesthetic_quality", "imaging_quality")
        assert set(entry.auxiliary_info) == {"appearance_style"}
    assert [entry.prompt for entry in twice] == TWICE
    assert all(entry.dimensions == ("temporal_flickering",) for entry in official_prompts()[:75])


def test_a_row_knows_its_sample_and_what_to_look_for() -> None:
    rows = dataset(dimensions=["scene"]).rows()
    assert len(rows) == 430
    assert rows[7].prompt == "amusement park"
    assert rows[7].meta == {
        "dimensions": ["scene"], "auxiliary_info": {"scene": {"scene": {"scene": "amusement park"}}},
        "sample": 2, "samples": 5,
    }  # fmt: skip
    both = dataset(dimensions=["scene", "background_consistency"], samples=1).rows()
    assert both[0].meta["dimensions"] == ["scene", "background_consistency"]
    assert [row.prompt for row in both] == [row.prompt for row in rows[::5]]


def test_quality_only_has_the_prompts_of_seven_dimensions() -> None:
    rows = dataset(subset="quality-only").rows()
    assert len(rows) == 5 * (72 + 86 + 93) + 25 * 75
    assert {name for row in rows for name in row.meta["dimensions"]} == set(QUALITY)
    assert not any(row.meta["auxiliary_info"] for row in rows)
    with pytest.raises(UserError, match="quality-only has no prompts of color"):
        dataset(subset="quality-only", dimensions=["color"]).rows()


def test_mini_is_every_sixteenth_prompt_of_every_dimension() -> None:
    rows = dataset(subset="mini").rows()
    prompts = choose("mini")
    assert (len(prompts), len(rows)) == (65, 60 + 5 * 5)
    for name, count in COUNTS.items():
        assert sum(name in entry.dimensions for entry in prompts) == -(-count // 16), name
    assert [entry.prompt for entry in prompts if "color" in entry.dimensions] == [
        "a red bicycle", "a black car", "a green umbrella", "a white suitcase", "a pink chair", "an orange vase",
    ]  # fmt: skip
    assert {row.meta["samples"] for row in rows if "temporal_flickering" in row.meta["dimensions"]} == {5}


def test_options() -> None:
    assert len(dataset(dimensions=["color"], samples=2).rows()) == 170
    assert len(dataset(dimensions=["temporal_flickering"], static_samples=3).rows()) == 225
    with pytest.raises(UserError) as caught:
        dataset(dimensions=["colour"])
    assert caught.value.remedy == 'did you mean "color"?'
    with pytest.raises(UserError, match="samples"):
        dataset(samples=0)


def test_it_has_no_clips_and_its_digest_follows_its_rows() -> None:
    mini = dataset(subset="mini")
    with pytest.raises(UserError, match="prompts only"):
        mini.video(0)
    assert mini.digest() == dataset(subset="mini", samples=1).digest() != dataset(subset="mini", samples=2).digest()


# ---- ids of clips --------------------------------------------------------------------------------------------------


def suite(prompts: dict[str, Any]) -> Suite:
    content = {
        "name": "s", "backbone": {"name": "wan"}, "dataset": {"name": "vbench"}, "metrics": [], "methods": {},
        "prompts": prompts,
    }  # fmt: skip
    return validate(Suite, content, "")


def test_samples_of_a_prompt_share_its_number() -> None:
    found = read_prompts(suite({"dataset": {"name": "vbench", "dimensions": ["color"], "samples": 2}}))
    assert [prompt.id for prompt in found[:3]] == [
        "0000-a-red-bicycle-s0",
        "0000-a-red-bicycle-s1",
        "0001-a-green-bicycle-s0",
    ]
    assert len({prompt.id for prompt in found}) == 170
    more = read_prompts(suite({"dataset": {"name": "vbench", "dimensions": ["color"], "samples": 5}}))
    assert {prompt.id for prompt in found} < {
        prompt.id for prompt in more
    }  # more samples keep the clips that are there


def test_prompts_without_samples_keep_their_ids() -> None:
    found = read_prompts(suite({"texts": ["A cat!", "a dog", "A cat!"]}))
    assert [prompt.id for prompt in found] == ["0000-a-cat", "0001-a-dog", "0002-a-cat"]


def test_a_column_called_sample_is_no_sample_number(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("prompt,sample\na cat,3\na cat,wool\n")
    assert [prompt.id for prompt in read_prompts(suite({"file": str(file)}))] == ["0000-a-cat", "0001-a-cat"]


def test_a_doubled_sample_is_an_error(tmp_path: Path) -> None:
    row = {"prompt": "a cat", "sample": 1, "samples": 2}
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([row, row]))
    with pytest.raises(UserError, match="same sample of a prompt comes twice"):
        read_prompts(suite({"file": str(file)}))


def test_a_very_long_prompt_is_a_prompt(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"prompt": text, "sample": 0, "samples": 1}]))
    (prompt,) = read_prompts(suite({"file": str(file)}))
    assert prompt.text == text
    assert prompt.id == "0000-word0-word1-word2-word3-word4-word5-word6-word7-s0"
