"""`mutoscope doctor --metrics`: what moved which way, on metrics whose behaviour is known by construction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from harness import registry, video
from harness.api import Clip, Features, Metric
from harness.cli import app
from harness.commands.doctor_metrics import damage, footage, of_the_world, rendered
from harness.commands.doctor_show import _broken, _by_remedy
from harness.corruptions import CORRUPTIONS
from harness.errors import UserError
from tests.footage import drifting


class Changing(Metric):
    """Mean absolute difference of neighbouring frames: none where a clip is frozen."""

    name = "probe/changing"
    moves: ClassVar[dict[str, Any]] = {"freeze": "down", "shuffle": "up", "reverse": "same"}

    def score(self, clip: Clip, features: Features) -> float:
        return float(np.abs(np.diff(features.frames.astype(float), axis=0)).mean() / 255)


class Backwards(Changing):
    """The same with its sign wrong, as a bug would have it."""

    name, range = "probe/backwards", (-1.0, 0.0)

    def score(self, clip: Clip, features: Features) -> float:
        return -super().score(clip, features)


class Blind(Changing):
    """Notices nothing."""

    name = "probe/blind"

    def score(self, clip: Clip, features: Features) -> float:
        return 0.5


class Sometimes(Changing):
    """Fails on blurred clips, has nothing to say of noisy ones."""

    name = "probe/sometimes"
    moves: ClassVar[dict[str, Any]] = {"blur": "down"}

    def score(self, clip: Clip, features: Features) -> float | None:  # type: ignore[override]
        if clip.id.startswith("blur/"):
            raise UserError("cannot see")
        return None if clip.id.startswith("noise/") else super().score(clip, features)


class Grain(Metric):
    """Of the whole set: the mean of what changes between frames."""

    name, level = "probe/grain", "set"
    moves: ClassVar[dict[str, Any]] = {"noise": "up"}
    sets: ClassVar[list[int]] = []

    def reset(self) -> None:
        self.values: list[float] = []

    def update(self, clip: Clip, features: Features) -> None:
        self.values.append(float(np.abs(np.diff(features.frames.astype(float), axis=0)).mean() / 255))

    def compute(self) -> float:
        self.sets.append(len(self.values))
        return float(np.mean(self.values))


class Absent(Metric):
    """Its weights are not here."""

    name = "probe/absent"

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        raise UserError("its weights are missing", "fetch them")


class Mistaken(Changing):
    """Declares a corruption that does not exist."""

    name = "probe/mistaken"
    moves: ClassVar[dict[str, Any]] = {"bluur": "down"}


PROBES = (Changing, Backwards, Blind, Sometimes, Grain, Absent, Mistaken)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `doctor --metrics --only ...` with nothing registered but the probes."""
    monkeypatch.setattr(registry.metrics, "_classes", {probe.name: probe for probe in PROBES})
    monkeypatch.setattr(type(registry.metrics), "_declared", {})
    footage = tmp_path / "footage"
    footage.mkdir()
    for number in range(6):
        video.write(footage / f"{number}.mp4", drifting(9, 32, 48, 0.5 + 0.3 * number, 0.5), 8)

    def call(only: str, *words: object) -> tuple[Result, dict[tuple[str, str], dict[str, Any]]]:
        report = tmp_path / "report.json"
        command = ["doctor", "--metrics", "--clips", footage, "--runs", tmp_path / "runs", "--out", report, *words]
        command += ["--only", ",".join(f"probe/{name}" for name in only.split())] if only else []
        done = CliRunner().invoke(app, [str(word) for word in command])
        rows = json.loads(report.read_text())["findings"] if report.exists() else []
        return done, {(row["metric"].split("/")[1], row["corruption"]): row for row in rows}

    return call


def test_right_wrong_and_blind(doctor: Any, tmp_path: Path) -> None:
    picture = tmp_path / "moves.png"
    done, found = doctor("changing backwards blind", "--picture", picture)
    assert done.exit_code == 1
    for corruption, expected in Changing.moves.items():
        assert found["changing", corruption]["verdict"] == "ok"
        assert found["changing", corruption]["expected"] == expected
        assert found["backwards", corruption]["verdict"] == ("ok" if expected == "same" else "no")
        assert found["blind", corruption]["verdict"] == ("ok" if expected == "same" else "unclear")
    assert {found["changing", name]["verdict"] for name in CORRUPTIONS.keys() - Changing.moves} == {"no expectation"}
    assert found["changing", "freeze"]["difference"] == pytest.approx(-found["backwards", "freeze"]["difference"])
    assert found["changing", "freeze"]["n"] == 6
    assert "probe/backwards under freeze: should go down, went up by" in done.output
    assert "probe/changing under" not in done.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_sound_metrics_end_in_0(doctor: Any) -> None:
    assert doctor("changing blind")[0].exit_code == 0


def test_failures_and_missing_values_are_told_and_not_counted(doctor: Any) -> None:
    done, found = doctor("sometimes")
    assert found["sometimes", "blur"]["verdict"] == found["sometimes", "noise"]["verdict"] == "no value"
    assert found["sometimes", "blur"]["difference"] is None
    assert len(found["sometimes", "blur"]["failures"]) == 6
    assert found["sometimes", "noise"]["failures"] == {}
    assert "failed  probe/sometimes: " in done.output
    assert "cannot see" in done.output
    assert done.exit_code == 0


