"""Alignment: the counting by hand, the shipped reader on rendered held-out clips, and what symmetry asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api import UserError
from metrics.shapes import reader
from metrics.shapes.agreement import Agreement, agree, total
from metrics.shapes.alignment import Alignment
from metrics.shapes.colours import CAMERAS, COLOURS, DIRECTIONS, MOTIONS, SHAPES
from metrics.shapes.reader import Reading, Slot, read
from tests.metrics.shapes_clips import Frames, clip, held_out, scenes_with

torch.set_num_threads(1)  # two threads on busy cores are ten times slower than one

METRIC = Alignment(Alignment.Config())


def sure(label: str, labels: tuple[str, ...]) -> dict[str, float]:
    return {name: float(name == label) for name in labels}


def slot(shape: str = "disk", motion: str = "still", direction: str = "left", present: float = 1.0) -> Slot:
    return Slot(present, sure(shape, SHAPES), sure(motion, MOTIONS), sure(direction, DIRECTIONS))


def reading(camera: str = "still", **slots: Slot) -> Reading:
    return Reading({c: slots.get(c, slot(present=0.0)) for c in COLOURS}, sure(camera, CAMERAS))


def thing(colour: str, shape: str, motion: str, direction: str | None = None) -> dict[str, Any]:
    return {"colour": colour, "shape": shape, "motion": motion, "direction": direction}


def truth(*things: dict[str, Any], camera: str = "still") -> dict[str, Any]:
    return {"objects": list(things), "camera": camera}


RED_DRIFT, BLUE_SPIN = thing("red", "square", "drift", "left"), thing("blue", "cross", "spin")


def test_a_perfect_reading_agrees_in_everything() -> None:
    seen = reading("pan left", red=slot("square", "drift", "left"), blue=slot("cross", "spin"))
    match = agree(truth(RED_DRIFT, BLUE_SPIN, camera="pan left"), seen)
    assert match == Agreement(captioned=2, named=2, spurious=0, moved=2, drifting=1, directed=1, cameras=1, filmed=1)
    assert (match.objects, match.motion, match.direction, match.camera) == (1, 1, 1, 1)


def test_a_spurious_object_costs_as_much_as_it_adds_to_the_union() -> None:
    seen = reading(red=slot("square", "drift"), blue=slot("cross", "spin"), white=slot("ring"))
    assert agree(truth(RED_DRIFT, BLUE_SPIN), seen).objects == pytest.approx(2 / 3)


def test_a_missing_object_loses_name_motion_and_direction() -> None:
    match = agree(truth(RED_DRIFT, BLUE_SPIN), reading(blue=slot("cross", "spin")))
    assert (match.objects, match.motion, match.direction) == (0.5, 0.5, 0.0)


def test_a_wrong_shape_leaves_the_motion_right() -> None:
    match = agree(truth(BLUE_SPIN), reading("zoom in", blue=slot("square", "spin")))
    assert (match.objects, match.motion, match.direction, match.camera) == (0.0, 1.0, None, 0.0)


def test_the_right_shape_in_the_wrong_colour_is_missing_and_spurious() -> None:
    match = agree(truth(BLUE_SPIN), reading(purple=slot("cross", "spin")))
    assert (match.captioned, match.named, match.spurious, match.moved) == (1, 0, 1, 0)


def test_a_drift_the_other_way_is_a_drift() -> None:
    match = agree(truth(RED_DRIFT), reading(red=slot("square", "drift", "right")))
    assert (match.motion, match.direction) == (1.0, 0.0)


def test_totals_pool_counts() -> None:
    one, two = Agreement(captioned=1, named=1, cameras=1), Agreement(captioned=3, named=1, spurious=1, cameras=1)
    assert total([one, two]).objects == pytest.approx(2 / 5)
    assert total([]).objects is None


@pytest.mark.parametrize("change", [{"colour": "orange"}, {"motion": "jump"}, {"colour": None}])
def test_ground_truth_beyond_the_reader_is_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(UserError, match="the shapes reader knows"):
        agree(truth({**BLUE_SPIN, **change}), reading())


def test_two_objects_of_one_colour_are_refused() -> None:
    with pytest.raises(UserError, match="same colour"):
        agree(truth(BLUE_SPIN, BLUE_SPIN), reading())


def test_the_score_is_the_mean_of_objects_motion_and_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = reading("zoom in", red=slot("square", "drift", "left"), white=slot())
    monkeypatch.setattr(reader, "read", lambda frames: seen)
    frames = Frames(np.zeros((17, 64, 64, 3), np.uint8))
    score = METRIC.score(clip(**truth(RED_DRIFT, BLUE_SPIN)), frames)
    assert score.parts == pytest.approx({"objects": 1 / 3, "motion": 1 / 2, "camera": 0, "direction": 1})
    assert score.value == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert "direction" not in METRIC.score(clip(**truth(BLUE_SPIN)), frames).parts


def test_what_cannot_be_judged_is_not_applicable() -> None:
    frames = Frames(np.zeros((17, 64, 64, 3), np.uint8))
    assert METRIC.score(clip(), frames).note == "no ground truth"
    assert METRIC.score(clip(objects=[RED_DRIFT]), frames).note == "no ground truth"
    assert METRIC.score(clip(**truth()), frames).note == "no captioned objects"
    single = METRIC.score(clip(**truth(RED_DRIFT)), Frames(np.zeros((1, 64, 64, 3), np.uint8)))
    assert (single.value, single.note) == (None, "a single frame shows no motion")


# ---- the shipped reader ----------------------------------------------------------------------------------------


def test_the_reader_is_right_on_rendered_held_out_clips() -> None:
    match = total(agree(row.meta, read(video)) for row, video in held_out(64))
    bounds = {"objects": 0.95, "motion": 0.95, "direction": 0.9, "camera": 0.95}
    assert {name: getattr(match, name) for name, least in bounds.items() if getattr(match, name) < least} == {}


def test_scores_of_rendered_clips_are_near_one_and_of_swapped_captions_are_not() -> None:
    rows = held_out(32)
    right = [METRIC.score(clip(**row.meta), Frames(video)).value for row, video in rows]
    wrong = [METRIC.score(clip(**rows[i - 1][0].meta), Frames(video)).value for i, (_, video) in enumerate(rows)]
    assert np.mean(right) > 0.93
    assert np.mean(wrong) < 0.5


def test_mirroring_swaps_left_with_right_and_leaves_up_and_down() -> None:
    swap = {"left": "right", "right": "left", "up": "up", "down": "down"}
    agreed = []
    for row, video in scenes_with("drift", 12):
        colour = row.meta["objects"][0]["colour"]
        plain, mirrored = read(video).slots[colour], read(video[:, :, ::-1]).slots[colour]
        agreed.append(mirrored.direction == swap[plain.direction] and mirrored.motion == plain.motion == "drift")
    assert np.mean(agreed) >= 0.9


def test_a_reversed_drift_goes_the_other_way() -> None:
    swap = {"left": "right", "right": "left", "up": "down", "down": "up"}
    agreed = []
    for row, video in scenes_with("drift", 12):
        slot_ = read(video[::-1]).slots[row.meta["objects"][0]["colour"]]
        agreed.append(slot_.direction == swap[row.meta["objects"][0]["direction"]])
    assert np.mean(agreed) >= 0.9


@pytest.mark.parametrize("motion", ["drift", "orbit", "spin"])
def test_a_frozen_clip_is_still(motion: str) -> None:
    found = []
    for row, video in scenes_with(motion, 8):
        frozen = np.repeat(video[8:9], 17, 0)
        found.append(read(frozen).slots[row.meta["objects"][0]["colour"]].motion)
    assert found.count("still") >= 7


def test_a_clip_without_objects_reads_as_empty() -> None:
    grey = np.full((17, 64, 64, 3), 70, np.uint8)
    assert read(grey).objects == {}


def test_size_and_frame_rate_do_not_change_the_reading() -> None:
    for _, video in held_out(12):
        plain, larger = read(video), read(video.repeat(3, 1).repeat(3, 2).repeat(2, 0))
        assert {c: s.shape for c, s in plain.objects.items()} == {c: s.shape for c, s in larger.objects.items()}
        assert plain.camera == larger.camera


def test_reading_twice_gives_the_same_numbers_whatever_was_read_between() -> None:
    first = [read(video) for _, video in held_out(4)]
    assert [read(video) for _, video in reversed(held_out(4))][::-1] == first
    for seen in first:
        assert sum(seen.cameras.values()) == pytest.approx(1, abs=1e-5)


def test_missing_or_foreign_weights_name_the_command(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(UserError, match=r"python -m metrics\.shapes\.train_reader"):
        reader.load(tmp_path / "none.safetensors")
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        reader.load(tmp_path / "foreign.safetensors")


def test_the_weights_are_declared_and_small() -> None:
    assert Alignment.weights(Alignment.Config()) == (reader.WEIGHTS,)
    assert reader.WEIGHTS.stat().st_size < 3_000_000


def test_a_single_frame_cannot_be_read() -> None:
    with pytest.raises(UserError, match="at least 2 frames"):
        read(np.zeros((1, 64, 64, 3), np.uint8))
