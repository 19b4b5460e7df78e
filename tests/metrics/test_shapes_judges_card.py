"""The measuring script behind the cards of the reader and of instance preservation."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api import ClipSpec
from harness.data.shapes import Shapes, ShapesConfig
from harness.data.world import render
from metrics.shapes import measure_judges
from metrics.shapes.agreement import Agreement
from metrics.shapes.instances import History
from metrics.shapes.measure_judges import CHANGES, HEAD, accuracies, line, loose, without


@pytest.fixture(scope="module")
def data() -> Shapes:
    return Shapes(ShapesConfig(size=200, seed=measure_judges.SEED, split="heldout"), ClipSpec())


def passing(data: Shapes) -> int:
    """The first clip in which one thing passes behind another."""
    return next(i for i in range(200) if any(t.behind is not None for t in data.scene(i).cast.things))


def test_a_value_is_the_mean_of_what_is_known() -> None:
    assert Agreement(captioned=4, named=2, spurious=1, moved=1, cameras=1, filmed=1).value == pytest.approx(1.65 / 3)
    assert Agreement(cameras=2, filmed=1).value == 0.5
    assert Agreement().value is None
    assert History(2.0, {"merged": 1, "split": 0}).preserved == pytest.approx(2 / 3)


def test_a_scene_loses_a_thing_that_hides_nothing(data: Shapes) -> None:
    for scene in map(data.scene, range(60)):
        assert loose(scene) not in {thing.behind for thing in scene.cast.things}
    scene = data.scene(passing(data))
    less = without(scene)
    assert len(less.bodies) == len(less.cast.things) == len(scene.cast.things) - 1
    gone = scene.cast.things[loose(scene)].colour
    assert {t.colour for t in scene.cast.things} - {t.colour for t in less.cast.things} == {gone}
    for thing in less.cast.things:
        assert thing.behind is None or less.cast.things[thing.behind].motion != "occlude"


def test_the_world_changes_half_way_and_nowhere_else(data: Shapes) -> None:
    index = passing(data)
    real, less = data.video(index), render(without(data.scene(index)))
    shown = {name: change(data, index) for name, change in CHANGES.items()}
    assert np.array_equal(shown["a thing vanishes"], np.concatenate([real[:8], less[8:]]))
    assert np.array_equal(shown["a thing appears"], np.concatenate([less[:8], real[8:]]))
    recoloured = shown["a thing changes colour"]
    assert np.array_equal(recoloured[:8], real[:8])
    assert not np.array_equal(recoloured[-1], real[-1])
    assert not np.array_equal(recoloured[-1], less[-1])


def test_a_line_leaves_out_clips_without_a_score() -> None:
    real = {"alignment": np.array([1.0, 0.5, 1.0]), "instances": np.array([1.0, np.nan, 1.0])}
    found = {"alignment": np.array([0.5, 0.5, 0.75]), "instances": np.array([0.5, 1.0, np.nan])}
    assert line("x", real, found) == "| x | 0.583 | 0.778 | 0.750 | 0.50 | 0.750 |"
    assert HEAD.splitlines()[0].count("|") == line("x", real, found).count("|")


def test_two_clips_are_read_right_in_all_three_ways() -> None:
    head, *rows = accuracies(2)
    assert head.startswith("| clips | n | objects | motion | direction | camera |")
    assert [row.split("|")[1].split()[0] for row in rows] == ["clean", "damaged", "codec"]
    for row in rows:
        assert row.split("|")[3:-1] == [" 1.0000 ", " 1.0000 ", row.split("|")[5], " 1.0000 "]
