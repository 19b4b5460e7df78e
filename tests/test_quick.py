"""The shipped suite with the shipped backbone and judges, at a small budget: what the README's first command does."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness import video
from harness.store import read_json, run_dirs
from harness.suite import SHIPPED
from tests.test_crank import contents, kill_once

SMALL = ("train.steps=4", "train.snapshot_every=2", "dataset.size=16", "prompts.dataset.size=4", "generate.steps=3")


def command(root: Path, *more: str) -> list[str]:
    sets = [word for assignment in SMALL for word in ("--set", assignment)]
    return [sys.executable, "-m", "harness.cli", "run", "quick", "--runs", str(root), *sets, *more]


def test_the_shipped_suite_ends_with_a_board_playable_clips_and_an_experiment(tmp_path: Path) -> None:
    first = subprocess.run(command(tmp_path), capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    (folder,) = tmp_path.glob("quick@*")
    runs = run_dirs(folder)
    assert sorted(run.cell()["row"] for run in runs) == sorted(read_json(folder / "suite.json")["rows"])
    assert {run.cell()["row"] for run in runs} == set(yaml.safe_load((SHIPPED / "quick.yaml").read_text())["methods"])
    assert len(runs) == 16
    for run in runs:
        assert run.done
        assert len(run.scores()) == 5
        for row in run.clips():
            clip = video.read(run / row["file"])
            assert clip.frames.shape == (17, 64, 64, 3)
            assert clip.fps == 8
        assert run.cell()["row"] in first.stdout
        if run.cell()["row"] not in {"base", "avd+vif"}:  # these train nothing of their own
            pictures = sorted(path.name for path in (run / "train/diagnostics").iterdir())
            assert "index.html" in pictures
            assert "training-curves.png" in pictures
    told = {run.cell()["row"]: run.timings()[-2] for run in runs}  # the last is evaluate
    assert {row: (told[row]["nfe"], told[row]["frame_nfe"]) for row in ("base", "vif", "dmd", "lcm", "avd+vif")} == {
        "base": (3 * 2, 3 * 2 * 5),
        "vif": (3 * 2, 3 * 2 * 3),  # 3 of 5 latent frames
        "dmd": (4, 4 * 5),
        "lcm": (4, 4 * 5),
        "avd+vif": (4, 2 * 3 + 2 * 5),
    }
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        names = [name for (name,) in store.execute("SELECT name FROM experiments")]
        levels = dict(store.execute("SELECT value, COUNT(*) FROM tags WHERE key = 'level' GROUP BY value"))
    assert f"mutoscope/{folder.name}" in names
    assert levels == {"method": 16, "seed": 16}
    assert "mutoscope serve" in first.stdout
    second = subprocess.run(command(tmp_path), capture_output=True, text=True)
    assert second.returncode == 0
    assert "0 to do" in second.stdout


def test_every_row_starts_from_the_same_noise(tmp_path: Path) -> None:
    """With nothing learned (a rate of 1e-30) rows of one sampler give the same clips: same x_T, same codec."""
    tiny = ["--set", "train.lr=1.0e-30", "--no-publish", "--methods", "base,ltd,tqd,dmd,msm,avd"]
    assert subprocess.run(command(tmp_path, *tiny), capture_output=True).returncode == 0
    (folder,) = tmp_path.glob("quick@*")
    clips = {run.cell()["row"]: [row["sha256"] for row in run.clips()] for run in run_dirs(folder)}
    assert clips["base"] == clips["ltd"] == clips["tqd"]
    assert clips["dmd"] == clips["msm"] == clips["avd"] != clips["base"]


@pytest.mark.slow
def test_twenty_kills_on_the_real_suite_change_no_byte(tmp_path: Path) -> None:
    some = ["--methods", "tqd,ltd", "--no-publish"]
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    began = time.monotonic()
    subprocess.run(command(calm, *some, "--workers", "1"), check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    dice = random.Random(1)
    killed = 0
    for _ in range(200):
        if killed == 20:
            break
        folders = list(stormy.glob("quick@*"))
        runs = [run for folder in folders for run in run_dirs(folder)]
        if len(runs) == 2 and all(run.done for run in runs):  # it got through between two kills: keep it, start over
            folders[0].rename(tmp_path / f"finished-{killed}")
        workers = str(dice.choice((1, 2)))
        killed += kill_once(command(stormy, *some, "--workers", workers), dice.uniform(0.2, 1.0) * whole)
    assert killed == 20
    subprocess.run(command(stormy, *some, "--workers", "2"), check=True, stdout=subprocess.DEVNULL)
    assert contents(stormy) == contents(calm)
    for finished in tmp_path.glob("finished-*"):
        assert contents(finished) == contents(next(iter(calm.glob("quick@*"))))
