"""What metrics share about a clip: decoded once, everything computed once; and what identifies an evaluator."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import registry, video
from harness.cache import file_sha256
from harness.config import digest
from harness.errors import UserError
from harness.store import atomic
from harness.streaming import Result, extract

if TYPE_CHECKING:
    from harness.judging import Clip, Extractor, Metric

MAX_CACHED = 400_000  # bytes: numbers per frame are kept on disk, maps per pixel (dense flow) are not worth it
RUNTIME = frozenset({"batch_size", "device", "workers", "threads"})  # config keys that cannot change a score


# ---- identity --------------------------------------------------------------------------------------------------


def sha256_file(path: Path | str) -> str:
    """Hex digest of a file's bytes; read again only when the file has changed. Raises UserError."""
    return file_sha256(Path(path))


def fingerprint(metric: type[Metric], config: Any) -> str:
    """Hex digest of all that can change a score: name, version, config, feature versions, weight bytes.

    Where the weights lie and how the work is spread (`RUNTIME` keys) do not enter.
    """
    digests = {str(path): sha256_file(path) for path in metric.weights(config)}
    identity = {
        "name": metric.name,
        "version": metric.version,
        "config": _identity(config.model_dump(mode="json", exclude=set(metric.runtime)), digests),
        "features": {name: registry.feature(name)[0] for name in metric.features},
        "weights": sorted(digests.values()),
    }
    if metric.inputs:
        identity["inputs"] = {name: _input_fingerprint(name, config) for name in metric.inputs}
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _input_fingerprint(name: str, config: Any) -> str:
    """Of a metric that a summary reads, under those of the summary's options that it has."""
    kind = registry.metrics.get(name)
    options = {key: getattr(config, key) for key in kind.Config.model_fields if key in type(config).model_fields}
    return fingerprint(kind, kind.Config(**options))


def _identity(value: Any, digests: Mapping[str, str]) -> Any:
    """Config without run-time keys, weight paths replaced by their digests."""
    if isinstance(value, dict):
        return {key: _identity(item, digests) for key, item in value.items() if key not in RUNTIME}
    if isinstance(value, list):
        return [_identity(item, digests) for item in value]
    return digests.get(value, value) if isinstance(value, str) else value


def extract_key(extractor: Extractor) -> str:
    """What identifies an extractor's numbers: name, version, and a digest of the rest."""
    return f"{extractor.name}@{extractor.version}-{digest(dict(extractor.identity))[:12]}"


# ---- features --------------------------------------------------------------------------------------------------


class FeatureStore:
    """Hands out clips one at a time and keeps what was computed, in a folder if one is given.

    `problems` lists cache entries that were damaged and have been computed anew.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.cache, self.problems = cache, list[str]()

    @contextmanager
    def open(self, clip: Clip, announced: Sequence[Extractor] = ()) -> Iterator[ClipFeatures]:
        """Features of one clip; its frames are released when the block ends.

        Args:
            announced: extractors that will be asked for; the first one asked for brings all.
        """
        features = ClipFeatures(clip, self, announced)
        try:
            yield features
        finally:
            features.release()

    def load(self, sha256: str, key: str) -> NDArray[Any] | None:
        """A cached array, or None: not there, or damaged (then removed and noted)."""
        path = self._path(sha256, key)
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as entry:
                array, digest = entry["array"], str(entry["sha256"])
            if digest != _digest(array):
                raise ValueError("its digest does not match its content")
            return array
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self.problems.append(f"{path}: damaged cache entry, computed anew: {error}")
            path.unlink(missing_ok=True)
            return None

    def save(self, sha256: str, key: str, array: NDArray[Any]) -> None:
        path = self._path(sha256, key)
        if path is not None and array.nbytes <= MAX_CACHED:
            with atomic(path) as temporary:
                np.savez(temporary, array=array, sha256=np.array(_digest(array)))

    def _path(self, sha256: str, key: str) -> Path | None:
        return self.cache and self.cache / key.replace("/", "-") / sha256[:2] / f"{sha256}.npz"


def _digest(array: NDArray[Any]) -> str:
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


class ClipFeatures:
    """Frames, features and extracts of one clip (`harness.api.Features`), each computed at most once."""

    def __init__(self, clip: Clip, store: FeatureStore, announced: Sequence[Extractor] = ()) -> None:
        self.clip, self.store, self.announced = clip, store, list(announced)
        self._video: video.Video | UserError | None = None
        self._features: dict[str, NDArray[Any]] = {}
        self._extracts: dict[str, Result] = {}

    @property
    def frames(self) -> NDArray[np.uint8]:
        """`[F, H, W, 3]` RGB, read-only. Raises DamagedVideo."""
        return self._decoded().frames

    @property
    def fps(self) -> float:
        return self._decoded().fps

    def get(self, name: str) -> NDArray[Any]:
        """The feature registered under `name`, read-only: from memory, from the cache, or computed."""
        if name not in self._features:
            version, function = registry.feature(name)
            key = f"{name}@{version}"
            array = self.store.load(self.clip.sha256, key)
            if array is None:
                array = np.asarray(function(self.frames))
                self.store.save(self.clip.sha256, key, array)
            array.flags.writeable = False  # shared by metrics
            self._features[name] = array
        return self._features[name]

    def of(self, extractor: Extractor) -> NDArray[Any]:
        """An extractor's result, read-only: from memory, the cache, or one pass that also serves those announced."""
        key = extract_key(extractor)
        if key not in self._extracts:
            self._extract([extractor, *self.announced])
        result = self._extracts[key]
        if isinstance(result, Exception):
            raise result
        return result

    def _extract(self, wanted: Sequence[Extractor]) -> None:
        """Fill in what is not known yet; a clip that cannot be read is every extractor's failure."""
        todo: dict[str, Extractor] = {}
        for key, extractor in ((extract_key(extractor), extractor) for extractor in wanted):
            if key not in self._extracts and (array := self.store.load(self.clip.sha256, key)) is not None:
                self._extracts[key] = array
            elif key not in self._extracts:
                todo[key] = extractor
        if isinstance(self._video, UserError):
            raise self._video
        try:
            results = extract(self.clip.path, list(todo.values()), self._video) if todo else []
        except UserError as error:
            self._video = error
            raise
        for key, result in zip(todo, results, strict=True):
            if not isinstance(result, Exception):
                self.store.save(self.clip.sha256, key, result)
                result.flags.writeable = False  # shared by metrics
            self._extracts[key] = result

    def release(self) -> None:
        """Forget frames and features; extracts are small and stay."""
        self._video = None
        self._features.clear()

    def _decoded(self) -> video.Video:
        """Decode once, also when that fails: every metric of a damaged clip gets the same error at no cost."""
        if self._video is None:
            try:
                self._video = video.read(self.clip.path)
                self._video.frames.flags.writeable = False
            except UserError as error:
                self._video = error
        if isinstance(self._video, UserError):
            raise self._video
        return self._video
