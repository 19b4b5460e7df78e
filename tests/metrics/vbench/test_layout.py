"""VBench's folder layout: files are found by the names their prompts would give them, nothing is parsed."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.api import Clip
from harness.errors import UserError
from harness.store import file_digest
from metrics.vbench.layout import by_prompt, clip_name, find_official, survey
from metrics.vbench.prompts import Entry, choose

CAFE = Entry('a "café" named O\'Brien, 5 % off; $HOME-3', ("scene",), {"scene": {"scene": {"scene": "café"}}})
STILL = Entry("a still pond", ("temporal_flickering",))


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())


def names(entry: Entry, *samples: int) -> list[str]:
    return [f"{entry.prompt}-{sample}.mp4" for sample in samples]


def test_clips_come_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    put(tmp_path, *names(CAFE, *range(5)), *names(STILL, *range(5)))
    found = survey(tmp_path, [STILL, CAFE])
    assert [clip.path.name for clip in found.clips] == names(STILL, *range(5)) + names(CAFE, *range(5))
    assert (found.missing, found.stray, found.notes()) == ((), (), [])
    clip = found.clips[7]
    assert (clip.id, clip.prompt) == (names(CAFE, 2)[0], CAFE.prompt)
    assert clip.sha256 == file_digest(clip.path)
    assert clip.meta == {
        "dimensions": ["scene"], "auxiliary_info": {"scene": {"scene": {"scene": "café"}}}, "sample": 2, "samples": 5,
    }  # fmt: skip


def test_missing_and_stray_files_are_said(tmp_path: Path) -> None:
    """VBench takes the suffix of the first file it meets: one stray .json makes all clips missing there."""
    put(tmp_path, *names(CAFE, 0, 1, 2, 4, 7), "0.json", "metadata.txt", f"{CAFE.prompt}.mp4")
    (tmp_path / "sub").mkdir()
    found = survey(tmp_path, [CAFE])
    assert [clip.meta["sample"] for clip in found.clips] == [0, 1, 2, 4]
    assert found.missing == tuple(names(CAFE, 3))
    assert set(found.stray) == {"0.json", "metadata.txt", f"{CAFE.prompt}.mp4", *names(CAFE, 7)}
    first, second = found.notes()
    assert first == f"1 of 5 official clips are missing: {names(CAFE, 3)[0]}"
    assert second.startswith("4 files are no official clips, left alone: 0.json, ")


def test_flickering_has_25_samples_before_the_filter_and_5_after(tmp_path: Path) -> None:
    put(tmp_path, *names(STILL, *range(5)))
    assert survey(tmp_path, [STILL]).missing == ()
    put(tmp_path, *names(STILL, 17))
    found = survey(tmp_path, [STILL])
    assert [clip.meta["sample"] for clip in found.clips] == [0, 1, 2, 3, 4, 17]
    assert {clip.meta["samples"] for clip in found.clips} == {25}
    assert len(found.missing) == 19


def test_a_samples_number_is_not_mistaken_for_the_prompts(tmp_path: Path) -> None:
    """`a-1-0.mp4` is sample 0 of "a-1"; parsed, "a-1.mp4" could be either."""
    first, second = Entry("a", ("scene",)), Entry("a-1", ("scene",))
    put(tmp_path, "a-1.mp4", "a-1-0.mp4")
    found = {clip.path.name: (clip.prompt, clip.meta["sample"]) for clip in survey(tmp_path, [first, second]).clips}
    assert found == {"a-1.mp4": ("a", 1), "a-1-0.mp4": ("a-1", 0)}


def test_decomposed_names_are_found(tmp_path: Path) -> None:
    put(tmp_path, *(unicodedata.normalize("NFD", name) for name in names(CAFE, 0)))
    (clip,) = survey(tmp_path, [CAFE]).clips
    assert clip.prompt == CAFE.prompt


def test_case_tells_two_official_prompts_apart(tmp_path: Path) -> None:
    put(tmp_path, "A fantasy landscape-0.mp4", "a fantasy landscape-1.mp4")
    assert [(clip.prompt, clip.meta["sample"]) for clip in find_official(tmp_path)] == [
        ("a fantasy landscape", 1), ("A fantasy landscape", 0),
    ]  # fmt: skip


def test_mp4_comes_before_gif(tmp_path: Path) -> None:
    put(tmp_path, f"{CAFE.prompt}-0.gif", *names(CAFE, 0), f"{CAFE.prompt}-1.gif")
    found = survey(tmp_path, [CAFE])
    assert [clip.path.suffix for clip in found.clips] == [".mp4", ".gif"]
    assert found.stray == (f"{CAFE.prompt}-0.gif",)


def test_every_official_prompt_can_be_a_file_name() -> None:
    assert max(len(clip_name(entry.prompt, 24).encode()) for entry in choose()) == 217
    with pytest.raises(UserError, match="no file can be called after the prompt") as caught:
        clip_name(" ".join(["word"] * 200), 0)
    assert "metadata.csv" in caught.value.remedy
    with pytest.raises(UserError, match=r'the prompt "either/or"'):
        clip_name("either/or", 0)


def test_a_folder_without_official_clips(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_official(tmp_path / "gone")
    put(tmp_path, "a.mp4")
    with pytest.raises(UserError, match=r"no file is called like a clip") as caught:
        find_official(tmp_path)
    assert caught.value.remedy == 'expected names like "In a still frame, a stop sign-0.mp4"'


def test_a_clip_of_two_frames_in_a_folder_with_quotes(tmp_path: Path) -> None:
    folder = tmp_path / 'my "best" clips\' folder'
    folder.mkdir()
    video.write(folder / "x.mp4", np.zeros((2, 48, 64, 3), np.uint8), 8.0)
    shutil.move(folder / "x.mp4", folder / names(CAFE, 0)[0])
    (clip,) = survey(folder, [CAFE]).clips
    assert video.read(clip.path).frames.shape == (2, 48, 64, 3)


def test_prompts_of_metadata_are_looked_up_and_samples_counted(tmp_path: Path) -> None:
    first, second = (entry.prompt for entry in choose()[:2])
    texts = [first, second, first, "a prompt of my own"]
    clips = [Clip(f"{number}.mp4", tmp_path, "0", text, None, {"note": number}) for number, text in enumerate(texts)]
    found = by_prompt(clips)
    assert [clip.meta.get("sample") for clip in found] == [0, 0, 1, None]
    assert found[2].meta == {
        "note": 2,
        "dimensions": list(choose()[0].dimensions),
        "auxiliary_info": dict(choose()[0].auxiliary_info),
        "sample": 1,
        "samples": 2,
    }
    assert found[3] == clips[3]
    own = Clip("own.mp4", tmp_path, "0", first, None, {"dimensions": ["scene"], "sample": 4})
    assert by_prompt([own]) == [own]
    with pytest.raises(UserError, match="none of the clips has a prompt of VBench's"):
        by_prompt(clips[3:])
