"""background_consistency, aesthetic_quality, appearance_style: the official package's scores on small CLIPs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from harness import video
from harness.api import Clip, ClipInfo, FrameChunk, UserError
from metrics.vbench.aesthetic_quality import AestheticQuality, aesthetic_quality
from metrics.vbench.appearance_style import AppearanceStyle, ClipPilFrames, appearance_style, style
from metrics.vbench.background_consistency import BackgroundConsistency
from metrics.vbench.dimension import Dimension
from metrics.vbench.networks import openai_clip
from metrics.vbench.seeded import clip as seeded_clip
from metrics.vbench.seeded import laion, write_all
from tests.metrics.vbench.clips import SHOTS, render, write
from tests.metrics.vbench.native import make, official, score

CPU = torch.device("cpu")
KINDS: dict[str, type[Dimension]] = {
    kind.dimension: kind for kind in (BackgroundConsistency, AestheticQuality, AppearanceStyle)
}
RECORDED = [(dimension, name) for dimension in KINDS for name in SHOTS if name in official(dimension)]


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize(("dimension", "name"), RECORDED)
def test_scores_are_the_official_ones(dimension: str, name: str, weights: Path, clips: dict[str, Path]) -> None:
    found = score(make(KINDS[dimension], weights), clips[name])
    assert found.value == pytest.approx(official(dimension)[name], abs=1e-6)


def test_every_recorded_clip_has_its_own_scores() -> None:
    """So that the tests above would notice frames or styles that were mixed up."""
    assert len(RECORDED) == 3 * len(SHOTS)
    for dimension in KINDS:
        assert min(np.diff(sorted(official(dimension).values()))) > 1e-4


@pytest.mark.parametrize("dimension", KINDS)
def test_fast_is_near_exact_and_not_it(dimension: str, weights: Path, clips: dict[str, Path]) -> None:
    found = score(make(KINDS[dimension], weights, precision="fast"), clips["slow"]).value
    assert found is not None
    assert 0 < abs(found - official(dimension)["slow"]) < 2e-3


# ---- formulas ----------------------------------------------------------------------------------------------------


def test_laions_score_is_a_tenth_of_the_mean() -> None:
    assert aesthetic_quality(np.array([4, 5, 7.5], np.float32)).value == pytest.approx(0.55)


def test_laions_head_sees_features_of_length_one() -> None:
    head = torch.nn.Linear(2, 1)
    head.weight.data, head.bias.data = torch.tensor([[1.0, 2.0]]), torch.tensor([0.5])
    found = openai_clip.laion(head, torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
    torch.testing.assert_close(found, torch.tensor([0.6 + 1.6 + 0.5] * 2))


def test_style_is_the_mean_cosine_times_the_scale_over_a_hundred() -> None:
    images = np.array([[2, 0], [0, 3], [-1, 0]], np.float32)
    found = appearance_style(images, np.array([5, 0], np.float32), 100.0)
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.parts == {"frames": 3}
    assert appearance_style(images[:2], np.array([5, 0], np.float32), 50.0).value == pytest.approx(0.25)


def test_a_single_frame_has_style_and_beauty_but_no_consistency(weights: Path, tmp_path: Path) -> None:
    video.write(tmp_path / "one.mp4", render("pair")[:1], 8)
    values = {name: score(make(kind, weights), tmp_path / "one.mp4").value for name, kind in KINDS.items()}
    assert values["background_consistency"] is None
    assert 0.2 < values["aesthetic_quality"] < 0.8  # type: ignore[operator]
    assert -0.5 < values["appearance_style"] < 0.5  # type: ignore[operator]


def test_a_gif_is_scored_by_its_frames(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    colours = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue", "red")]
    colours[0].save(tmp_path / "a clip's.gif", save_all=True, append_images=colours[1:], duration=125)
    found = score(make(BackgroundConsistency, weights), tmp_path / "a clip's.gif")
    assert found.parts == {"pairs": 2}
    assert found.value is not None
    assert 0.25 <= found.value < 0.99  # red and blue are not alike, but the last frame is the first again


# ---- the style's name --------------------------------------------------------------------------------------------


def test_a_clip_without_a_style_is_named() -> None:
    for meta in ({}, {"auxiliary_info": {}}, {"auxiliary_info": {"appearance_style": "cubism"}}):
        with pytest.raises(UserError, match="clip-7 has no style"):
            style(Clip("clip-7", Path("x"), "", meta=meta))


def test_a_style_of_200_words_is_refused_as_openais_tokeniser_does(weights: Path) -> None:
    (extractor,) = make(AppearanceStyle, weights).native_extractors()
    assert isinstance(extractor, ClipPilFrames)
    extractor.text("word " * 75)
    with pytest.raises(UserError, match="78 tokens of text, CLIP takes 77"):
        extractor.text("word " * 76)


def test_a_text_is_encoded_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (extractor,) = make(AppearanceStyle, weights).native_extractors()
    assert isinstance(extractor, ClipPilFrames)
    first, scale = extractor.text("pointillism")
    monkeypatch.setattr(openai_clip, "tokens", None)
    assert extractor.text("pointillism")[0] is first
    assert scale == pytest.approx(100)


# ---- networks and files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip_model/ViT-B-32.pt", "clip_model/ViT-L-14.pt"])
def test_embeddings_are_open_clips(name: str, weights: Path) -> None:
    write_all(weights, ["background_consistency", "aesthetic_quality"], 0, small=True)
    net, images = openai_clip.load(weights / name, CPU), torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(openai_clip.embed(net, images), net.encode_image(images), rtol=0, atol=2e-6)


def test_openai_clip_and_we_round_to_half_precision(tmp_path: Path) -> None:
    """A file with single-precision matrices is read as if its matrices were half."""
    seeded_clip.write_small_b32(tmp_path / "half.pt", 3)
    half = torch.jit.load(tmp_path / "half.pt").state_dict()
    assert half["visual.conv1.weight"].dtype is torch.float16
    assert half["token_embedding.weight"].dtype is torch.float32
    assert half["input_resolution"].item() == 224
    torch.save({name: value for name, value in half.items() if value.ndim or name == "logit_scale"}, tmp_path / "a.pt")
    doubled = {name: value.float() * (1 + 1e-5) for name, value in half.items() if value.ndim or name == "logit_scale"}
    torch.save(doubled, tmp_path / "b.pt")
    nets = [openai_clip.load(tmp_path / f"{name}.pt", CPU) for name in ("half", "a", "b")]
    for net in nets[1:]:
        assert torch.equal(net.visual.conv1.weight, nets[0].visual.conv1.weight)
    assert nets[0].visual.conv1.weight.dtype is torch.float32


def test_one_clip_serves_both_ways_of_resizing(weights: Path) -> None:
    (plain,) = make(BackgroundConsistency, weights).native_extractors()
    (antialiased,) = make(AppearanceStyle, weights).native_extractors()
    for extractor in (plain, antialiased):
        extractor.start(ClipInfo(1, 64, 64, 8))
        extractor.push(FrameChunk(0, render("pair")[:1]))
    assert plain.net is antialiased.net  # type: ignore[attr-defined]
    assert not np.allclose(plain.finish(), antialiased.finish(), atol=1e-2)


def test_pieces_of_a_clip_do_not_change_it(weights: Path) -> None:
    frames = render("fast")
    for kind in KINDS.values():
        (extractor,) = make(kind, weights).native_extractors()
        found = []
        for size in (16, 1, 3):
            extractor.start(ClipInfo(len(frames), *frames.shape[1:3], 24))
            for first in range(0, len(frames), size):
                extractor.push(FrameChunk(first, frames[first : first + size]))
            found.append(extractor.finish())
        assert len(found[0]) == 13
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=0, atol=3e-6)


def test_a_clip_forgets_the_one_before(weights: Path) -> None:
    (extractor,) = make(BackgroundConsistency, weights).native_extractors()
    for frames in (render("pair"), render("pair")[:1]):
        extractor.start(ClipInfo(len(frames), 128, 128, 8))
        extractor.push(FrameChunk(0, frames))
    assert extractor.finish().shape == (1, 512)
    assert extractor.finish().shape == (0,)


def test_an_extractor_holds_one_row_per_frame_and_no_frames(weights: Path) -> None:
    (extractor,) = make(BackgroundConsistency, weights).native_extractors()
    extractor.start(ClipInfo(20, 128, 128, 8))
    for first in range(0, 20, 2):
        extractor.push(FrameChunk(first, render("pair")))
    rows = extractor._rows  # type: ignore[attr-defined]
    assert sum(row.untyped_storage().nbytes() for row in rows) == 20 * 512 * 4
    assert extractor.finish().shape == (20, 512)
    assert extractor._rows == []  # type: ignore[attr-defined]


def test_files_that_are_not_openais_are_named(weights: Path, tmp_path: Path) -> None:
    make(AestheticQuality, weights)
    text, other = tmp_path / "text.pt", tmp_path / "other.pt"
    text.write_text("not an archive")
    shutil.copy(weights / "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth", other)
    with pytest.raises(UserError, match=r"text\.pt is damaged"):
        openai_clip.load(text, CPU)
    with pytest.raises(UserError, match=r"other\.pt is no CLIP of OpenAI's"):
        openai_clip.load(other, CPU)
    with pytest.raises(UserError, match=r"ViT-L-14\.pt does not fit this network"):
        openai_clip.load_laion(weights / "clip_model/ViT-L-14.pt")


def test_the_tokeniser_is_given_the_nets_context(weights: Path) -> None:
    (extractor,) = make(AppearanceStyle, weights).native_extractors()
    extractor.start(ClipInfo(1, 8, 8, 8))
    found = openai_clip.tokens("Café “Noir”", extractor.net, "x")  # type: ignore[attr-defined]
    assert found.shape == (1, 77)
    assert torch.equal(found, open_clip.SimpleTokenizer()("Café “Noir”"))


# ---- seeded weights ----------------------------------------------------------------------------------------------


def test_seeded_weights_are_a_function_of_seed_and_name(tmp_path: Path) -> None:
    for number, seed in enumerate((1, 1, 2)):
        laion.write(tmp_path / f"{number}.pth", seed)
        seeded_clip.write_small_l14(tmp_path / f"{number}.pt", seed)
    heads = [torch.load(tmp_path / f"{number}.pth", weights_only=True)["weight"] for number in range(3)]
    nets = [torch.jit.load(tmp_path / f"{number}.pt").state_dict() for number in range(3)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())
    assert not torch.equal(nets[0]["visual.proj"], nets[2]["visual.proj"])
    assert nets[0].keys() == open_clip_names()
    assert write_all(tmp_path, ["background_consistency"], 1, small=True) == [tmp_path / "clip_model/ViT-B-32.pt"]


def open_clip_names() -> set[str]:
    """OpenAI's for two image and one text layer, spelled out."""
    block = {
        f"{part}.{kind}"
        for part in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "attn.out_proj")
        for kind in ("weight", "bias")
    } | {"attn.in_proj_weight", "attn.in_proj_bias"}
    visual = {"class_embedding", "positional_embedding", "proj", "conv1.weight"}
    visual |= {f"{norm}.{kind}" for norm in ("ln_pre", "ln_post") for kind in ("weight", "bias")}
    visual |= {f"transformer.resblocks.{layer}.{name}" for layer in (0, 1) for name in block}
    text = {"positional_embedding", "text_projection", "logit_scale", "token_embedding.weight"}
    text |= {"ln_final.weight", "ln_final.bias", "input_resolution", "context_length", "vocab_size"}
    return text | {f"visual.{name}" for name in visual} | {f"transformer.resblocks.0.{name}" for name in block}
