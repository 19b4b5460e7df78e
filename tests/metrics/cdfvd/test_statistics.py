"""Files of statistics: ours, the official package's, and such as are neither."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from metrics.cdfvd.frechet import Gaussian, distance
from metrics.cdfvd.statistics import FeatureSet, read, write
from tests.metrics.cdfvd import seeded


def official(features: np.ndarray) -> dict[str, Any]:
    """What FeatureStats.save pickles (cd-fvd 0.1.1, metric_utils.py): its `__dict__`."""
    wide = features.astype(np.float64)
    return {
        "capture_all": False,
        "capture_mean_cov": True,
        "max_items": None,
        "num_items": len(wide),
        "num_features": wide.shape[1],
        "all_features": [],
        "raw_mean": wide.sum(0),
        "raw_cov": wide.T @ wide,
    }


def dump(path: Path, obj: Any) -> Path:
    path.write_bytes(pickle.dumps(obj, protocol=4))
    return path


def test_official_sums_are_read(tmp_path: Path) -> None:
    first, second = seeded.features("d16")
    path = dump(tmp_path / "stats.pkl", official(second))
    found = read(path)
    assert found.gaussian.count == 180
    assert found.made_with == ""
    wanted = distance(Gaussian.of_features(first), Gaussian.of_features(second))
    assert distance(Gaussian.of_features(first), found.gaussian) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_any_protocol_that_holds_arrays_is_read(protocol: int, tmp_path: Path) -> None:
    """Python 3.14 writes protocol 5, which names a function of its own for arrays."""
    path = tmp_path / "stats.pkl"
    path.write_bytes(pickle.dumps(official(seeded.features("d16")[0]), protocol=protocol))
    assert read(path).gaussian.count == 200


def test_captured_features_count_and_sums_that_were_not_kept_do_not(tmp_path: Path) -> None:
    """An official FeatureStats without `capture_mean_cov` pickles zeros for its sums."""
    first, second = seeded.features("d16")
    nothing = {"capture_mean_cov": False, "raw_mean": np.zeros(16), "raw_cov": np.zeros((16, 16))}
    kept = {"capture_all": True, "all_features": [second[:100], second[100:]]}
    found = read(dump(tmp_path / "features.pkl", {**official(second), **nothing, **kept})).gaussian
    assert found.count == 180
    wanted = distance(Gaussian.of_features(first), Gaussian.of_features(second))
    assert distance(Gaussian.of_features(first), found) == wanted
    with pytest.raises(UserError, match="captured neither features nor their mean and covariance"):
        read(dump(tmp_path / "nothing.pkl", {**official(second), **nothing}))


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.zeros(3), -np.eye(3), "a variance is negative: -1"),
        (np.zeros(3), np.triu(np.ones((3, 3))), "not symmetric"),
        (np.zeros((2, 3)), np.eye(3), r"a mean \(2, 3\) does not go with a covariance \(3, 3\)"),
        (np.zeros(0), np.zeros((0, 0)), r"a mean \(0,\) does not go"),
        (np.full(3, np.nan), np.eye(3), "not finite"),
    ],
)
def test_what_no_clips_can_have_is_refused_by_file(
    mean: np.ndarray, covariance: np.ndarray, message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "wrong.npz", mean=mean, covariance=covariance, count=5)
    with pytest.raises(UserError, match=rf"wrong\.npz: .*{message}"):
        read(tmp_path / "wrong.npz")


def test_pickles_of_older_numpy_are_read(tmp_path: Path) -> None:
    """The published files name numpy.core.multiarray, which numpy 2 calls numpy._core.multiarray."""
    content = pickle.dumps(official(seeded.features("d16")[0]), protocol=3)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != content
    (tmp_path / "stats.pkl").write_bytes(old)
    assert read(tmp_path / "stats.pkl").gaussian.count == 200


def test_ours_come_back(tmp_path: Path) -> None:
    features = seeded.features("d16")[0]
    write(tmp_path / "ours.npz", features, "someone@1-abc", left_out=3)
    found = read(tmp_path / "ours.npz")
    assert (found.made_with, found.left_out, found.gaussian.count) == ("someone@1-abc", 3, 200)
    assert np.array_equal(found.gaussian.root, Gaussian.of_features(features).root)


def test_a_mean_and_a_covariance_are_read(tmp_path: Path) -> None:
    gaussian = Gaussian.of_features(seeded.features("d16")[0])
    np.savez(tmp_path / "mean.npz", mean=gaussian.mean, covariance=gaussian.covariance, count=200)
    assert read(tmp_path / "mean.npz").gaussian.trace == pytest.approx(gaussian.trace, rel=1e-12)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    path = dump(tmp_path / "evil.pkl", {**official(seeded.features("d16")[0]), "more": Evil(tmp_path / "touched")})
    with pytest.raises(UserError, match="which is never run"):
        read(path)
    np.savez(tmp_path / "evil.npz", features=np.array([Evil(tmp_path / "touched")], object))
    with pytest.raises(UserError, match="not statistics of clips"):
        read(tmp_path / "evil.npz")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1]), pickle.dumps({"num_items": 0})])
@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".txt"])
def test_other_files_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not statistics of clips") as told:
        read(path)
    assert suffix == ".pkl" or "ValueError: no archive of arrays" in told.value.problem


def test_a_missing_file_and_a_missing_array(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "none.npz")
    np.savez(tmp_path / "half.npz", mean=np.zeros(3))
    with pytest.raises(UserError, match="covariance"):
        read(tmp_path / "half.npz")


def test_the_same_clip_twice_counts_twice() -> None:
    found = FeatureSet()
    for sha256 in ("b", "a", "b"):
        found.add(sha256, np.full(2, float(ord(sha256)), np.float32))
    assert found.array()[:, 0].tolist() == [97.0, 98.0, 98.0]
