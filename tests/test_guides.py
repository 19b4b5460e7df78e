"""The guides for methods and metrics: their files are written, their commands run, their numbers hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import registry, video
from harness.api import Batch, Noise, Services
from tests import guides
from tests.guides import working_folder  # noqa: F401  the fixture "folder"

METHODS, METRICS = guides.read("methods/README.md"), guides.read("metrics/README.md")


def test_the_method_fits_on_a_screen() -> None:
    assert len(METHODS.files["min_snr.py"].splitlines()) <= 40


def test_add_a_method(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything but `check`, which takes half a minute, and the second run, which differs in an option."""
    METHODS.write(folder)
    said = {}
    for words in METHODS.commands:
        if words[0] == "check" or "methods.min-snr.element_weight.gamma=2" in words:
            continue
        code, out, err = guides.call(words, monkeypatch, capsys)
        assert code == 0, (words, out, err)
        said[words[0]] = out
    assert {path.name for path in folder.iterdir()} >= {"my-method", "my-student", "runs"}
    assert "{'name': 'min_snr'}" in said["describe"]
    assert "min-snr-tqd seed 0" in said["plan"]
    assert " min-snr " in said["run"]

    (log,) = (folder / "runs").glob("quick@*/min-snr@*/seed0/train/metrics.jsonl")
    weights = [json.loads(line)["weight"] for line in log.read_text().splitlines()]
    assert len(weights) == 2
    assert all(0 < weight < 1 for weight in weights)  # its largest is where SNR = gamma: t = 0.31, w = 0.48
    part = registry.make_part("element_weight", {"name": "min_snr"}, Services({}, 1))
    t, one = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), torch.zeros(3, 1, 1, 1, 1)
    batch = Batch(torch.arange(3), one, one, [""] * 3, {}, Noise(0, rows=(0, 3, 3)))
    assert part(batch, t).flatten().tolist() == pytest.approx([5 * 0.04, 0.25, 0.01])


def test_an_option_is_set_as_the_guide_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    METHODS.write(folder)
    (words,) = (words for words in METHODS.commands if "methods.min-snr.element_weight.gamma=2" in words)
    code, out, err = guides.call(["plan", *words[1:]], monkeypatch, capsys)
    assert code == 0, err
    other = guides.call(["plan", "quick", "--methods", "min-snr", "--plugin", "min_snr.py"], monkeypatch, capsys)[1]
    keys = [line.split("│")[2] for text in (out, other) for line in text.splitlines() if "min-snr seed 0" in line]
    assert len(set(keys)) == 2


def test_add_a_metric(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    METRICS.write(folder)
    (folder / "my_clips").mkdir()
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    texture = np.random.default_rng(0).integers(0, 255, (64, 64, 1), dtype=np.uint8).repeat(3, 2)
    moving = np.stack([np.roll(texture, 2 * f, axis=1) for f in (0, 1, 2, 3, 3)])  # steps of 2, 2, 2, 0 pixels
    clips = {"black": np.zeros((5, 64, 64, 3), np.uint8), "white": np.full((5, 64, 64, 3), 255, np.uint8)}
    for name, frames in {**clips, "moving": moving, "one": np.broadcast_to(ramp[:, None], (1, 64, 64, 3))}.items():
        video.write(folder / "my_clips" / f"{name}.mp4", np.ascontiguousarray(frames), 8.0)
    for words in METRICS.commands:
        if words[0] in {"new", "evaluate"}:
            code, out, err = guides.call(words, monkeypatch, capsys)
            assert code == 0, (words, out, err)
    (evenness,) = (folder / "runs").glob("evaluate/*/scores/my/evenness@*.jsonl")
    rows = {row["clip"]: row for row in map(json.loads, evenness.read_text().splitlines())}
    assert rows["moving.mp4"]["value"] < 0.1
    assert rows["black.mp4"]["value"] is None
    assert rows["black.mp4"]["note"] == "nothing moves"
    assert rows["one.mp4"]["note"] == "a single frame has no motion"
    (variety,) = (folder / "runs").glob("evaluate/*/scores/my/variety@*.jsonl")
    (row,) = map(json.loads, variety.read_text().splitlines())
    grey = [0.0, 1.0, texture.mean() / 255, ramp.mean() / 255]
    assert row["value"] == pytest.approx(3**0.5 * np.abs(grey - np.mean(grey)).mean(), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("guide", [METHODS, METRICS], ids=["methods", "metrics"])
def test_check_and_run_as_the_guides_say(
    guide: guides.Guide, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide.write(folder)
    for words in guide.commands:
        if words[0] in {"check", "run"}:
            code, out, err = guides.call(words, monkeypatch, capsys)
            assert code == 0, (words, out, err)
