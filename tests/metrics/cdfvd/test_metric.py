"""The metric around the distance: shards, references, what is cached, what is said, what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.api import ClipInfo, FrameChunk, Score, UserError
from harness.features import extract_key, fingerprint
from metrics.cdfvd import reference
from metrics.cdfvd import seeded as random_weights
from metrics.cdfvd.frechet import Gaussian, distance
from metrics.cdfvd.metric import FrechetOptions
from metrics.cdfvd.official import CDFVD, OfficialOptions
from metrics.cdfvd.sampling import window
from metrics.cdfvd.shapes import CDFVDShapes, ShapesOptions
from metrics.cdfvd.statistics import read, write
from metrics.cdfvd.table import NETWORKS, table
from tests.metrics.cdfvd import seeded
from tests.metrics.cdfvd.simple import LENGTH, Simple, taken, write_clips


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))


def options(folder: Path, **rest: object) -> FrechetOptions:
    return FrechetOptions.model_validate({"reference": str(folder), "start": "first", **rest})


def value(score: Score) -> float:
    assert score.value is not None
    return score.value


def test_shards_and_order_change_no_digit(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "made", 9)
    write_clips(tmp_path / "real", 6, seed=100)
    config = options(tmp_path / "real")
    whole = taken(config, clips).compute()
    for cut in (3, 5):
        for order in itertools.permutations((clips[:cut], clips[cut:7], clips[7:])):
            shards = [taken(config, list(shard)) for shard in order]
            for other in shards[1:]:
                shards[0].merge(other)
            assert shards[0].compute() == whole
    again = taken(config, clips)
    again.reset()
    assert len(again.taken) == 0


def test_the_value_is_the_distance_of_the_features(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "made", 7)
    real = write_clips(tmp_path / "real", 6, seed=100)
    metric = taken(options(tmp_path / "real"), clips)
    score = metric.compute()
    array = taken(options(tmp_path / "real"), real).taken.array()
    assert array.shape == (6, 13)
    expected = distance(Gaussian.of_features(metric.taken.array()), Gaussian.of_features(array))
    assert value(score) == expected > 0
    assert score.parts["clips"] == 7
    assert score.parts["reference_clips"] == 6
    assert score.parts["low"] <= expected <= score.parts["high"]
    assert score.parts["se"] > 0
    assert score.note == (
        "biased: 6 clips for 13 dimensions, compare at equal numbers of clips only; "
        "7 clips, fewer than the 20 that are advised"
    )


def test_few_and_short_clips(tmp_path: Path) -> None:
    real = tmp_path / "real"
    write_clips(real, 3, seed=100)
    write_clips(real / "short", 1, frames=LENGTH - 1, seed=200)
    metric = taken(options(real), write_clips(tmp_path / "made", 2) + write_clips(tmp_path / "bad", 2, LENGTH - 1, 9))
    score = metric.compute()
    assert set(score.parts) == {"clips", "reference_clips"}  # no interval of two clips
    assert score.note.endswith("2 clips left out, too short; 1 reference clips left out, too short")
    with pytest.raises(UserError, match="no clip is long enough: 2 have fewer frames"):
        taken(options(real), write_clips(tmp_path / "bad", 2, LENGTH - 1, 9)).compute()
    alone = taken(options(real), write_clips(tmp_path / "made", 2)[:1])
    assert alone.compute() == Score(None, note="a single clip has no covariance")
    with pytest.raises(UserError, match="bad: none of its 2 clips is long enough"):
        taken(options(tmp_path / "bad"), write_clips(tmp_path / "made", 2)).compute()
    write_clips(tmp_path / "one", 1)
    with pytest.raises(UserError, match="one: a single clip has no covariance"):
        taken(options(tmp_path / "one"), write_clips(tmp_path / "made", 2)).compute()


def test_a_reference_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "real", tmp_path / "cache" / "cdfvd"
    write_clips(folder, 4, seed=100)
    extractor = Simple(options(folder)).extractor
    seen: list[tuple[int, int]] = []
    first = reference.load(folder, extractor, report=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with monkeypatch.context() as only:
        only.setattr(reference.FeatureStore, "open", None)
        again = reference.load(folder, extractor)
    assert np.array_equal(again.gaussian.root, first.gaussian.root)
    (kept,) = cache.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])  # a damaged one is made anew
    assert reference.load(folder, extractor).gaussian.mean.tolist() == first.gaussian.mean.tolist()
    other = Simple(options(folder, start="random")).extractor
    reference.load(folder, other)  # another window, other features
    (folder / "003.mp4").unlink()
    reference.load(folder, extractor)  # other clips
    assert len(list(cache.glob("*.npz"))) == 3


def test_a_file_made_with_another_network_is_refused(tmp_path: Path) -> None:
    metric = taken(options(tmp_path / "stats.npz"), write_clips(tmp_path / "made", 2))
    write(tmp_path / "stats.npz", np.ones((3, 13), np.float32), "test-coarse@1-other")
    with pytest.raises(UserError, match="made with test-coarse@1-other"):
        metric.compute()
    write(tmp_path / "stats.npz", np.ones((3, 12), np.float32), extract_key(metric.extractor))
    with pytest.raises(UserError, match=r"stats\.npz: features of 12 and of 13 dimensions"):
        metric.compute()


def test_the_fingerprint_holds_bytes_not_places(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / NETWORKS["i3d"]).write_bytes(b"network")
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        write_clips(place, 2)

    def of(folder: Path, **rest: object) -> str:
        given = {"reference": str(folder), "model": "i3d", "weights": str(weights), "unofficial_weights": True, **rest}
        return fingerprint(CDFVD, OfficialOptions.model_validate(given))

    first = of(places[0])
    assert first == of(places[1]) == of(places[0], device="cpu")
    assert len({first, of(places[0], resolution=128), of(places[0], seed=1), of(places[0], start="first")}) == 4
    (places[1] / "001.mp4").unlink()
    assert of(places[1]) != first
    (weights / NETWORKS["i3d"]).write_bytes(b"another")
    assert of(places[0]) != first


def test_what_is_missing_is_said_before_anything_runs(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    np.savez(tmp_path / "statistics.npz", mean=np.zeros(400), covariance=np.eye(400), count=9)

    def needs(**rest: object) -> None:
        given = {"weights": str(weights), "unofficial_weights": True, "model": "i3d", **rest}
        CDFVD.weights(OfficialOptions.model_validate(given))

    with pytest.raises(UserError, match=r"i3d_pretrained_400\.pt is missing") as told:
        needs()
    assert "mutoscope weights fetch cdfvd --for i3d" in told.value.remedy
    (weights / NETWORKS["i3d"]).write_bytes(b"network")
    with pytest.raises(UserError, match="no reference is given"):
        needs()
    with pytest.raises(UserError, match="no such reference"):
        needs(reference=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no video files"):
        needs(reference=str(weights))
    with pytest.raises(UserError, match=r"i3d_ucf101_full_res128_len16_skip1_seed0\.pkl is missing") as told:
        needs(reference="ucf101", resolution=128)
    assert "--for ucf101-i3d" in told.value.remedy
    with pytest.raises(UserError, match="no statistics are published as i3d_sky_2048_res64_len16"):
        needs(reference="sky", n_real=2048, resolution=64)
    for size, made_with, message in (
        (256, "", "features of 256 and of 400 dim"),
        (400, "another@1", "made with another@1"),
    ):
        write(tmp_path / "other.npz", np.eye(3, size, dtype=np.float32), made_with)
        with pytest.raises(UserError, match=message):
            needs(reference=str(tmp_path / "other.npz"))
    with pytest.raises(UserError, match="features of 400 and of 256 dimensions"):
        CDFVDShapes.weights(ShapesOptions(reference=str(tmp_path / "statistics.npz")))
    with pytest.raises(UserError, match="at least 9 frames, not 8"):
        needs(sequence_length=8)
    with pytest.raises(UserError, match="even"):
        needs(model="videomae", sequence_length=15)


def test_the_table_of_files() -> None:
    files = {entry.file: entry for entry in table().files}
    assert set(NETWORKS.values()) < set(files)
    assert files[NETWORKS["videomae"]].sha256 == "5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70"
    assert len(files) == 2 + 2 * 4 * 2 * 2  # two networks; for each, four data sets, two resolutions, two sizes
    measured = [entry for entry in files.values() if "-i3d" in entry.purposes[0]]
    assert len(measured) == 16
    assert all(entry.sha256 and entry.size in (1283520, 1283522) for entry in measured)


@pytest.mark.parametrize(("frames", "sizes"), [(20, (20,)), (20, (3, 9, 8)), (20, (1,) * 20), (16, (16,))])
def test_a_window_from_any_chunks(frames: int, sizes: tuple[int, ...]) -> None:
    """The feature is that of the window's frames however the clip comes in, and it asks for no more than it needs."""
    clip = seeded.clip(frames, 24, 32, 1)
    extractor = Simple(options(Path("unused"), start="random", seed=4)).extractor
    first = window(frames, LENGTH, "random", 4, clip[0])

    def through(frames_in: np.ndarray, cut: tuple[int, ...], kind: str) -> np.ndarray:
        extractor = Simple(options(Path("unused"), start=kind, seed=4)).extractor
        extractor.start(ClipInfo(len(frames_in), 24, 32, 8.0))
        done = 0
        for size in cut:
            if extractor.push(FrameChunk(done, frames_in[done : done + size])):
                break
            done += size
        return extractor.finish()

    wanted = through(clip[first : first + LENGTH], (LENGTH,), "first")
    assert np.array_equal(through(clip, sizes, "random"), wanted)
    assert extractor.identity["seed"] == 4
    assert "seed" not in Simple(options(Path("unused"))).extractor.identity


