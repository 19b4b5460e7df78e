"""Masks, boxes and tracks agree with the pixels and with each other."""

import numpy as np
import pytest

from harness.api import ClipSpec
from harness.data.world import Knobs, render, scene, truth
from tests.data.test_shapes_world import centroids, find

WIDE = ClipSpec(frames=33, height=96, width=64)


def test_tracks_follow_a_drift_to_within_a_pixel() -> None:
    for start in (0, 500, 1000):
        found, i = find("drift", start=start)
        told = truth(found)
        mean = told.tracks[told.owner == i].mean(0)
        assert np.abs(mean - centroids(told.masks[:, i])).max() < 1


@pytest.mark.parametrize("motion", ["orbit", "spin", "pulse", "zigzag"])
@pytest.mark.parametrize("camera", ["still", "zoom in"])
def test_points_of_a_free_thing_are_visible_and_inside_its_mask(motion: str, camera: str) -> None:
    found, i = find(motion, camera)
    told = truth(found)
    assert told.visible[told.owner == i].mean() > 0.97


def test_a_hidden_thing_has_hidden_points() -> None:
    found, i = find("occlude")
    told = truth(found)
    seen, shown = told.visible[told.owner == i], told.masks[:, i].any((1, 2))
    assert seen[:, 0].mean() > 0.9
    assert seen[:, 8].mean() < 0.5
    assert not seen[:, ~shown].any()


def test_background_points_are_fixed_in_the_world() -> None:
    still, _ = find("drift")
    told = truth(still)
    ground = told.tracks[told.owner == -1]
    np.testing.assert_array_equal(ground, np.repeat(ground[:, :1], 17, axis=1))
    panned, _ = find("still", "pan right")
    told = truth(panned)
    np.testing.assert_allclose(np.diff(told.tracks[told.owner == -1], axis=1)[..., 0], -1.0, atol=1e-5)


def test_points_carry_their_colours() -> None:
    """What a background point shows under a pan stays what it showed: tracks and pixels use one geometry."""
    found, _ = find("still", "pan left")
    told, frames = truth(found), render(found).astype(float)
    for path, seen in zip(told.tracks[told.owner == -1], told.visible[told.owner == -1], strict=True):
        at = [(f, int(y), int(x)) for f, ((x, y), ok) in enumerate(zip(path, seen, strict=True)) if ok]
        clear = [frames[p] for p in at if not near_thing(told.masks[p[0]], p[1], p[2])]
        if len(clear) > 4:
            assert np.ptp(np.array(clear), axis=0).max() < 12


def near_thing(masks: np.ndarray, y: int, x: int) -> bool:
    return bool(masks[:, max(0, y - 6) : y + 7, max(0, x - 6) : x + 7].any())


def test_boxes_bound_the_masks_and_are_nan_when_nothing_shows() -> None:
    found, i = find("occlude")
    told = truth(found)
    for f in range(17):
        mask, box = told.masks[f, i], told.boxes[f, i]
        if mask.any():
            x0, y0, x1, y1 = box.astype(int)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert all(edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]))
        else:
            assert np.isnan(box).all()


def test_masks_do_not_overlap_and_mark_the_colour() -> None:
    for index in range(20):
        found = scene(4, index)
        told, frames = truth(found), render(found).astype(int)
        assert told.masks.sum(1).max() == 1
        for i, thing in enumerate(found.cast.things):
            if thing.colour in ("red", "green", "blue"):
                channel = ("red", "green", "blue").index(thing.colour)
                assert frames[told.masks[:, i]].mean(0).argmax() == channel


def test_other_sizes_show_the_same_scene() -> None:
    found, _ = find("orbit", things=1)
    told, frames = truth(found, WIDE), render(found, WIDE)
    assert frames.shape == (33, 96, 64, 3)
    assert told.masks.shape == (33, 1, 96, 64)
    small = truth(found)
    taller = told.masks[:17, 0].sum((1, 2)), small.masks[:, 0].sum((1, 2))
    np.testing.assert_array_equal(*taller)  # 8 fps in both: the same second shows the same
    shift = centroids(told.masks[:17, 0]) - centroids(small.masks[:, 0])
    np.testing.assert_allclose(shift, np.broadcast_to((0, 16), shift.shape), atol=1e-9)
    double = truth(found, ClipSpec(height=128, width=128))
    np.testing.assert_allclose(centroids(double.masks[:, 0]), 2 * centroids(small.masks[:, 0]), atol=0.6)


def test_one_frame_is_a_clip() -> None:
    assert render(scene(0, 0), ClipSpec(frames=1)).shape == (1, 64, 64, 3)


def test_truth_follows_the_knobs() -> None:
    found, _ = find("drift")
    frozen = truth(found, knobs=Knobs(frozen=1.0))
    assert (frozen.tracks == frozen.tracks[:, :1]).all()
    knobs = Knobs(shuffle=1.0)
    plain, mixed = truth(found), truth(found, knobs=knobs)
    order = [int(np.abs(plain.tracks - mixed.tracks[:, f : f + 1]).max((0, 2)).argmin()) for f in range(17)]
    assert sorted(order) == list(range(17))
    assert all(f != g for f, g in enumerate(order))
    np.testing.assert_array_equal(render(found, knobs=knobs), render(found)[order])
    np.testing.assert_array_equal(mixed.masks, plain.masks[order])
