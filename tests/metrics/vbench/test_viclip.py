"""overall_consistency and temporal_style: the official classes' numbers on small seeded weights, and odd clips."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness import video
from harness.api import Clip, ClipInfo, Extractor, FrameChunk, Score, UserError
from harness.features import FeatureStore, sha256_file
from metrics.vbench.frames import CLIP_MOMENTS, middle_indices, normalise
from metrics.vbench.overall_consistency import OverallConsistency
from metrics.vbench.temporal_style import TemporalStyle
from tests.metrics.vbench.clips import LONG, render, write
from tests.metrics.vbench.small import CLIPS, LENGTHS, PROMPTS, VICLIP, official, write_weights

CPU = torch.device("cpu")
SAMPLES = 9973  # official_small.py


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("clips"), *CLIPS)


def metric(weights: Path, **options: object) -> OverallConsistency:
    return OverallConsistency(
        OverallConsistency.Config(weights=str(weights), unofficial_weights=True, device="cpu", **options)
    )


def score(metric: OverallConsistency | TemporalStyle, path: Path, prompt: str | None) -> Score:
    clip = Clip("a", path, sha256_file(path), prompt)
    with FeatureStore().open(clip, metric.extractors()) as features:
        return metric.score(clip, features)


def value(found: Score) -> float:
    assert found.value is not None
    return found.value


def pieces(frames: NDArray[np.uint8], size: int) -> Iterable[FrameChunk]:
    return (FrameChunk(first, frames[first : first + size]) for first in range(0, len(frames), size))


def extract(extractor: Extractor, frames: NDArray[np.uint8], size: int = 16) -> NDArray[np.float32]:
    extractor.start(ClipInfo(len(frames), *frames.shape[1:3], 8.0))
    for chunk in pieces(frames, size):
        if extractor.push(chunk):
            break
    return extractor.finish()


# ---- parity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIPS)
def test_cosines_are_the_official_ones(name: str, weights: Path, clips: dict[str, Path]) -> None:
    """Of a clip of 2, 5, 9, 10 and 13 frames with 46 prompts; the two dimensions are one number."""
    overall, style = metric(weights), TemporalStyle(metric(weights).config)
    expected = official()["cosines"][name]
    clip = Clip("a", clips[name], sha256_file(clips[name]))
    with FeatureStore().open(clip, overall.extractors()) as features:
        found = []
        for prompt in PROMPTS:
            clip = Clip("a", clips[name], clip.sha256, prompt)
            found.append(overall.score(clip, features))
            assert style.score(clip, features) == found[-1]
    np.testing.assert_allclose([value(one) for one in found], expected, rtol=0, atol=1e-6)
    assert np.ptp(expected) > 0.1


def test_the_recorded_clips_differ_clearly() -> None:
    """A parity test on scores that are all alike would prove nothing."""
    cosines = np.array([official()["cosines"][name] for name in CLIPS])
    apart = np.abs(cosines[:, None] - cosines[None]).max(-1)
    assert apart[np.triu_indices(len(CLIPS), 1)].min() > 0.02


@pytest.mark.parametrize("name", CLIPS)
def test_the_network_sees_the_official_pixels(name: str, weights: Path, clips: dict[str, Path]) -> None:
    (extractor,) = metric(weights).native_extractors()
    frames = video.read(clips[name]).frames
    extractor.load()
    seen = [extractor.prepare(FrameChunk(0, frames), index) for index in middle_indices(8, len(frames))]
    found = normalise(torch.stack(seen), CLIP_MOMENTS).flatten()[::SAMPLES]
    np.testing.assert_allclose(found, official()["viclip_pixels"][name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [8, 16])
def test_the_frames_looked_at_are_the_official_ones(count: int) -> None:
    found = {str(frames): middle_indices(count, frames) for frames in LENGTHS}
    assert found == official()["indices"][str(count)]


# ---- streaming -------------------------------------------------------------------------------------------------


def test_the_same_from_chunks_of_any_size_and_no_frame_too_many(weights: Path) -> None:
    (extractor,) = metric(weights).native_extractors()
    frames = np.concatenate([render("slow"), render("slow")[::-1], render("slow")])
    whole = extract(extractor, frames, len(frames))
    assert np.linalg.norm(whole) == pytest.approx(1, abs=1e-6)
    for size in (1, 3, 16):
        np.testing.assert_array_equal(extract(extractor, frames, size), whole)
    wanted = middle_indices(8, len(frames))
    extractor.start(ClipInfo(len(frames), 128, 160, 8.0))
    answers = [extractor.push(chunk) for chunk in pieces(frames, 1)]
    assert answers.index(True) == wanted[-1] == 24
    assert len(extractor._seen) == 8
    other = frames.copy()
    other[[index for index in range(len(frames)) if index not in wanted]] = 0
    np.testing.assert_array_equal(extract(extractor, other), whole)
    other[wanted[3]] = 0
    assert np.abs(extract(extractor, other) - whole).max() > 1e-3


def test_fewer_frames_than_promised_give_nothing(weights: Path) -> None:
    (extractor,) = metric(weights).native_extractors()
    extractor.start(ClipInfo(20, 128, 160, 8.0))
    extractor.push(FrameChunk(0, render("slow")))
    assert extractor.finish().shape == (0,)


# ---- clips and prompts of all kinds ------------------------------------------------------------------------------


def test_a_single_frame_is_repeated(weights: Path, tmp_path: Path) -> None:
    frames = render("slow")[:1]
    video.write(tmp_path / "one.mp4", frames, 8)
    video.write(tmp_path / "eight.mp4", np.repeat(frames, 8, 0), 8)
    found = score(metric(weights), tmp_path / "one.mp4", "a red disc")
    decoded = video.read(tmp_path / "one.mp4").frames
    (extractor,) = metric(weights).native_extractors()
    repeated = extract(extractor, np.repeat(decoded, 8, 0)) @ extractor.words("a red disc").vector
    assert value(found) == pytest.approx(repeated, abs=1e-6)


def test_a_gif_has_a_score(weights: Path, tmp_path: Path) -> None:
    """The official package cannot open one for these dimensions."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in render("slow")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    frames = video.read(tmp_path / "a.gif").frames
    (extractor,) = metric(weights).native_extractors()
    expected = extract(extractor, frames) @ extractor.words("a red disc").vector
    assert value(score(metric(weights), tmp_path / "a.gif", "a red disc")) == pytest.approx(expected, abs=1e-6)


