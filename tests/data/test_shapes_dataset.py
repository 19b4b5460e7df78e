"""Knobs, scores, presets and the dataset plugin."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from harness.api import ClipSpec, UserError
from harness.data.shapes import Shapes, ShapesConfig
from harness.data.world import MQ_THRESHOLD, VQ_THRESHOLD, Knobs, render, scene
from harness.data.world.degrade import add_noise, box_blur, compress, hadamard
from harness.data.world.dice import Dice


def shapes(**config: object) -> Shapes:
    return Shapes(ShapesConfig.model_validate({"size": 8, **config}), ClipSpec())


def energy(frames: np.ndarray) -> float:
    """Mean squared Laplacian."""
    f = frames.astype(float)
    inner = f[:, 1:-1, 1:-1]
    return float(((f[:, 2:, 1:-1] + f[:, :-2, 1:-1] + f[:, 1:-1, 2:] + f[:, 1:-1, :-2] - 4 * inner) ** 2).mean())


def test_blur_lowers_quality_and_detail() -> None:
    found = scene(1, 2)
    amounts = [Knobs(blur=b) for b in (0, 1, 2, 4, 8)]
    assert all(a.vq > b.vq for a, b in pairwise(amounts))
    energies = [energy(render(found, knobs=k)) for k in amounts]
    assert all(a > 1.1 * b for a, b in pairwise(energies))


@pytest.mark.parametrize("knob", ["noise", "compression"])
def test_damage_grows_with_its_knob(knob: str) -> None:
    found = scene(1, 2)
    clean = render(found).astype(float)
    amounts = [Knobs(**{knob: amount}) for amount in (1, 3, 9, 27)]
    errors = [((render(found, knobs=k) - clean) ** 2).mean() for k in amounts]
    assert all(a < b for a, b in pairwise(errors))
    assert all(a.vq > b.vq for a, b in pairwise(amounts))
    assert errors[0] < 4


def test_noise_is_uniform_and_centred() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    noise = add_noise(grey, 10, Dice(1)).astype(int) - 128
    assert (noise.min(), noise.max()) == (-10, 10)
    assert abs(noise.mean()) < 0.15
    assert noise.var() == pytest.approx((21**2 - 1) / 12, rel=0.03)


def test_hadamard_is_its_own_inverse_up_to_64() -> None:
    values = (np.arange(128).reshape(8, 8, 2) % 37).astype(np.float32)
    np.testing.assert_array_equal(hadamard(hadamard(values)), 64 * values)
    signs = np.array([[1]])
    for _ in range(3):
        signs = np.block([[signs, signs], [signs, -signs]])
    np.testing.assert_array_equal(hadamard(values)[..., 1], signs @ values[..., 1] @ signs)


def test_flat_pictures_survive_blur_and_compression() -> None:
    flat = np.full((2, 20, 28, 3), 128, np.uint8)
    np.testing.assert_array_equal(box_blur(flat), flat)
    np.testing.assert_array_equal(compress(flat, 50), flat)


def test_motion_knobs() -> None:
    found = next(s for s in (scene(1, i) for i in range(50)) if s.cast.things[0].motion == "orbit")
    change = {
        name: np.abs(np.diff(render(found, knobs=knobs).astype(int), axis=0)).mean()
        for name, knobs in {
            "fast": Knobs(pace=1.3),
            "plain": Knobs(),
            "slow": Knobs(pace=0.2),
            "paused": Knobs(pace=0.0),
            "frozen": Knobs(frozen=1.0),
            "mixed": Knobs(shuffle=1.0),
        }.items()
    }
    assert change["paused"] == change["frozen"] == 0
    assert change["slow"] < 0.5 * change["plain"]
    assert change["plain"] < change["fast"]
    assert change["mixed"] > 1.5 * change["plain"]
    half = render(found, knobs=Knobs(frozen=0.5))
    assert (half[8:] == half[8]).all()
    np.testing.assert_array_equal(half[:9], render(found)[:9])


def test_motion_quality_is_monotone() -> None:
    paces = [Knobs(pace=p).mq for p in (0, 0.1, 0.5, 1.0, 1.3)]
    assert paces == sorted(paces)
    assert (paces[0], paces[-1]) == (0, pytest.approx(1.25 * 1.3 / 1.65))
    assert Knobs(frozen=1).mq == 0
    assert Knobs(shuffle=0.5).mq == pytest.approx(0.6 * Knobs().mq)
    assert Knobs(blur=2).scores()["vq"] == pytest.approx(1.2 + 3 / 2)
    assert Knobs().quadrant() == "HMHV"


def test_set_a_has_the_papers_proportions_and_correlation() -> None:
    data = shapes(size=2800, preset="set-a")
    raw = np.array([(row.scores["mq"], row.scores["vq"]) for row in data.rows()])
    counts = Counter(data.knobs(i).quadrant() for i in range(2800))
    for quadrant, share in {"HMHV": 1000, "HMLV": 800, "LMHV": 800, "LMLV": 200}.items():
        assert counts[quadrant] == pytest.approx(share, abs=100)
    assert np.corrcoef(raw.T)[0, 1] == pytest.approx(-0.24, abs=0.05)  # TQD: -0.2419 on Koala-36M
    assert np.abs(raw[:, 0] - MQ_THRESHOLD).min() > 0.05
    assert np.abs(raw[:, 1] - VQ_THRESHOLD).min() > 0.05


@pytest.mark.parametrize(("preset", "kinds"), [("set-b", {"HMLV", "LMHV"}), ("set-c", {"HMHV"}), ("clean", {"HMHV"})])
def test_other_presets(preset: str, kinds: set[str]) -> None:
    data = shapes(size=200, preset=preset)
    assert {data.knobs(i).quadrant() for i in range(200)} == kinds
    if preset == "set-c":
        assert all(any(o["motion"] != "still" for o in row.meta["objects"]) for row in data.rows())


def test_rows_carry_words_scores_and_truth() -> None:
    short, long = shapes(), shapes(caption="long")
    for index, (a, b) in enumerate(zip(short.rows(), long.rows(), strict=True)):
        assert a.prompt == a.short_prompt == b.short_prompt != b.prompt
        assert a.id == b.id == f"train-0-{index:06d}"
        assert json.loads(json.dumps(a.meta)) == a.meta
        assert [o["colour"] in a.prompt for o in a.meta["objects"]] == [True] * len(short.scene(index).bodies)
    assert short.video(3).shape == (17, 64, 64, 3)
    assert short.truth(3).masks.shape == (17, len(short.rows()[3].meta["objects"]), 64, 64)


def test_a_clip_does_not_depend_on_the_size_of_its_set() -> None:
    np.testing.assert_array_equal(shapes(size=4).video(2), shapes(size=400).video(2))


def test_the_digest_names_config_and_spec() -> None:
    digests = {
        shapes().digest(),
        shapes(seed=1).digest(),
        shapes(preset="set-a").digest(),
        shapes(split="heldout").digest(),
        Shapes(ShapesConfig(size=8), ClipSpec(fps=16)).digest(),
    }
    assert len(digests) == 5
    assert shapes().digest() == shapes().digest()


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="no row 8"):
        shapes().video(8)
    with pytest.raises(UserError, match="no row -1"):
        shapes().knobs(-1)
    with pytest.raises(ValidationError):
        ShapesConfig.model_validate({"size": 8, "presett": "set-a"})