@pytest.mark.slow
def test_from_the_command_line_at_real_size(tmp_path: Path) -> None:
    """I3D with random weights of the published format: 3 + 3 clips."""
    from harness.cli import app

    random_weights.write_all(tmp_path / "w", ["i3d"], 0)
    write_clips(tmp_path / "made", 3, frames=17)
    write_clips(tmp_path / "real", 3, frames=17, seed=50)
    words = ["evaluate", str(tmp_path / "made"), "--metrics", CDFVD.name, "--runs", str(tmp_path / "runs")]
    given = {"model": "i3d", "reference": str(tmp_path / "real"), "weights": str(tmp_path / "w")}
    for key, text in {**given, "unofficial_weights": "true", "resolution": "64"}.items():
        words += ["--set", f"{key}={text}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "biased: 3 clips for 400 dimensions" in done.output


def test_statistics_ahead_of_time(tmp_path: Path) -> None:
    """What the module writes is what a folder gives."""
    write_clips(tmp_path / "real", 4, seed=100)
    extractor = Simple(options(tmp_path / "real")).extractor
    path = reference.computed(reference.clip_files(tmp_path / "real"), extractor, tmp_path / "cache" / "cdfvd")
    found, loaded = read(path), reference.load(tmp_path / "real", extractor)
    assert found.made_with == extract_key(extractor)
    assert np.array_equal(found.gaussian.mean, loaded.gaussian.mean)
