"""One decoding for all extractors; a failure stays with its extractor; what the header says is not believed blindly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import streaming, video
from harness.api import Clip, ClipInfo, Extractor, FrameChunk
from harness.features import FeatureStore, extract_key, sha256_file


class Means(Extractor):
    name = "test/means"

    def __init__(self, stop_after: int | None = None, fail_at: int | None = None, shade: str = "") -> None:
        self.stop_after, self.fail_at, self.shade = stop_after, fail_at, shade
        self.passes = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"shade": self.shade}

    def start(self, info: ClipInfo) -> None:
        self.passes += 1
        self.info, self.seen, self.firsts = info, list[float](), list[int]()

    def push(self, chunk: FrameChunk) -> bool:
        self.firsts.append(chunk.first)
        for frame in chunk.frames:
            if len(self.seen) == self.fail_at:
                raise ValueError("this frame is not for me")
            self.seen.append(float(frame.mean()))
        return self.stop_after is not None and len(self.seen) >= self.stop_after

    def finish(self) -> NDArray[np.float64]:
        return np.array([self.info.frames, *self.seen])


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "clip.mp4"
    frames = np.broadcast_to(np.arange(0, 200, 5, np.uint8)[:, None, None, None], (40, 32, 48, 3))
    video.write(path, np.ascontiguousarray(frames), 8)
    return Clip("clip", path, sha256_file(path))


def count_opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened, real = list[str](), video._open
    monkeypatch.setattr(video, "_open", lambda path: opened.append(str(path)) or real(path))  # type: ignore[func-returns-value]
    return opened


def test_one_decoding_serves_all(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = count_opens(monkeypatch)
    a, b = Means(shade="a"), Means(stop_after=10, shade="b")
    with FeatureStore().open(clip, [a, b]) as features:
        np.testing.assert_allclose(features.of(a), [40, *range(0, 200, 5)], atol=1.5)
        assert len(features.of(b)) == 1 + 16  # whole chunks
        assert (len(opened), a.passes, b.passes, a.firsts) == (1, 1, 1, [0, 16, 32])
        with pytest.raises(ValueError, match="read-only"):
            features.of(a)[0] = 1


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_chunks_hold_the_frames_in_order(clip: Clip, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_FRAMES", size)
    means = Means()
    (result,) = streaming.extract(clip.path, [means])
    np.testing.assert_allclose(result, [40, *video.read(clip.path).frames.mean((1, 2, 3))])
    assert means.firsts == list(range(0, 40, size))


def test_large_frames_come_in_small_chunks(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * 32 * 48 * 3)
    means = Means()
    streaming.extract(clip.path, [means])
    assert means.firsts == list(range(0, 40, 5))


def test_a_failure_is_its_own(clip: Clip) -> None:
    good, bad = Means(shade="good"), Means(fail_at=3, shade="bad")
    with FeatureStore().open(clip, [good, bad]) as features:
        for _ in range(2):
            with pytest.raises(ValueError, match="not for me"):
                features.of(bad)
        assert len(features.of(good)) == 41
        assert bad.passes == 1


def test_a_header_that_lies_is_found_out(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when every extractor stopped early: its result may rest on the count."""
    for promised in (0, 50, 39):
        real = video.Reader.__init__

        def lie(self: Any, *args: Any, promised: int = promised, real: Any = real) -> None:
            real(self, *args)
            self.info = video.Info(promised, self.info.height, self.info.width, self.info.fps)

        monkeypatch.setattr(video.Reader, "__init__", lie)
        means = Means(stop_after=2)
        (result,) = streaming.extract(clip.path, [means])
        monkeypatch.undo()
        assert isinstance(result, np.ndarray)
        assert (result[0], means.passes) == (40, 1 if promised == 0 else 2)


def test_damage_behind_an_early_stop_is_found(clip: Clip) -> None:
    data = bytearray(clip.path.read_bytes())
    place = data.index(b"mdat") + 4
    data[place + 600 :] = bytes(len(data) - place - 600)
    clip.path.write_bytes(bytes(data))
    with pytest.raises(video.DamagedVideo), FeatureStore().open(clip) as features:
        features.of(Means(stop_after=1))


def test_results_are_cached_by_clip_and_identity(clip: Clip, tmp_path: Path) -> None:
    one, two = Means(shade="one"), Means(shade="two")
    assert extract_key(one) != extract_key(two)
    for _ in range(2):
        with FeatureStore(tmp_path / "cache").open(clip, [one, two]) as features:
            value = features.of(two).copy()
    assert (one.passes, two.passes) == (1, 1)
    np.testing.assert_array_equal(value, two.finish())


def test_frames_in_memory_are_used(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = count_opens(monkeypatch)
    with FeatureStore().open(clip) as features:
        frames = features.frames
        assert len(features.of(Means())) == 1 + len(frames)
    assert len(opened) == 1


def test_extractors_cannot_change_each_others_frames(clip: Clip) -> None:
    import warnings

    import torch

    seen: list[FrameChunk] = []

    class Look(Means):
        def push(self, chunk: FrameChunk) -> bool:
            seen.append(chunk)
            return super().push(chunk)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streaming.extract(clip.path, [Look()])
        tensor = seen[0].on(torch.device("cpu"))
    assert tensor.shape == (16, 3, 32, 48)
    assert tensor is seen[0].on(torch.device("cpu"))
    np.testing.assert_array_equal(tensor[3].permute(1, 2, 0).numpy(), seen[0].frames[3])
    with pytest.raises(ValueError, match="read-only"):
        seen[0].frames[0] = 0
