"""The guides for suites, datasets and backbones: their files are written, their commands run, their numbers hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import harness.participants.clip_folder  # noqa: F401  registers the name
from harness import registry, video
from harness.api import ClipSpec
from harness.store import file_digest, read_json, read_jsonl
from tests import guides
from tests.guides import working_folder  # noqa: F401  the fixture "folder"

SUITES, DATA, BACKBONES = (guides.read(f"harness/{part}/README.md") for part in ("suites", "data", "backbones"))
SPEC = ClipSpec(frames=9, height=64, width=64, fps=8)


def follow(
    guide: guides.Guide, skip: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """Run the guide's commands; what each said."""
    said = {}
    for words in guide.commands:
        if words[0] not in skip:
            code, out, err = guides.call(words, monkeypatch, capsys)
            assert code == 0, (words, out, err)
            said[words[0]] = out
    return said


def test_write_a_suite(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    SUITES.write(folder)
    ramp = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.full((9, 64, 64, 3), 20, np.uint8)
    for number, name in enumerate(("one.mp4", "two.mp4")):
        video.write(folder / "other_model" / name, ramp + number, SPEC.fps)
    said = follow(SUITES, {"run"}, monkeypatch, capsys)
    rows = list(yaml.safe_load(SUITES.files["mine.yaml"])["methods"])
    assert [line.split(":")[0] for line in said["describe"].splitlines() if ": method " in line] == rows
    assert "t ~ Beta(" in said["describe"]
    assert all(f"{row} seed 0" in said["plan"] for row in rows)

    (words,) = (words for words in SUITES.commands if words[0] == "run")
    chosen = [*words, "--methods", "base-4,lcm-ltd,other-model,my-service", "--set", "dataset.size=8"]
    code, out, err = guides.call(chosen, monkeypatch, capsys)
    assert code == 0, (out, err)
    assert "other-model: marked not generated here" in out
    (run,) = (folder / "runs").glob("mine@*/other-model@*/seed0")
    copies = [file_digest(run / row["file"]) for row in read_jsonl(run / "clips.jsonl")]
    assert copies == [file_digest(folder / "other_model" / name) for name in ("one.mp4", "two.mp4")]
    (run,) = (folder / "runs").glob("mine@*/base-4@*/seed0")
    assert [row["nfe"] for row in read_jsonl(run / "timings.jsonl") if row["stage"] == "generate"] == [8.0]
    (run,) = (folder / "runs").glob("mine@*/my-service@*/seed0")
    assert [row["source"]["prompt_id"] for row in read_jsonl(run / "clips.jsonl")] == [
        "0000-a-red-circle-moves-left",
        "0001-a-blue-square-spins",
    ]
    assert read_json(run / "cell.json")["config"] == {"greeting": 3}


def test_add_a_dataset(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    DATA.write(folder)
    for number, caption in enumerate(("a black square\n", "a white square\n")):
        place = folder / "footage" / f"clip{number}"
        place.mkdir(parents=True)
        (place / "caption.txt").write_text(caption)
        for frame in range(30):
            picture = np.zeros((72, 96, 3), np.uint8)
            picture[..., 0] = 8 * frame  # blue for OpenCV
            cv2.imwrite(str(place / f"{frame:03d}.png"), picture)
    said = follow(DATA, set(), monkeypatch, capsys)
    assert "Folders of numbered pictures" in said["describe"]
    assert "2 clips" in said["plan"]
    kind = registry.datasets.get("frames")
    data = kind(kind.Config(path="footage"), SPEC)
    clip = data.video(1)
    assert (clip.shape, clip.dtype) == ((9, 64, 64, 3), np.uint8)
    assert clip[:, 0, 0].tolist() == [[0, 0, 8 * frame] for frame in range(3, 30, 3)]
    before = data.digest()
    (folder / "footage" / "clip0" / "caption.txt").write_text("another")
    assert kind(kind.Config(path="footage"), SPEC).digest() != before


def test_add_a_backbone(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    BACKBONES.write(folder)
    said = follow(BACKBONES, {"check"}, monkeypatch, capsys)
    assert "needs no files" in said["plan"]
    for row in ("base", "supervised-logitnormal", "dmd"):
        (run,) = (folder / "runs").glob(f"on-pooled@*/{row}@*/seed0")
        assert (run / "clips.jsonl").exists()


@pytest.mark.slow
def test_check_the_backbone(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    BACKBONES.write(folder)
    follow(BACKBONES, {"plan", "run"}, monkeypatch, capsys)
