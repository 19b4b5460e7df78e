"""What is kept of a set of clips for a Frechet distance, and the files it is kept in."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from metrics.cdfvd.frechet import Gaussian

ARRAYS = {  # all that a pickle of FeatureStats names; older numpy wrote numpy.core, protocol 5 buffers
    f"{module}.{name}"
    for module in ("numpy.core", "numpy._core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
} | {"numpy.ndarray", "numpy.dtype"}


class FeatureSet:
    """Features of a set of clips, the same whatever the order of clips, or the shards they came in.

    All are kept, four bytes a number (2048 clips of 1408 dimensions: 11.5 MB), and put in the order of the clips'
    digests before anything is summed. Sums per shard would need 8 D^2 bytes each, and differ in their last digits.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, bytes]] = []
        self.short = 0  # clips that had too few frames

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, sha256: str, feature: NDArray[np.float32]) -> None:
        """Take a clip in; an empty feature is counted as a clip that is too short."""
        if len(feature):
            self._rows.append((sha256, np.ascontiguousarray(feature, np.float32).tobytes()))
        else:
            self.short += 1

    def merge(self, other: FeatureSet) -> None:
        """Take another shard's clips in."""
        self._rows += other._rows
        self.short += other.short

    def array(self) -> NDArray[np.float32]:
        """`[N, D]` by digest."""
        return np.stack([np.frombuffer(row, np.float32) for _, row in sorted(self._rows)])


@dataclass(frozen=True)
class Reference:
    """What clips are compared with: `features` `[N, D]` where they are known, and the Gaussian."""

    gaussian: Gaussian
    made_with: str = ""  # the extractor's identity, "" where the file does not say
    left_out: int = 0  # clips too short


def write(path: Path, features: NDArray[np.float32], made_with: str, left_out: int = 0) -> None:
    """Features as an .npz that `read` takes."""
    np.savez(path, features=features, made_with=np.array(made_with), left_out=np.array(left_out))


def read(path: Path) -> Reference:
    """A reference from a file; no code of the file's is run.

    An .npz holds `features` `[N, D]`, or `mean` `[D]`, `covariance` `[D, D]` (population) and `count`. A .pkl is what
    the official package saves (metric_utils.py, FeatureStats.save) and publishes: sums over its clips.

    Raises:
        UserError: it is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file", "give a folder of clips, or statistics as .npz or .pkl")
    try:
        if path.suffix == ".pkl":
            return Reference(of_state(_unpickled(path)))
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with np.load(path, allow_pickle=False) as found:
            return _from_arrays(dict(found))
    except UserError as error:
        raise UserError(f"{path}: {error.problem}", error.remedy) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: not statistics of clips: {type(error).__name__}: {error}",
            "an .npz holds features, or mean, covariance and count; a .pkl comes from cd-fvd",
        ) from error


def of_state(state: Mapping[str, Any]) -> Gaussian:
    """From an official FeatureStats (metric_utils.py): its features if it captured all, else its sums (get_mean_cov).

    Without `capture_mean_cov` its sums are zeros, whatever it has seen.
    """
    count = int(state["num_items"])
    if state.get("raw_mean") is None or count < 1:
        raise ValueError("no clips were counted in it")
    if state.get("capture_all"):
        return Gaussian.of_features(np.concatenate(state["all_features"]))
    if not state.get("capture_mean_cov", True):
        raise ValueError("it captured neither features nor their mean and covariance")
    mean = np.asarray(state["raw_mean"], np.float64) / count
    return Gaussian.of_statistics(mean, np.asarray(state["raw_cov"]) / count - np.outer(mean, mean), count)


def identity_text(identity: Mapping[str, Any]) -> str:
    """An extractor's identity as it is written into a file."""
    return json.dumps(identity, sort_keys=True)


def _from_arrays(found: Mapping[str, NDArray[Any]]) -> Reference:
    made_with = str(found.get("made_with", ""))
    left_out = int(found.get("left_out", 0))
    if "features" in found:
        return Reference(Gaussian.of_features(found["features"]), made_with, left_out)
    return Reference(Gaussian.of_statistics(found["mean"], found["covariance"], int(found["count"])), made_with)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is never run")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpickled(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        found = _ArraysOnly(file).load()
    if not isinstance(found, dict):
        raise ValueError("not a mapping")
    return found
