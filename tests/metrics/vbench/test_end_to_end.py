"""`mutoscope evaluate --metrics vbench` on folders as users have them: odd files, wrong weights, a kill on the way."""

from __future__ import annotations

import csv
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from harness import streaming, video
from harness.cli import app
from harness.features import fingerprint
from harness.store import read_jsonl
from metrics.vbench.imaging_quality import ImagingQuality
from metrics.vbench.seeded import viclip, write_all
from tests.metrics.vbench.clips import render

CHEAP = "vbench/temporal_flickering,vbench/motion_smoothness"
METRICS = "vbench/temporal_flickering,vbench/dynamic_degree,vbench/motion_smoothness,vbench/overall_consistency"
LONG = " ".join(f"word{number}" for number in range(200))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_all(folder, ["dynamic_degree", "motion_smoothness"], seed=0)
    viclip.write_small(folder / "ViCLIP" / "ViClip-InternVid-10M-FLT.pth", 0)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four clips of very different kinds, and a file that is none, in a folder with an unkind name."""
    home = tmp_path / """it's a "test" [red]"""
    home.mkdir()
    video.write(home / "fast one.mp4", render("fast"), 24)
    video.write(home / "it's.mp4", render("slow")[:4], 8)
    video.write(home / "pair.mp4", render("pair"), 8)
    write_gif(home / "loop.gif", render("slow")[:4])
    (home / "stray.json").write_text("{}")
    with open(home / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        names = {"fast one.mp4": LONG, "it's.mp4": 'a "cat", a dog', "pair.mp4": "two frames", "loop.gif": "a loop"}
        writer.writerows([("file_name", "prompt"), *names.items()])
    return home


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the process that is killed: the number of threads may change a last digit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_gif(path: Path, frames: np.ndarray) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=125, loop=0)


def words(folder: Path, weights: Path, runs: Path, metrics: str = METRICS) -> list[str]:
    given = ["evaluate", str(folder), "--metrics", metrics, "--mode", "custom", "--weights", str(weights)]
    return [*given, "--unofficial-weights", "--device", "cpu", "--runs", str(runs)]


def run(*given: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in given])


def rows(runs: Path) -> dict[str, dict[str, Any]]:
    found = sorted(runs.rglob("scores/vbench/*.jsonl"))
    return {path.name.split("@")[0]: {row["clip"]: row for row in read_jsonl(path)} for path in found}


def test_odd_files_each_do_the_right_thing(folder: Path, weights: Path, tmp_path: Path) -> None:
    result = run(*words(folder, weights, tmp_path / "runs"))
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "runs")
    assert set(found) == {"dynamic_degree", "motion_smoothness", "overall_consistency", "temporal_flickering"}
    assert all(list(of) == ["fast one.mp4", "it's.mp4", "loop.gif", "pair.mp4"] for of in found.values())
    assert not [row for of in found.values() for row in of.values() if row["error"]]
    pair = {name: of["pair.mp4"] for name, of in found.items()}
    assert (pair["motion_smoothness"]["value"], pair["dynamic_degree"]["value"]) == (None, 1.0)
    assert "three frames" in pair["motion_smoothness"]["note"]
    assert "not applicable to 1 of 4 clips" in result.output
    long = found["overall_consistency"]["fast one.mp4"]
    assert "the first 30 were read" in long["note"]
    assert long["parts"]["tokens_cut"] > 170
    gif, mp4 = (found["temporal_flickering"][name]["value"] for name in ("loop.gif", "it's.mp4"))
    assert gif == pytest.approx(mp4, abs=0.03)  # 256 colours
    assert "not comparable with VBench's leaderboard" in result.output


def test_a_killed_run_goes_on_and_looks_at_no_finished_clip_again(
    folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*words(folder, weights, whole, CHEAP)).exit_code == 0
    for number in range(8):  # more to do than a kill can miss
        shutil.copy(folder / "it's.mp4", folder / f"more {number}.mp4")
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words(folder, weights, killed, CHEAP)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for _ in wait(process):
        if len(found := rows(killed)) == 2 and all(len(of) > 1 for of in found.values()):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = rows(killed)
    finished = set.intersection(*(set(before.get(name, {})) for name in rows(whole)))
    assert finished
    assert len(finished) < 12
    looked: list[str] = []
    real = streaming.extract
    monkeypatch.setattr("harness.features.extract", lambda path, *more: looked.append(path.name) or real(path, *more))  # type: ignore[func-returns-value]
    for number in range(8):
        (folder / f"more {number}.mp4").unlink()
    assert run(*words(folder, weights, killed, CHEAP)).exit_code == 0
    assert rows(killed) == rows(whole)
    assert not finished & set(looked)


def wait(process: subprocess.Popen[bytes], limit: float = 120) -> Iterator[None]:
    end = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < end:
        yield
        time.sleep(0.02)


def test_weights_that_are_not_the_published_ones_are_refused(folder: Path, weights: Path, tmp_path: Path) -> None:
    given = [word for word in words(folder, weights, tmp_path / "runs") if word != "--unofficial-weights"]
    result = run(*given)
    assert not (tmp_path / "runs" / "evaluate").exists()
    problem = str(result.exception)
    assert "raft-things.pth" in problem
    assert "sha256" in problem
    missing = run(*words(folder, tmp_path / "nowhere", tmp_path / "runs", "vbench/imaging_quality"))
    assert "musiq_spaq_ckpt-358bb6af.pth" in str(missing.exception)
    assert "mutoscope weights fetch vbench --for imaging_quality" in str(missing.exception)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["BOMB"],)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("BOMB", str(tmp_path / "went off"))
    for number, save in enumerate(
        (lambda path: torch.save({"a": Bomb()}, path), lambda path: path.write_bytes(pickle.dumps(Bomb())))
    ):
        bad = tmp_path / f"bad{number}"
        path = bad / "raft_model" / "models" / "raft-things.pth"
        path.parent.mkdir(parents=True)
        save(path)
        result = run(*words(folder, bad, tmp_path / f"runs{number}", "vbench/dynamic_degree"))
        assert result.exit_code == 3, result.output
        assert "raft-things.pth" in result.output
        assert not (tmp_path / "went off").exists()


def test_both_engines_are_one_evaluator_and_fast_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "metrics.vbench.official.require_environment", lambda: Path(sys.executable)
    )  # as if it were built
    write_all(tmp_path, ["imaging_quality"], seed=0)

    def of(**more: Any) -> str:
        config = ImagingQuality.Config(weights=str(tmp_path), unofficial_weights=True, **more)
        return fingerprint(ImagingQuality, config)

    assert of() == of(backend="official") == of(backend="native", device="cuda")
    assert len({of(), of(precision="fast"), of(protocol="standard")}) == 3
