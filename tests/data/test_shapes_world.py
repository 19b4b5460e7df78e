"""The embedded world: bytes, words and motion."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from harness.api import ClipSpec, UserError
from harness.data.world import (
    CAMERAS,
    DISPLACING,
    MOTIONS,
    STAYING,
    VOCABULARY,
    Knobs,
    Scene,
    cast,
    long_caption,
    render,
    scene,
    short_caption,
    tokens,
    truth,
)
from harness.data.world.casting import Cast, Thing
from harness.data.world.dice import Dice
from harness.data.world.grammar import key

PINNED = {
    (0, 0, "train"): "ca6ff914ee6d91f0",
    (0, 1, "heldout"): "8a79f228a6d3cf03",
    (7, 123, "train"): "b272d3774bf2a4a0",
}


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def find(motion: str, camera: str = "still", things: int | None = None, start: int = 0) -> tuple[Scene, int]:
    """The first scene from `start` in which thing i does `motion`, and i."""
    for index in range(start, start + 3000):
        found = scene(5, index)
        if found.cast.camera == camera and things in (None, len(found.bodies)):
            for i, thing in enumerate(found.cast.things):
                if thing.motion == motion:
                    return found, i
    raise AssertionError(f"no {motion} under a {camera} camera")


def centroids(masks: np.ndarray) -> np.ndarray:
    """Mean pixel centre of masks [F, H, W], [F, 2] x, y."""
    ys, xs = np.arange(masks.shape[1]) + 0.5, np.arange(masks.shape[2]) + 0.5
    area = masks.sum((1, 2))
    return np.stack([(masks * xs).sum((1, 2)) / area, (masks * ys[:, None]).sum((1, 2)) / area], -1)


@pytest.mark.parametrize("name", PINNED)
def test_bytes_are_pinned(name: tuple[int, int, str]) -> None:
    assert sha(render(scene(*name))) == PINNED[name]


def test_damaged_bytes_are_pinned() -> None:
    knobs = Knobs(blur=2, noise=9, compression=15, pace=0.7, start=0.1, frozen=0.3, shuffle=0.5)
    assert sha(render(scene(3, 4), ClipSpec(frames=9, height=44, width=60), knobs)) == "9f2b52bc62600aa5"


def test_another_process_renders_the_same_bytes() -> None:
    code = (
        "import hashlib; from harness.data.world import *; print(hashlib.sha256(render(scene(9, 5))).hexdigest()[:16])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sha(render(scene(9, 5)))


def test_seed_and_index_both_matter() -> None:
    clips = {sha(render(scene(seed, index))) for seed in range(3) for index in range(3)}
    assert len(clips) == 9


def test_dice_are_uniform() -> None:
    dice = Dice(1, 2)
    counts = Counter(dice.below(6) for _ in range(6000))
    assert sum((counts[k] - 1000) ** 2 / 1000 for k in range(6)) < 20.5  # chi squared, 5 d.o.f., p = 0.001
    draws = [dice.between(-2, 6) for _ in range(4000)]
    assert abs(np.mean(draws) - 2) < 0.15
    assert min(draws) >= -2
    assert max(draws) < 6
    weighed = Counter(dice.weigh({"a": 3, "b": 0, "c": 1}) for _ in range(4000))
    assert weighed["b"] == 0
    assert abs(weighed["a"] - 3000) < 120


def test_splits_share_no_meaning_and_use_the_closed_vocabulary() -> None:
    train = [cast(0, i) for i in range(1700)]
    heldout = [cast(0, i, "heldout") for i in range(300)]
    assert not {key(c) for c in train} & {key(c) for c in heldout}
    words = {word for c in train + heldout for text in (short_caption(c), long_caption(c)) for word in tokens(text)}
    assert words == set(VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY))
    assert all(word == word.lower() for word in VOCABULARY)


def test_the_key_ignores_the_order_of_things() -> None:
    pairs = [c for c in (cast(0, i) for i in range(200)) if len(c.things) == 2 and "occlude" not in motions(c)]
    assert len(pairs) > 30
    for drawn in pairs:
        swapped = Cast(drawn.things[::-1], drawn.camera, drawn.tone, drawn.pattern)
        assert key(swapped) == key(drawn)
        assert short_caption(swapped) != short_caption(drawn)


def motions(drawn: Cast) -> set[str]:
    return {thing.motion for thing in drawn.things}


def test_captions_read_as_documented() -> None:
    square = Thing("square", "red", "drift", "left", None, None, "small", "striped", "slowly")
    disk = Thing("disk", "blue", "morph", None, "ring", None, "large", "plain", None)
    ring = Thing("ring", "white", "occlude", None, None, 1, "small", "dotted", None)
    drawn = Cast((square, disk, ring), "pan right", "dark", "cloudy")
    assert short_caption(drawn) == (
        "a red square drifts left, a blue disk morphs into a ring, "
        "a white ring passes behind the blue disk, the camera pans right"
    )
    assert long_caption(drawn) == (
        "a small striped red square drifts left slowly, a large plain blue disk morphs into a ring, "
        "a small dotted white ring passes behind the blue disk, on a dark cloudy background, the camera pans right."
    )
    still = Cast((square,), "still", "grey", "dotted")
    assert short_caption(still) == "a red square drifts left"


def test_frequencies() -> None:
    casts = [cast(2, i) for i in range(3000)]
    count = Counter(len(c.things) for c in casts)
    assert [round(count[n] / 3000, 1) for n in (1, 2, 3)] == pytest.approx([0.5, 0.35, 0.15], abs=0.06)
    cameras = Counter(c.camera for c in casts)
    assert cameras["still"] / 3000 == pytest.approx(0.70, abs=0.03)
    assert set(cameras) == set(CAMERAS)
    motions = Counter(t.motion for c in casts for t in c.things)
    assert set(motions) == set(MOTIONS) == {*DISPLACING, *STAYING}
    assert min(motions.values()) > 0.07 * sum(motions.values())
    assert all(len({t.colour for t in c.things}) == len(c.things) for c in casts)


def test_an_unknown_split_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="tarin"):
        scene(0, 0, "tarin")


@pytest.mark.parametrize("motion", ["drift", "bounce", "orbit", "zigzag"])
def test_displacing_motions_travel(motion: str) -> None:
    found, i = find(motion)
    path = centroids(truth(found).masks[:, i])
    steps = np.diff(path, axis=0)
    assert np.ptp(path, axis=0).max() > 12
    if motion == "drift":
        want = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[found.cast.things[i].direction]
        assert (path[-1] - path[0]) @ want > 14
    if motion == "bounce":
        assert np.ptp(path[:, 0]) < 0.7
        assert (np.diff(np.sign(steps[:, 1])) != 0).sum() >= 3  # two hops or more
    if motion == "orbit":
        radius = np.linalg.norm(path - np.array(project_anchor(found, i)), axis=1)
        np.testing.assert_allclose(radius, found.bodies[i].span, atol=0.6)
        turned = np.unwrap(np.arctan2(*(path - np.array(project_anchor(found, i))).T[::-1]))
        assert abs(turned[-1] - turned[0]) > np.pi
    if motion == "zigzag":
        assert abs(path[-1, 0] - path[0, 0]) > 14
        assert (np.diff(np.sign(steps[:, 1])) != 0).sum() >= 2


def project_anchor(found: Scene, i: int) -> tuple[float, float]:
    return 32 + found.bodies[i].x, 32 + found.bodies[i].y


@pytest.mark.parametrize("motion", STAYING)
def test_staying_motions_stay_and_show(motion: str) -> None:
    found, i = find(motion)
    frames, masks = render(found).astype(float), truth(found).masks[:, i]
    area, path = masks.sum((1, 2)), centroids(masks)
    light = np.array([frame[mask].mean() for frame, mask in zip(frames, masks, strict=True)])
    assert np.ptp(path, axis=0).max() < 1.5
    if motion == "still":
        assert (masks == masks[0]).all()
    elif motion == "pulse":
        assert area.max() / area.min() > 1.4**2
    elif motion == "flicker":
        assert light.min() < 0.6 * light.max()
        assert area.max() == area.min()
    elif motion == "spin":
        assert (masks != masks[0]).mean((1, 2)).max() > 0.01
        assert area.max() / area.min() < 1.1
    else:
        assert (masks[-1] != masks[0]).sum() > 0.25 * area.min()


def test_a_passer_disappears_behind_its_cover() -> None:
    found, i = find("occlude")
    areas = truth(found).masks[:, i].sum((1, 2))
    middle = len(areas) // 2
    assert areas[middle] < 0.35 * areas[0]
    assert areas[middle] < 0.35 * areas[-1]


@pytest.mark.parametrize(("camera", "sign"), [("pan left", 1), ("pan right", -1)])
def test_a_pan_moves_the_world_the_other_way(camera: str, sign: int) -> None:
    found, i = find("still", camera)
    path = centroids(truth(found).masks[:, i])
    np.testing.assert_allclose(path[-1] - path[0], (16 * sign, 0), atol=0.6)


@pytest.mark.parametrize(("camera", "factor"), [("zoom in", 1.5), ("zoom out", 1 / 1.5)])
def test_a_zoom_scales_areas(camera: str, factor: float) -> None:
    found, i = find("still", camera)
    area = truth(found).masks[:, i].sum((1, 2))
    assert area[-1] / area[0] == pytest.approx(factor**2, rel=0.1)


def test_things_stay_in_sight() -> None:
    for index in range(60):
        found = scene(8, index)
        shown = truth(found).masks.sum((2, 3))
        for i, thing in enumerate(found.cast.things):
            if thing.motion not in ("occlude", "pulse", "morph") and "zoom" not in found.cast.camera:
                assert shown[:, i].min() > 0.8 * shown[:, i].max(), short_caption(found.cast)
