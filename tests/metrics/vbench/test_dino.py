"""subject_consistency: the official package's scores, DINO's positions, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api import ClipInfo, FrameChunk, UserError
from metrics.vbench.dimension import shared
from metrics.vbench.frames import IMAGENET_MOMENTS, normalise
from metrics.vbench.networks.dino import class_token, empty, load, positions
from metrics.vbench.subject_consistency import DinoFrames, SubjectConsistency
from tests.metrics.vbench.clips import SHOTS, render, write
from tests.metrics.vbench.native import make, official, score


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> SubjectConsistency:
    return make(SubjectConsistency, tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("name", ["pair", "flicker"])
def test_scores_are_the_official_ones(name: str, metric: SubjectConsistency, tmp_path: Path) -> None:
    found = score(metric, write(tmp_path, name)[name])
    assert found.value == pytest.approx(official("subject_consistency")[name], abs=1e-6)
    assert found.parts == {"pairs": SHOTS[name].frames - 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOTS)
def test_all_scores_are_the_official_ones(name: str, metric: SubjectConsistency, tmp_path: Path) -> None:
    found = score(metric, write(tmp_path, name)[name])
    assert found.value == pytest.approx(official("subject_consistency")[name], abs=1e-6)


def test_frames_that_are_not_square_keep_their_proportions(metric: SubjectConsistency, tmp_path: Path) -> None:
    """A frame of 90 x 70, with the network written out: 18 x 14 patches, no crop."""
    (extractor,) = metric.native_extractors()
    features = run(extractor, render("odd")[:1], 1)
    net, frame = extractor.net, torch.from_numpy(render("odd")[:1]).permute(0, 3, 1, 2).float()
    images = torch.nn.functional.interpolate(frame, (288, 224), mode="bilinear", align_corners=False)
    images = normalise(images, IMAGENET_MOMENTS)
    with torch.no_grad():
        tokens = torch.cat([net.vit.cls_token, net.vit.patch_embed.proj(images).flatten(2).transpose(1, 2)], 1)
        expected = net.vit.norm(net.vit.blocks(tokens + positions(net.vit.pos_embed, 288, 224)))[:, 0]
    np.testing.assert_allclose(features, expected, rtol=0, atol=2e-5)


def test_the_last_block_is_cut_short_without_a_trace() -> None:
    torch.manual_seed(0)
    block = empty().blocks[0].to_empty(device="cpu")
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    tokens = torch.randn(2, 5, 768)
    with torch.no_grad():
        torch.testing.assert_close(class_token(block, tokens), block(tokens)[:, 0], rtol=0, atol=1e-5)


# ---- positions ---------------------------------------------------------------------------------------------------


def test_positions_of_the_trained_size_are_untouched() -> None:
    table = torch.randn(1, 197, 4)
    assert positions(table, 224, 224) is table


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys's kernel with a = -0.75, torch's."""
    d = np.abs(distance)
    near, far = (1.25 * d - 2.25) * d * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(224, 388, 14, 24), (224, 224 + 15, 14, 14)])
def test_positions_are_sampled_a_tenth_of_a_patch_off(height: int, width: int, rows: int, columns: int) -> None:
    """At `(i + 1/2) * 14 / (patches + 1/10) - 1/2` along each axis."""
    values = np.random.default_rng(0).normal(size=(14, 14))
    table = torch.from_numpy(np.append(100.0, values)[None, :, None])
    found = positions(table, height, width)
    assert found.shape == (1, 1 + rows * columns, 1)
    assert found[0, 0, 0] == 100
    weights = []
    for count in (rows, columns):
        places = (np.arange(count) + 0.5) * 14 / (count + 0.1) - 0.5
        matrix = np.zeros((count, 14))
        for tap in range(-2, 16):
            matrix[:, min(max(tap, 0), 13)] += cubic(places - tap)
        weights.append(matrix)
    expected = weights[0] @ values @ weights[1].T
    np.testing.assert_allclose(found[0, 1:, 0], expected.flatten(), rtol=0, atol=1e-12)


# ---- streaming ---------------------------------------------------------------------------------------------------


def run(extractor: DinoFrames, frames: np.ndarray, size: int) -> np.ndarray:
    extractor.start(ClipInfo(len(frames), *frames.shape[1:3], 8))
    for first in range(0, len(frames), size):
        assert extractor.push(FrameChunk(first, frames[first : first + size])) is False
    return extractor.finish()


def test_pieces_of_a_clip_do_not_change_it(metric: SubjectConsistency) -> None:
    (extractor,) = metric.native_extractors()
    whole = run(extractor, render("pair"), 16)
    assert whole.shape == (2, 768)
    np.testing.assert_allclose(run(extractor, render("pair"), 1), whole, rtol=0, atol=1e-5)


# ---- files -------------------------------------------------------------------------------------------------------


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint was run')",)


def spoil(path: Path, how: str) -> None:
    state = {name: torch.zeros(1).expand(value.shape) for name, value in empty().state_dict().items()}
    if how == "text":
        path.write_text("not a checkpoint")
    elif how == "code":
        torch.save({"cls_token": Trap()}, path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "missing":
        torch.save({name: value for name, value in state.items() if name != "cls_token"}, path)
    elif how == "extra":
        torch.save(state | {"head.weight": torch.zeros(2)}, path)
    else:
        torch.save(state | {"cls_token": torch.zeros(1, 1, 384)}, path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("text", "damaged"),
        ("empty", "damaged"),
        ("code", "code that is never run"),
        ("missing", "cls_token"),
        ("extra", "head.weight"),
        ("shape", "cls_token"),
    ],
)
def test_a_file_that_is_not_dinos_is_named(how: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "dino.pth"
    spoil(path, how)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_one_network_serves_all_metrics_of_a_configuration(metric: SubjectConsistency) -> None:
    (first,), (second,) = metric.native_extractors(), metric.native_extractors()
    assert first is second
    assert shared(DinoFrames, first.paths, "cpu", "fast") is not first
    assert first.identity != shared(DinoFrames, first.paths, "cpu", "fast").identity