def test_a_metric_of_the_whole_set(doctor: Any) -> None:
    Grain.sets.clear()
    _, found = doctor("grain")
    assert found["grain", "noise"]["verdict"] == "ok"
    assert found["grain", "noise"]["difference"] > 0.02
    assert found["grain", "freeze"]["difference"] < 0
    assert found["grain", "noise"]["n"] == 4
    assert sorted(Grain.sets) == [4] * 22 + [5] * 22 + [6] * 11  # the whole and four rests of it, once a version


def test_what_is_not_available_is_left_out_with_its_reason(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.metrics, "_classes", {"probe/blind": Blind, "probe/absent": Absent})
    done, found = doctor("")
    assert {metric for metric, _ in found} == {"blind"}
    assert "left out: probe/absent: its weights are missing; fetch them" in done.output
    assert isinstance(doctor("absent")[0].exception, UserError)  # asked for by name


def test_rendered_clips(doctor: Any, tmp_path: Path) -> None:
    """Without a folder: held-out clips of the embedded world, with their ground truth."""
    shown = list(rendered(3))
    assert [clip.frames.shape for clip in shown] == [(17, 64, 64, 3)] * 3
    assert all(any(thing["motion"] != "still" for thing in clip.meta["objects"]) for clip in shown)
    told: list[tuple[int, int]] = []
    versions = damage(shown, tmp_path, 1.0, lambda done, of: told.append((done, of)))
    assert told == [(number, 33) for number in range(1, 34)]
    assert list(versions) == ["as it is", *CORRUPTIONS]
    assert len({clip.sha256 for clips in versions.values() for clip in clips}) == 33


def test_the_users_clips(doctor: Any, tmp_path: Path) -> None:
    for name, step in (("a", 1.5), ("b", 0.5)):
        (tmp_path / "clips").mkdir(exist_ok=True)
        video.write(tmp_path / "clips" / f"{name}.mp4", drifting(70, 32, 48, step, 0), 12)
    done, found = doctor("changing", "--clips", tmp_path / "clips", "--json")
    assert json.loads(done.stdout)["clips"] == ["a.mp4", "b.mp4"]
    assert "1 metrics on 22 clips: 2, each" in done.stderr
    assert (found["changing", "freeze"]["n"], found["changing", "freeze"]["difference"] < 0) == (2, True)


def test_large_clips_are_made_smaller_and_long_ones_cut(tmp_path: Path) -> None:
    video.write(tmp_path / "large.mp4", drifting(66, 288, 384, 1.0, 0), 12)
    video.write(tmp_path / "small.mp4", drifting(3, 128, 256, 1.0, 0), 12)
    large, small = footage(tmp_path, 2, Console(quiet=True))
    assert (large.frames.shape, small.frames.shape) == ((64, 256, 341, 3), (3, 128, 256, 3))


class Worldly(Backwards):
    """Wrong, but for clips of another kind."""

    name = "shapes/worldly"


class Mute(Metric):
    """Never applies."""

    name = "probe/mute"

    def score(self, clip: Clip, features: Features) -> None:
        return None


def test_judges_of_the_world_do_not_count_on_other_clips(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.metrics, "_classes", {kind.name: kind for kind in (Changing, Worldly, Mute)})
    done, found = doctor("")
    assert found["worldly", "freeze"]["verdict"] == "no"
    assert done.exit_code == 0
    assert "of little meaning here: shapes/worldly: for clips of the embedded world" in done.output
    assert "no value  probe/mute: it has none for any of these clips\n" in done.output
    assert "no value  probe/changing" not in done.output
    assert max(map(len, done.output.splitlines()[:8])) <= 100
    names = ("shapes/vq", "cdfvd-shapes", "flow/magnitude", "probe/shapes")
    assert [of_the_world(name) for name in names] == [True, True, False, False]


def test_what_goes_with_metrics_is_not_passed_over_without_it() -> None:
    done = CliRunner().invoke(app, ["doctor", "--limit", "6"])
    assert isinstance(done.exception, UserError)
    assert done.exception.problem == "--limit goes with --metrics"


def test_a_declaration_that_names_nothing_is_refused(doctor: Any) -> None:
    error = doctor("mistaken")[0].exception
    assert isinstance(error, UserError)
    assert error.problem == "probe/mistaken: moves: there is no corruption bluur"


def test_one_line_for_all_that_one_command_fetches() -> None:
    left_out = {
        "weights/vbench: a.pt is missing; fetch with `mutoscope weights fetch vbench --for a`": ["vbench/a"],
        "weights/vbench: b.pt, c.pt are missing; fetch with `mutoscope weights fetch vbench --for b`": ["vbench/b"],
        "weights/trajan: t.npz is missing; fetch with `mutoscope weights fetch trajan`": ["trajan/x", "trajan/y"],
        "it summarises other metrics": ["toy/sum"],
    }
    assert _by_remedy(left_out) == {
        "weights are missing; mutoscope weights fetch vbench": ["vbench/a", "vbench/b"],
        "weights are missing; mutoscope weights fetch trajan": ["trajan/x", "trajan/y"],
        "it summarises other metrics": ["toy/sum"],
    }


def test_long_names_are_broken_where_words_end() -> None:
    assert _broken("flow/magnitude") == "flow/magnitude"
    assert _broken("flow/dynamic_degree") == "flow/dynamic_\ndegree"
    assert _broken("shapes/instance_preservation") == "shapes/instance_\npreservation"
    assert _broken("cdfvd-shapes-and-a-long-name") == "cdfvd-shapes-and-a-long-name"
