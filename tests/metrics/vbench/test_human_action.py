"""human_action: the official classes' probabilities on small seeded weights, the decision, and what names an action."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import video
from harness.api import Clip, FrameChunk, Score, UserError
from harness.features import FeatureStore, sha256_file
from metrics.vbench.frames import IMAGENET_MOMENTS, middle_indices, normalise
from metrics.vbench.human_action import HumanAction, action, actions, recognised
from metrics.vbench.networks import umt
from metrics.vbench.networks.umt import PLACES, Sizes, load, positions
from metrics.vbench.prompts import prompts_of
from metrics.vbench.table import table
from tests.metrics.vbench.clips import render, write
from tests.metrics.vbench.small import CLIPS, UMT, official, write_weights

SAMPLES = 9973  # official_small.py


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("clips"), *CLIPS)


def metric(weights: Path, **options: object) -> HumanAction:
    return HumanAction(HumanAction.Config(weights=str(weights), unofficial_weights=True, device="cpu", **options))


def score(metric: HumanAction, path: Path, prompt: str) -> Score:
    clip = Clip("a", path, sha256_file(path), prompt)
    with FeatureStore().open(clip, metric.extractors()) as features:
        return metric.score(clip, features)


# ---- parity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIPS)
def test_probabilities_and_decisions_are_the_official_ones(name: str, weights: Path, clips: dict[str, Path]) -> None:
    """All 400 probabilities; and for every action, whether a clip of it would have passed."""
    judge, expected = metric(weights), np.array(official()["probabilities"][name])
    clip = Clip("a", clips[name], sha256_file(clips[name]))
    with FeatureStore().open(clip, judge.extractors()) as features:
        found = features.of(*judge.extractors())
        passed = [
            recognised(found, label) == judge.score(Clip("a", clip.path, clip.sha256, f"a person is {label}"), features)
            and recognised(found, label).value
            for label in actions()
        ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    top = [label for label in np.argsort(-expected)[:5] if round(expected[label], 4) >= 0.85]
    assert np.flatnonzero(passed).tolist() == sorted(top)
    assert 1 <= len(top) <= 5


def test_the_recorded_clips_are_recognised_as_different_things() -> None:
    found = [tuple(np.argsort(official()["probabilities"][name])[-2:]) for name in CLIPS]
    assert len(set(found)) == len(CLIPS)
    assert {sum(p >= 0.85 for p in official()["probabilities"][name]) for name in CLIPS} >= {1, 3, 5}


@pytest.mark.parametrize("name", CLIPS)
def test_the_network_sees_the_official_pixels(name: str, weights: Path, clips: dict[str, Path]) -> None:
    (extractor,) = metric(weights).native_extractors()
    frames = video.read(clips[name]).frames
    seen = [extractor.prepare(FrameChunk(0, frames), index) for index in middle_indices(16, len(frames))]
    found = normalise(torch.stack(seen), IMAGENET_MOMENTS).transpose(0, 1).flatten()[::SAMPLES]
    np.testing.assert_allclose(found, official()["umt_pixels"][name], rtol=0, atol=1e-6)


def test_positions_are_the_official_ones() -> None:
    np.testing.assert_allclose(positions(64).flatten()[::SAMPLES], official()["positions"], rtol=0, atol=1e-6)
    table = positions(64).view(16, PLACES, 64)
    torch.testing.assert_close(table[0, 0, :4], torch.tensor([0.0, 1, 0, 1]))


# ---- the decision ------------------------------------------------------------------------------------------------


def chances(**known: float) -> np.ndarray:
    """Probabilities with these actions' (underscores for spaces) and 0.1 for all others."""
    found = np.full(400, 0.1, np.float32)
    for name, chance in known.items():
        found[actions().index(name.replace("_", " "))] = chance
    return found


def test_five_best_of_at_least_085() -> None:
    best = chances(yoga=0.99, jogging=0.95, archery=0.93, marching=0.92, bowling=0.91, singing=0.9, crying=0.5)
    assert [recognised(best, label).value for label in ("yoga", "bowling", "singing", "crying")] == [1, 1, 0, 0]
    assert recognised(best, "bowling").parts == pytest.approx({"probability": 0.91, "highest": 0.99})
    edge = chances(yoga=0.84996, jogging=0.84994)  # rounded to four digits first
    assert [recognised(edge, label).value for label in ("yoga", "jogging")] == [1, 0]


def test_an_unknown_action_is_never_recognised() -> None:
    found = recognised(chances(yoga=0.99), "levitating")
    assert found == Score(0.0, {"highest": pytest.approx(0.99)}, '"levitating" is none of the 400 actions')