def test_frames_of_one_pixel_do_no_harm(weights: Path) -> None:
    (extractor,) = metric(weights).native_extractors()
    for shape in ((1, 1), (3, 17), (2, 30)):
        found = extract(extractor, np.full((3, *shape, 3), 120, np.uint8))
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_a_prompt_that_was_cut_says_so(weights: Path, clips: dict[str, Path]) -> None:
    judge, cut = metric(weights), " ".join(LONG.split()[:27])
    long, short = (score(judge, clips["slow"], prompt) for prompt in (LONG, cut))
    assert (long.note, long.parts) == ("of the prompt's 72 tokens, the first 30 were read", {"tokens_cut": 42})
    assert (short.note, short.parts) == ("", {"tokens_cut": 0})
    other = score(judge, clips["slow"], LONG + " and more " * 30)
    assert value(other) == value(long)
    assert other.parts == {"tokens_cut": 102}


@pytest.mark.parametrize("prompt", [None, "", "  "])
def test_a_clip_without_a_prompt_is_left_out(prompt: str | None, weights: Path, clips: dict[str, Path]) -> None:
    clip = Clip("a", clips["slow"], "0", prompt)
    assert metric(weights).skip(clip) == "it has no prompt"
    assert metric(weights).skip(Clip("a", clips["slow"], "0", "a red disc")) == ""
    standard = metric(weights, protocol="standard")
    assert standard.skip(Clip("a", clips["slow"], "0", "a red disc")) == "not a prompt of this dimension"
    meta = {"dimensions": ["overall_consistency"]}
    assert standard.skip(Clip("a", clips["slow"], "0", "a red disc", meta=meta)) == ""


# ---- weights and precision ---------------------------------------------------------------------------------------


def test_both_dimensions_share_one_network_and_prompts_are_read_once(weights: Path) -> None:
    (one,), (other,) = metric(weights).native_extractors(), TemporalStyle(metric(weights).config).native_extractors()
    assert one is other
    before = one.words.cache_info()
    assert one.words("shared words") is other.words("shared words")
    after = one.words.cache_info()
    assert (after.misses, after.hits) == (before.misses + 1, before.hits + 1)


def test_fast_is_near_and_another_evaluator(weights: Path, clips: dict[str, Path]) -> None:
    exact, fast = metric(weights), metric(weights, precision="fast")
    apart = [
        value(score(fast, clips[name], "a red disc")) - value(score(exact, clips[name], "a red disc")) for name in CLIPS
    ]
    assert 0 < np.abs(apart).max() < 0.02
    identities = [dict(judge.native_extractors()[0].identity) for judge in (exact, fast)]
    assert identities[0]["weights"] == identities[1]["weights"]
    assert identities[0] != identities[1]


def test_weights_that_do_not_fit_are_named(weights: Path, clips: dict[str, Path], tmp_path: Path) -> None:
    state = torch.load(weights / VICLIP)["model"]
    for name, change in {
        "missing": lambda s: s.pop("vision_encoder.ln_post.bias"),
        "extra": lambda s: s.update({"vision_encoder.odd": torch.zeros(1)}),
        "narrow": lambda s: s.update({"text_encoder.ln_final.weight": torch.ones(8)}),
    }.items():
        changed = dict(state)
        change(changed)
        path = tmp_path / name / VICLIP
        path.parent.mkdir(parents=True)
        torch.save({"model": changed}, path)
        (key,) = {key for key in {**state, **changed} if state.get(key) is not changed.get(key)}
        with pytest.raises(UserError, match=rf"does not fit this network: .*{key}"):
            score(metric(tmp_path / name), clips["slow"], "a red disc")
