"""Clips and captions on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness import video
from harness.api import ClipSpec
from harness.data import inspected
from harness.data.captions import read_prompts
from harness.data.folder import Folder
from harness.errors import UserError
from tests.footage import REAL, drifting, needs_real_clips

SPEC = ClipSpec(frames=8, height=32, width=32, fps=8)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    video.write(folder / "a.mp4", drifting(24, 48, 80, 1, 0), 24)
    video.write(folder / "sub" / "b.mp4", drifting(9, 64, 40, 0, 1), 16)
    video.write(folder / "short.mp4", drifting(5, 48, 48, 1, 0), 8)
    (folder / "text.mp4").write_text("not a video")
    return folder


def captions(folder: Path, text: str, name: str = "metadata.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def make(folder: Path, spec: ClipSpec = SPEC) -> Folder:
    return Folder(Folder.Config(path=str(folder)), spec)


TABLE = 'file_name,caption,mq,vq,source\na.mp4,"a, b",1.5,3,web\nsub/b.mp4,second,2,4e0,\n'


# ---- dataset ---------------------------------------------------------------------------------------------------


def test_rows_scores_and_meta(clips: Path) -> None:
    captions(clips, TABLE)
    first, second = make(clips).rows()
    assert (first.id, first.prompt, second.id, second.prompt) == ("a.mp4", "a, b", "sub/b.mp4", "second")
    assert (dict(first.scores), dict(second.scores)) == ({"mq": 1.5, "vq": 3.0}, {"mq": 2.0, "vq": 4.0})
    assert (dict(first.meta), dict(second.meta)) == ({"source": "web"}, {"source": ""})


def test_short_captions_may_be_missing(clips: Path) -> None:
    captions(clips, "file_name,caption,short_prompt,mq\na.mp4,a long one,2,1\nsub/b.mp4,second,,2\n")
    first, second = make(clips).rows()
    assert (first.short_prompt, second.short_prompt) == ("2", "")
    assert (dict(first.scores), dict(first.meta)) == ({"mq": 1.0}, {})


def test_video_is_the_spec_and_equals_resample(clips: Path) -> None:
    captions(clips, TABLE)
    dataset = make(clips)
    for index, name in enumerate(["a.mp4", "sub/b.mp4"]):
        footage = video.read(clips / name)
        expected, _ = video.resample(footage.frames, footage.fps, SPEC)
        np.testing.assert_array_equal(dataset.video(index), expected)
        assert expected.shape == (8, 32, 32, 3)


def test_unusable_files_are_left_out_by_name(clips: Path) -> None:
    captions(clips, TABLE + "short.mp4,c,1,1,\ntext.mp4,d,1,1,\ngone.mp4,e,1,1,\n")
    dataset = make(clips)
    assert [row.id for row in dataset.rows()] == ["a.mp4", "sub/b.mp4"]
    assert dataset.notes()["left_out"] == {
        "short.mp4": "it has 5 frames, a clip needs 8",
        "text.mp4": "damaged video: not a readable video file (Invalid data found when processing input)",
        "gone.mp4": "no such file",
    }


def test_notes_say_what_was_done(clips: Path) -> None:
    captions(clips, TABLE)
    notes = make(clips).notes()["clips"]
    assert notes["a.mp4"] == {
        "source": "80x48, 24 frames at 24 fps",
        "frames": "1-22, 0 repeated",
        "speed": 1.0,
        "scaled": "53x32",
        "crop": "32x32 at 10,0",
    }
    assert notes["sub/b.mp4"]["speed"] == pytest.approx(9 / 16)
    json.dumps(make(clips).notes(), allow_nan=False)


def test_digest_sees_bytes_captions_and_spec(clips: Path) -> None:
    captions(clips, TABLE)
    seen = {make(clips).digest(), make(clips).digest()}
    assert len(seen) == 1
    seen.add(make(clips, SPEC.model_copy(update={"fps": 4.0})).digest())
    captions(clips, TABLE.replace("second", "zweiter"))
    seen.add(make(clips).digest())
    captions(clips, TABLE.replace("1.5", "1.6"))
    seen.add(make(clips).digest())
    captions(clips, TABLE)
    video.write(clips / "a.mp4", drifting(24, 48, 80, 2, 0), 24)
    seen.add(make(clips).digest())
    assert len(seen) == 5


def test_files_are_decoded_once_until_they_change(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions(clips, TABLE)
    checked: list[str] = []
    check = video.check
    monkeypatch.setattr(video, "check", lambda path: checked.append(Path(path).name) or check(path))
    first = make(clips).digest()
    assert make(clips).digest() == first
    assert checked == ["a.mp4", "b.mp4"]
    (clips / "sub" / "b.mp4").write_bytes((clips / "sub" / "b.mp4").read_bytes()[:-10])
    assert "cut off" in make(clips).notes()["left_out"]["sub/b.mp4"]
    assert checked == ["a.mp4", "b.mp4", "b.mp4"]
    inspected._memory(clips).write_text("{ torn")
    assert [row.id for row in make(clips).rows()] == ["a.mp4"]
    assert len(checked) == 5


def test_works_without_a_writable_cache(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions(clips, TABLE)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(make(clips).rows()) == 2


def test_nothing_to_use(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no captions\n.*metadata\.csv, metadata\.jsonl, metadata\.json"):
        make(clips).rows()
    captions(clips, "file_name,caption\nshort.mp4,c\ntext.mp4,d\n")
    with pytest.raises(UserError, match=r"no usable clip \(2 left out: short\.mp4: it has 5 frames"):
        make(clips).rows()
    with pytest.raises(UserError, match="no such folder"):
        make(tmp_path / "nowhere")


@needs_real_clips
def test_real_clips() -> None:
    dataset = make(REAL[0].parent, ClipSpec())
    rows, left_out = dataset.rows(), dataset.notes()["left_out"]
    assert (len(rows), set(left_out)) == (9, {"sample_fox.mp4", "camera_zoom_in.mp4"})  # 16 frames; the spec has 17
    assert dataset.video(0).shape == (17, 64, 64, 3)


# ---- captions --------------------------------------------------------------------------------------------------


def test_the_three_formats_agree(tmp_path: Path) -> None:
    rows = {"a.mp4": {"prompt": 'été, "x"', "n": "1"}, "b.mp4": {"prompt": "two\nlines", "n": "2"}}
    captions(tmp_path, '\ufefffile_name,text,n\na.mp4,"été, ""x""",1\n\nb.mp4,"two\nlines",2\n', "m.csv")
    lines = [json.dumps({"file_name": name, "prompt": row["prompt"], "n": row["n"]}) for name, row in rows.items()]
    captions(tmp_path, "\n".join(lines), "m.jsonl")
    captions(tmp_path, json.dumps({k: {"caption": r["prompt"], "n": r["n"]} for k, r in rows.items()}), "m.json")
    for name in ("m.csv", "m.jsonl", "m.json"):
        assert read_prompts(tmp_path / name) == rows, name
    captions(tmp_path, '{"a.mp4": "plain"}', "metadata.json")
    assert read_prompts(tmp_path) == {"a.mp4": {"prompt": "plain"}}