# ---- what names an action ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A person is riding a bike", "riding a bike"),
        ("a PERSON IS Tai Chi", "tai chi"),
        ("A person is petting animal (not cat)", "petting animal (not cat)"),
        ("yoga", "yoga"),
        ("A person is yoga-ing", "yoga"),
        ("A person is yoga_2", "yoga"),
        ("the person is a person is yoga", "yoga"),
        ("A person is riding a bike.", "riding a bike."),  # the full stop makes it another action, officially too
    ],
)
def test_the_official_rule_for_file_names_reads_prompts(prompt: str, expected: str) -> None:
    assert action(prompt) == expected


def test_every_official_prompt_names_an_action() -> None:
    prompts = prompts_of("human_action")
    assert len(prompts) == 100
    assert {action(prompt) for prompt in prompts} <= set(actions())
    assert len(actions()) == len(set(actions())) == 400
    assert hashlib.sha256("\n".join(actions()).encode()).hexdigest() == official()["actions"]  # in the classes' order


def test_a_prompt_without_an_action_is_left_out_unless_it_is_vbenchs(weights: Path, clips: dict[str, Path]) -> None:
    def clip(prompt: str | None) -> Clip:
        return Clip("a", clips["slow"], "0", prompt, meta={"dimensions": ["human_action"]})

    custom, standard = metric(weights), metric(weights, protocol="standard")
    for prompt in ("a cat", "", None):
        assert custom.skip(clip(prompt)) == "its prompt names none of Kinetics' 400 actions"
        assert standard.skip(clip(prompt)) == ""
    assert custom.skip(clip("A person is yoga")) == ""
    assert standard.skip(Clip("a", clips["slow"], "0", "A person is yoga")) == "not a prompt of this dimension"
    assert score(standard, clips["slow"], "a cat").value == 0


# ---- clips and weights of all kinds ------------------------------------------------------------------------------


def test_single_frames_and_gifs_have_a_score(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in render("slow")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    video.write(tmp_path / "one.mp4", render("slow")[:1], 8)
    for name in ("a.gif", "one.mp4"):
        found = score(metric(weights), tmp_path / name, "A person is yoga")
        assert found.value in {0.0, 1.0}
        assert 0 < found.parts["probability"] <= found.parts["highest"] < 1


def test_fast_is_near(weights: Path, clips: dict[str, Path]) -> None:
    exact, fast = metric(weights), metric(weights, precision="fast")
    apart = []
    for name in CLIPS:
        clip = Clip("a", clips[name], sha256_file(clips[name]))
        with FeatureStore().open(clip, [*exact.extractors(), *fast.extractors()]) as features:
            apart.append(np.abs(features.of(*exact.extractors()) - features.of(*fast.extractors())).max())
    assert 0 < max(apart) < 0.02


def test_positions_in_the_file_count(weights: Path, tmp_path: Path) -> None:
    """The published file has none; one that has them means them."""
    state = torch.load(weights / UMT)
    assert {value.dtype for value in state.values()} == {torch.float16}
    torch.save({**state, "pos_embed": torch.zeros(1, 16 * PLACES, 64)}, tmp_path / "zeros.pth")
    torch.save({**state, "pos_embed": positions(64)}, tmp_path / "same.pth")
    x = torch.randn(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, same, zeros = (
            load(p, "the test")(x) for p in (weights / UMT, tmp_path / "same.pth", tmp_path / "zeros.pth")
        )
    torch.testing.assert_close(same, plain)
    assert (zeros - plain).abs().max() > 0.01


def test_weights_that_vbench_would_ignore_are_refused(weights: Path, tmp_path: Path) -> None:
    """The official loader is not strict: with any of these it would score with random numbers."""
    state = torch.load(weights / UMT)
    for content, message in (
        ({key: value for key, value in state.items() if key != "blocks.1.attn.v_bias"}, r"blocks\.1\.attn\.v_bias"),
        ({**state, "blocks.0.gamma_1": torch.ones(64)}, r"blocks\.0\.gamma_1"),
        ({f"encoder.{key}": value for key, value in state.items()}, "no UMT checkpoint"),
        ({"model": state}, "holds no tensors by name"),
    ):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(UserError, match=message):
            load(tmp_path / "a.pth", "the test")


def test_the_published_files_size_is_that_of_the_network() -> None:
    """607 024 201 bytes: two for every number but the positions, and a tenth of a permille for the names."""
    with torch.device("meta"):
        net = umt.UMT(Sizes())
    numbers = sum(value.numel() for name, value in net.named_parameters() if name != "pos_embed")
    (entry,) = (entry for entry in table().files if entry.file == UMT)
    assert numbers == 303_484_304
    assert entry.size == pytest.approx(2 * numbers, rel=1e-4)
