"""Decode once, compute once, trust no damaged cache; and what identifies an evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import registry, video
from harness.api import Clip, Metric, Options
from harness.errors import UserError
from harness.features import FeatureStore, fingerprint, sha256_file

calls: list[str] = []


def brightness(frames: np.ndarray) -> np.ndarray:
    calls.append("brightness")
    return frames.mean((1, 2, 3))


@pytest.fixture(autouse=True)
def _features() -> Iterator[None]:
    calls.clear()
    registry.register_feature("test/brightness", version=1)(brightness)
    yield
    del registry._features["test/brightness"]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "clip.mp4"
    frames = np.broadcast_to(np.arange(40, 80, 10, np.uint8)[:, None, None, None], (4, 32, 32, 3))
    video.write(path, np.ascontiguousarray(frames), 8)
    return Clip("clip", path, sha256_file(path))


class Reading(Metric):
    name = "test/reading"
    features = ("test/brightness",)

    class Config(Options):
        threshold: float = 0.5
        batch_size: int = 4
        device: str = "cpu"
        weights: str = ""
        layers: list[str] = []

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        return (Path(config.weights),) if config.weights else ()


# ---- features --------------------------------------------------------------------------------------------------


def test_decodes_and_computes_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = video.read
    monkeypatch.setattr(video, "read", lambda path: reads.append(path) or read(path))
    with FeatureStore().open(clip) as features:
        assert features.fps == 8
        assert features.frames.shape == (4, 32, 32, 3)
        np.testing.assert_allclose(features.get("test/brightness"), [40, 50, 60, 70], atol=1)
        assert features.get("test/brightness") is features.get("test/brightness")
    assert (len(reads), calls) == (1, ["brightness"])


def test_shared_arrays_cannot_be_changed(clip: Clip) -> None:
    with FeatureStore().open(clip) as features:
        for array in (features.frames, features.get("test/brightness")):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_memory_is_released(clip: Clip) -> None:
    with FeatureStore().open(clip) as features:
        features.get("test/brightness")
    assert (features._video, features._features) == (None, {})


def test_damage_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bad.mp4"
    path.write_text("no video")
    reads: list[Path] = []
    read = video.read
    monkeypatch.setattr(video, "read", lambda path: reads.append(path) or read(path))
    with FeatureStore().open(Clip("bad", path, "0")) as features:
        for _ in range(3):
            with pytest.raises(video.DamagedVideo, match=r"bad\.mp4"):
                features.get("test/brightness")
    assert len(reads) == 1


def test_unknown_feature(clip: Clip) -> None:
    with FeatureStore().open(clip) as features, pytest.raises(UserError, match="test/brightness"):
        features.get("test/brightnes")


def test_cache_saves_the_decode(clip: Clip, tmp_path: Path) -> None:
    for _ in range(2):
        store = FeatureStore(tmp_path / "cache")
        with store.open(clip) as features:
            value = features.get("test/brightness")
            np.testing.assert_allclose(value, [40, 50, 60, 70], atol=1)
    assert (calls, store.problems) == (["brightness"], [])
    assert features._video is None
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 0


def test_cache_knows_version_and_clip(clip: Clip, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "cache")
    with store.open(clip) as features:
        features.get("test/brightness")
    registry.register_feature("test/brightness", version=2)(lambda frames: frames.max((1, 2, 3)))
    with store.open(clip) as features:
        assert features.get("test/brightness").dtype == np.uint8
    with store.open(Clip("other", clip.path, "another digest")) as features:
        features.get("test/brightness")
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 3


@pytest.mark.parametrize("how", ["cut", "garbage", "bit flip", "empty", "other array"])
def test_damaged_cache_entry_is_computed_anew_and_reported(clip: Clip, tmp_path: Path, how: str) -> None:
    store = FeatureStore(tmp_path / "cache")
    with store.open(clip) as features:
        good = features.get("test/brightness").copy()
    (entry,) = (tmp_path / "cache").rglob("*.npz")
    data = bytearray(entry.read_bytes())
    if how == "other array":
        np.savez(entry, array=good + 1, sha256=np.load(entry)["sha256"])
    else:
        place = data.index(good.tobytes()) + 3
        data[place] ^= 1
        kinds = {"cut": bytes(data[:100]), "garbage": b"x" * 500, "bit flip": bytes(data), "empty": b""}
        entry.write_bytes(kinds[how])
    with store.open(clip) as features:
        np.testing.assert_array_equal(features.get("test/brightness"), good)
    assert calls == ["brightness"] * 2
    assert len(store.problems) == 1
    assert str(entry) in store.problems[0]
    with store.open(clip) as features:  # the new entry is whole
        features.get("test/brightness")
    assert (len(calls), len(store.problems)) == (2, 1)


# ---- identity --------------------------------------------------------------------------------------------------


def print_of(**config: Any) -> str:
    return fingerprint(Reading, Reading.Config(**config))


def test_fingerprint_ignores_how_the_work_is_done() -> None:
    assert print_of(batch_size=64, device="cuda") == print_of()
    assert len(print_of()) == 64


def test_fingerprint_sees_what_can_change_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {print_of(), print_of(threshold=0.6), print_of(layers=["a"])}
    monkeypatch.setattr(Reading, "version", 2)
    seen.add(print_of())
    monkeypatch.setattr(Reading, "name", "test/other")
    seen.add(print_of())
    registry.register_feature("test/brightness", version=2)(brightness)
    seen.add(print_of())
    assert len(seen) == 6


def test_fingerprint_sees_weight_bytes_not_their_place(tmp_path: Path) -> None:
    a, b, c = tmp_path / "a.bin", tmp_path / "b.bin", tmp_path / "c.bin"
    a.write_bytes(b"weights")
    b.write_bytes(b"weights")
    c.write_bytes(b"Weights")
    assert print_of(weights=str(a)) == print_of(weights=str(b))
    assert len({print_of(), print_of(weights=str(a)), print_of(weights=str(c))}) == 3
    with pytest.raises(UserError, match=r"gone\.bin"):
        print_of(weights=str(tmp_path / "gone.bin"))


def test_sha256_file_notices_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"abcd")
    assert sha256_file(path).startswith("88d4266fd4e6338d13b845fcf289579d")