def test_a_folder_without_captions_has_none(tmp_path: Path) -> None:
    assert read_prompts(tmp_path) == {}


CSV = "file_name,caption\na.mp4,one\n"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("metadata.csv", "name,caption\na,b\n", r'metadata\.csv:1: no column "file_name"'),
        ("metadata.csv", "file_name,title\na,b\n", r'metadata\.csv:1: no column "caption"'),
        ("metadata.csv", "file_name,caption,mq,mq\n", r'metadata\.csv:1: two columns are called "mq"'),
        ("metadata.csv", "file_name,caption,text\na,b,c\n", r"metadata\.csv:2: caption and text both"),
        ("metadata.csv", CSV + "b.mp4,two, three\n", r"metadata\.csv:3: 3 cells, the header has 2"),
        ("metadata.csv", CSV + "b.mp4\n", r"metadata\.csv:3: 1 cells"),
        ("metadata.csv", CSV + "b.mp4, \n", r"metadata\.csv:3: the caption is empty"),
        ("metadata.csv", CSV + ",two\n", r"metadata\.csv:3: no file_name"),
        ("metadata.csv", CSV + "a.mp4,two\n", r'metadata\.csv:3: "a\.mp4" comes a second time'),
        ("metadata.csv", CSV + 'b.mp4,"two\n', r"metadata\.csv:3: not CSV"),
        ("metadata.jsonl", '{"file_name": "a", "caption": "b"}\n\n{"caption": "b"}\n', r"jsonl:3: no file_name"),
        ("metadata.jsonl", '{"file_name": "a"}\n', r"jsonl:1: no caption"),
        ("metadata.jsonl", '{"file_name": "a", "caption": 3}\n', r"jsonl:1: the caption is empty"),
        ("metadata.jsonl", '{"file_name": "a",\n', r"jsonl:1: not JSON"),
        ("metadata.jsonl", "[1]\n", r"jsonl:1: not a row"),
        ("metadata.jsonl", '{"file_name": "a", "caption": "b", "mq": NaN}\n', r"jsonl:1: not JSON: NaN"),
        ("metadata.json", '{"a": "x", "a": "y"}', r'metadata\.json: "a" comes twice'),
        ("metadata.json", '["a"]', r"metadata\.json: not a map"),
        ("metadata.json", '{"a": ""}', r'metadata\.json: "a": the caption is empty'),
    ],
)
def test_bad_captions_are_named_with_their_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    captions(tmp_path, text, name)
    with pytest.raises(UserError, match=problem):
        read_prompts(tmp_path)


def test_files_that_are_not_captions(tmp_path: Path) -> None:
    captions(tmp_path, CSV)
    captions(tmp_path, "{}", "metadata.json")
    with pytest.raises(UserError, match=r"metadata\.csv and metadata\.json both"):
        read_prompts(tmp_path)
    with pytest.raises(UserError, match=r"from \.parquet files"):
        read_prompts(captions(tmp_path, "", "a.parquet"))
    (tmp_path / "latin.csv").write_bytes("file_name,caption\na,é\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.csv: cannot be read"):
        read_prompts(tmp_path / "latin.csv")
