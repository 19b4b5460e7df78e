"""Pictures of training on their way to MLflow and to exported pages: inside the page, counted, linked."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.diagnostics import Picture, draw, page
from harness.store import RunDir, write_jsonl, write_text
from leaderboards import payload, pictures
from leaderboards.export import write_all
from leaderboards.publish import connect, default_uri, publish
from leaderboards.rank import table
from tests.leaderboards.runs import M, write_cell, write_suite

UP = M("toy/up")
SHOWN = [Picture("loss.png", "Loss & more", "It falls.", 960), Picture("gain.png", "Gain", "", 960)]


def pictured(folder: Path, row: str, video: bool = False) -> RunDir:
    """A cell with two small pictures and their page, as `harness.diagnostics` writes it."""
    run = RunDir(write_cell(folder, row, {UP: [0.5, 0.6]}, video=video))
    place = run.path / payload.PICTURES
    place.mkdir(parents=True)
    for number, picture in enumerate(SHOWN):
        Image.fromarray(np.full((8, 12, 3), 40 * number + len(row), np.uint8)).save(place / picture.file)
    write_text(place / "index.html", page(f"{row}, seed 0", "20 updates of the student.", SHOWN))
    return run


def images(html: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]


def test_a_page_carries_its_images(tmp_path: Path) -> None:
    run = pictured(write_suite(tmp_path, ["a"], [UP], 2), "a")
    found = images(pictures.page(run))
    assert found == [(run.path / payload.PICTURES / picture.file).read_bytes() for picture in SHOWN]
    assert ".png" not in pictures.page(run)
    assert pictures.figures(run) == {
        "Loss & more": run.path / payload.PICTURES / "loss.png",
        "Gain": run.path / payload.PICTURES / "gain.png",
    }


def test_what_the_harness_draws_is_understood(tmp_path: Path) -> None:
    run = RunDir(write_cell(write_suite(tmp_path, ["a"], [UP], 2), "a", {UP: [0.5, 0.6]}))
    draw(run.path / payload.PICTURES, "a, seed 0", run.train_log(), {})
    assert list(pictures.figures(run)) == ["Training curves"]
    assert len(images(pictures.pages("Training", {"seed 0": run}))) == 1


def test_pages_of_several_runs_become_one(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "bb", "base"], [UP], 2)
    plain = RunDir(write_cell(folder, "base", {UP: [0.5, 0.6]}))
    html = pictures.pages("Training <all>", {"a": pictured(folder, "a"), "base": plain, "bb": pictured(folder, "bb")})
    assert len(images(html)) == 4
    assert re.findall(r'<section id="(run\d)"><h1[^>]*>(\w+)', html) == [("run0", "a"), ("run1", "bb")]
    assert html.count("<main>") == html.count("</main>") == html.count("</html>") == 1
    assert "<title>Training &lt;all&gt;</title>" in html
    assert pictures.page(plain) == pictures.pages("t", {"base": plain}) == ""
    assert pictures.figures(plain) == {}


def test_pictures_are_published_and_decide_the_digest(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 2)
    run = pictured(folder, "a")
    names = [str(path) for path in payload.published_files(run)]
    assert [name for name in names if name.startswith("train/")] == [
        *("train/diagnostics/gain.png", "train/diagnostics/index.html", "train/diagnostics/loss.png"),
    ]
    before = payload.suite_digest(folder)
    (run.path / payload.PICTURES / "loss.png").write_bytes(b"another picture")
    assert payload.suite_digest(folder) != before


def test_exported_pages_are_linked(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 2)
    run = pictured(folder, "a")
    written = write_all(table(folder), tmp_path / "out")
    assert sorted(written) == ["board.csv", "board.md", "diagnostics.html", "gallery.html"]
    assert '<a href="diagnostics.html">' in written["gallery.html"].read_text()
    assert len(images(written["diagnostics.html"].read_text())) == 2
    for file in (run.path / payload.PICTURES).iterdir():
        file.unlink()
    again = write_all(table(folder), tmp_path / "bare")
    assert "diagnostics.html" not in again
    assert "Pictures of the training" not in again["gallery.html"].read_text()


def test_the_store_shows_them(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 2)
    run = pictured(folder, "a", video=True)
    write_jsonl(run / "train/metrics.jsonl", two_roles())
    done = publish(folder)
    client = connect(default_uri(folder))
    parent = done.runs["a"]
    (child,) = [r for r in client.search_runs([done.experiment_id]) if r.data.tags["level"] == "seed"]

    artifacts = {item.path for item in client.list_artifacts(child.info.run_id, "train/diagnostics")}
    assert artifacts == {f"train/diagnostics/{name}" for name in ("index.html", "loss.png", "gain.png")}
    local = client.download_artifacts(child.info.run_id, "train/diagnostics/index.html")
    assert len(images(Path(local).read_text())) == 2
    assert 'src="loss.png"' in (run.path / payload.PICTURES / "index.html").read_text()  # the run's own is as it was

    assert len(images(Path(client.download_artifacts(parent, "diagnostics.html")).read_text())) == 2
    note = client.get_run(parent).data.tags["mlflow.note.content"]
    assert f"runs/{parent}/artifacts/gallery.html" in note
    assert f"runs/{parent}/artifacts/diagnostics.html" in note
    grid = [item.path for item in client.list_artifacts(parent, "images")]
    assert sum(path.endswith(".png") for path in grid) == 4  # two pictures and the filmstrips of two clips

    history = {name: client.get_metric_history(child.info.run_id, name) for name in child.data.metrics}
    curves = {name: [(p.step, p.value) for p in points] for name, points in history.items() if name.startswith("train")}
    assert curves == {
        "train/loss": [(0, 1.0), (5, 0.5)],
        "train/evals": [(0, 8.0), (5, 48.0)],
        "train parts/dmd_f0": [(0, 3.0), (5, 2.0)],
        "train parts/cache_1": [(5, 0.25)],
        "train/fake.loss": [(0, 2.0), (1, 2.5), (2, 2.5)],  # two updates a step: their mean
        "train/fake.skipped": [(1, 1.0)],
    }


def two_roles() -> list[dict[str, Any]]:
    """A student on every fifth step, a fake score updated twice on each; one number lost, one average not yet there."""
    return [
        {"step": 0, "role": "student", "loss": 1.0, "evals": 8, "dmd_f0": 3.0},
        *({"step": 0, "role": "fake", "loss": loss} for loss in (1.0, 3.0)),
        {"step": 1, "role": "fake", "loss": None, "skipped": 1},
        {"step": 1, "role": "fake", "loss": 2.5},
        *({"step": 2, "role": "fake", "loss": 2.5} for _ in range(2)),  # equal rows: MLflow would refuse the second
        {"step": 5, "role": "student", "loss": 0.5, "evals": 48, "dmd_f0": 2.0, "cache_1": 0.25},
    ]


FAMILIES = {"dmd_f12": "train parts", "cache_0": "train parts", "reward_v2": "train", "gnorm": "train"}


@pytest.mark.parametrize(("key", "section"), FAMILIES.items())
def test_numbered_families_have_a_section_of_their_own(key: str, section: str, tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a"], [UP], 2)
    run = RunDir(write_cell(folder, "a", {UP: [0.5, 0.6]}))
    write_jsonl(run / "train/metrics.jsonl", [{"step": 3, "role": "fake", key: 0.5}])
    board = table(folder)
    told = payload.child(board, board.entries[0], run)
    assert (f"{section}/fake.{key}", 0.5, 3) in told.metrics
    assert json.dumps(told.params)
