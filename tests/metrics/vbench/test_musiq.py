"""imaging_quality: the official package's scores, MUSIQ's patches and positions, sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness import video
from harness.api import ClipInfo, FrameChunk, UserError
from metrics.vbench.imaging_quality import ImagingQuality, MusiqFrames, imaging_quality, largest_size
from metrics.vbench.networks.musiq import Block, Musiq, hashed, load, pyramid, same, shrink, tiles
from tests.metrics.vbench.clips import SHOTS, render, write
from tests.metrics.vbench.native import make, official, score


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> ImagingQuality:
    return make(ImagingQuality, tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("name", ["pair", "odd", "wide"])
def test_scores_are_the_official_ones(name: str, metric: ImagingQuality, tmp_path: Path) -> None:
    found = score(metric, write(tmp_path, name)[name])
    expected = official("imaging_quality")[name]
    assert found.parts == {"official": pytest.approx(expected, abs=1e-4)}
    assert found.value == pytest.approx(expected / 100, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOTS)
def test_all_scores_are_the_official_ones(name: str, metric: ImagingQuality, tmp_path: Path) -> None:
    found = score(metric, write(tmp_path, name)[name])
    assert found.value == pytest.approx(official("imaging_quality")[name] / 100, abs=1e-6)


def test_the_recorded_scores_tell_clips_apart() -> None:
    values = sorted(official("imaging_quality").values())
    assert values[-1] - values[0] > 3
    assert min(np.diff(values)) > 0.01


def test_a_clip_is_the_mean_of_its_frames() -> None:
    found = imaging_quality(np.array([10, 20, 60], np.float32))
    assert found.value == pytest.approx(0.3)
    assert found.parts == {"official": 30.0}


# ---- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 832), (295, 512)),  # 295.4
        ((832, 480), (512, 295)),
        ((512, 512), (512, 512)),
        ((100, 513), (99, 512)),
        ((720, 1280), (288, 512)),
        ((64, 500), (64, 500)),
        ((300, 561), (273, 511)),  # 512 / 561 * 561 falls short of 512
    ],
)
def test_the_longer_side_becomes_512_or_511(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert largest_size(*size) == expected


def test_frames_thinner_than_a_pixel_are_refused(metric: ImagingQuality) -> None:
    (extractor,) = metric.native_extractors()
    with pytest.raises(UserError, match="800x2 px"):  # 512x1, then 224x0.4375: rounded to nothing
        extractor.start(ClipInfo(1, 2, 800, 8))
    extractor.start(ClipInfo(1, 3, 600, 8))


# ---- patches -----------------------------------------------------------------------------------------------------


def test_patches_are_cut_row_by_row_from_the_padded_image() -> None:
    """40 x 70: 12 rows padded below and above, 13 columns left and right."""
    image = torch.arange(40 * 70.0).view(1, 1, 40, 70).expand(1, 3, 40, 70) + 1
    patches, rows, columns = tiles(image)
    assert (patches.shape, rows, columns) == ((1, 6, 3, 32, 32), 2, 3)
    unfolded = torch.nn.functional.unfold(torch.nn.functional.pad(image, (13, 13, 12, 12)), 32, stride=32)
    torch.testing.assert_close(patches.flatten(2).transpose(1, 2), unfolded, rtol=0, atol=0)


def test_an_odd_pixel_of_padding_goes_to_the_end() -> None:
    assert same(torch.ones(1, 1, 16, 16), 3, 2).shape == (1, 1, 17, 17)
    padded = same(torch.ones(1, 1, 16, 16), 3, 2)[0, 0]
    assert (padded[0].sum(), padded[-1].sum()) == (16, 0)
    assert same(torch.ones(1, 1, 32, 32), 7, 2).shape == (1, 1, 37, 37)  # 2 before, 3 after


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0]), (3, [0, 3, 6]), (7, [0, 1, 2, 4, 5, 7, 8]), (12, [0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])],
)
def test_positions_are_hashed_to_a_grid_of_ten(count: int, expected: list[int]) -> None:
    assert hashed(1, count).tolist() == expected
    assert hashed(count, 1).tolist() == [10 * cell for cell in expected]
    assert hashed(2, 2).tolist() == [0, 5, 50, 55]


def test_three_scales_without_the_patches_that_only_pad() -> None:
    patches, places, scales = pyramid(torch.rand(2, 3, 100, 200))
    assert patches.shape == (2, 4 * 7 + 6 * 12 + 4 * 7, 3, 32, 32)
    assert scales.bincount().tolist() == [28, 72, 28]
    assert len(places) == 128
    assert shrink(torch.zeros(1, 3, 100, 200), 224).shape[-2:] == (112, 224)  # small frames are enlarged


def test_small_numbers_that_random_weights_do_not_show() -> None:
    """What pyiqa's layers add to a variance."""
    with torch.device("meta"):
        net = Musiq()
    found = {name: layer.eps for name, layer in net.named_modules() if hasattr(layer, "eps")}
    assert len(found) == 1 + 4 + 2 * 14 + 1
    assert {name for name, eps in found.items() if eps == 1e-4} == {f"block1.gn{n}" for n in ("1", "2", "3", "_proj")}
    assert set(found.values()) == {1e-4, 1e-6}


def test_fast_is_near_exact_and_not_it(metric: ImagingQuality, tmp_path: Path) -> None:
    fast = make(ImagingQuality, Path(str(metric.config.weights)), precision="fast")
    found = score(fast, write(tmp_path, "pair")["pair"]).value
    assert found is not None
    assert 0 < abs(found - official("imaging_quality")["pair"] / 100) < 2e-3


def test_a_block_gives_the_first_tokens_alone() -> None:
    torch.manual_seed(0)
    block, tokens = Block(), torch.randn(2, 5, 384)
    with torch.no_grad():
        torch.testing.assert_close(block(tokens, first=1), block(tokens)[:, :1], rtol=0, atol=1e-5)


# ---- streaming, files --------------------------------------------------------------------------------------------


def run(extractor: MusiqFrames, frames: np.ndarray, size: int) -> np.ndarray:
    extractor.start(ClipInfo(len(frames), *frames.shape[1:3], 8))
    for first in range(0, len(frames), size):
        extractor.push(FrameChunk(first, frames[first : first + size]))
    return extractor.finish()


def test_pieces_and_batches_do_not_change_a_clip(metric: ImagingQuality, monkeypatch: pytest.MonkeyPatch) -> None:
    (extractor,) = metric.native_extractors()
    frames = render("odd")[:3, :64, :64]
    one = run(extractor, frames, 1)
    np.testing.assert_allclose(run(extractor, frames, 16), one, rtol=0, atol=1e-4)
    monkeypatch.setattr(MusiqFrames, "batch", 3)
    np.testing.assert_allclose(run(extractor, frames, 2), one, rtol=0, atol=1e-4)


def test_a_clip_of_one_frame_and_tiny_frames_have_a_score(metric: ImagingQuality, tmp_path: Path) -> None:
    video.write(tmp_path / "dot.mp4", render("pair")[:1, :12, :14], 8)
    found = score(metric, tmp_path / "dot.mp4").value
    assert found is not None
    assert 0.2 < found < 0.8


def test_a_file_of_another_network_is_named(metric: ImagingQuality, tmp_path: Path) -> None:
    path = tmp_path / "musiq.pth"
    torch.save({"params": {"head.weight": torch.zeros(1, 384)}}, path)
    with pytest.raises(UserError, match="no tensors by name"):
        load(path)
    torch.save({"head.weight": torch.zeros(1, 384)}, path)
    with pytest.raises(UserError, match=r"does not fit.*conv_root"):
        load(path)
