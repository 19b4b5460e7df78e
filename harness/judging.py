"""The metric side of the plugin surface, re-exported by `harness.api`: clips, what is computed of them, scores.

Nothing here imports torch, so that listing metrics stays cheap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness.samples import Options

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

ScoreRow = dict[str, Any]  # a line of scores/<metric>.jsonl: clip, sha256, value, parts, note, error


@dataclass(frozen=True)
class Clip:
    """One video file."""

    id: str
    path: Path
    sha256: str
    prompt: str | None = None
    seed: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before its frames are seen; `frames` is exact."""

    frames: int
    height: int
    width: int
    fps: float


class FrameChunk:
    """Successive frames of one clip: decoded once, brought to a device once, for all extractors."""

    def __init__(self, first: int, frames: NDArray[np.uint8]) -> None:
        self.first = first  # index of the first one
        self.frames = frames.view()  # uint8 `[n, H, W, 3]` RGB, read-only
        self.frames.flags.writeable = False
        self._source = frames if frames.flags.writeable else frames.copy()  # torch takes no read-only memory
        self._tensors: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def on(self, device: torch.device) -> Tensor:
        """uint8 `[n, 3, H, W]` on a device, read-only."""
        import torch

        key = str(device)
        if key not in self._tensors:
            self._tensors[key] = torch.from_numpy(self._source).to(device).permute(0, 3, 1, 2)
        return self._tensors[key]


class Extractor(ABC):
    """Computes an array from one pass over a clip's frames, in bounded memory: `start`, `push` ..., `finish`.

    Results are cached by clip digest and `identity`. All extractors of a clip share one decoding. Whatever one raises
    is the failure of the metrics that asked for it alone.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the numbers besides name and version: weight digests, precision. Plain JSON."""
        return {}

    @abstractmethod
    def start(self, info: ClipInfo) -> None:
        """Forget any earlier clip; networks are loaded here, not before."""

    @abstractmethod
    def push(self, chunk: FrameChunk) -> bool:
        """Take in the next frames, in order, any number at a time. True: the result is certain, send no more."""

    @abstractmethod
    def finish(self) -> NDArray[Any]:
        """The result; empty where the clip is too short for one."""


class Features(Protocol):
    """Everything known about one clip, computed once."""

    @property
    def fps(self) -> float:
        """Frames a second."""
        ...

    @property
    def frames(self) -> NDArray[np.uint8]:
        """`[F, H, W, 3]` RGB, all in memory at once."""
        ...

    def get(self, name: str) -> NDArray[Any]:
        """The feature registered under `name`, computed from all frames."""
        ...

    def of(self, extractor: Extractor) -> NDArray[Any]:
        """An extractor's result, read-only; without a pass of its own if the metric announced it in `extractors`."""
        ...


@dataclass(frozen=True)
class Score:
    """A value with its parts. `value=None` means not applicable: counted and shown, never averaged."""

    value: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


Answer = Score | float | None
Open = Callable[[Clip], AbstractContextManager[Features]]


class Metric(ABC):
    """Scores single clips (`score`), a prompt's samples (`score_samples`), a set (`reset`, `update`, `compute`)
    or the rows of other metrics (`summarise`), as `level` says."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[Options]] = Options
    level: ClassVar[Literal["clip", "samples", "set", "summary"]] = "clip"
    higher_is_better: ClassVar[bool | None] = True  # None: descriptive, shown but not ranked
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # closed and finite; a value outside fails
    unit: ClassVar[str] = ""
    features: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None  # the optional-dependency group to install
    runtime: ClassVar[frozenset[str]] = frozenset()  # options that cannot change a score, besides device and the like
    inputs: ClassVar[tuple[str, ...]] = ()  # summary level: the metrics whose rows it reads
    moves: ClassVar[Mapping[str, Literal["down", "up", "same"]]] = {}  # what a corruption does to the value, by name

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def alone(self) -> bool:
        """Holds so much memory, in a process of its own, that it goes through the clips by itself, then is closed."""
        return False

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """Files whose bytes decide the score; they enter the fingerprint. Raises UserError, with the command that gets
        it, when one is missing or not what it should be: this is asked before anything runs."""
        return ()

    @classmethod
    def excluded(cls, config: Any) -> str:
        """Why this configuration does not have the metric at all, e.g. under another protocol; "" if it does."""
        return ""

    @classmethod
    def warning(cls, config: Any) -> str:
        """What a reader must know before comparing this configuration's numbers with others; shown with them."""
        return ""

    @classmethod
    def direction(cls, config: Any) -> bool | None:
        """`higher_is_better` of this configuration, for metrics that the field reads both ways."""
        return cls.higher_is_better

    def skip(self, clip: Clip) -> str:
        """Why the metric has nothing to say of this clip, known without its frames (it scores None); "" if it has."""
        return ""

    def extractors(self) -> Sequence[Extractor]:
        """What `score` will ask of every clip, so that one decoding serves all metrics."""
        return ()

    def score(self, clip: Clip, features: Features) -> Answer:
        """Clip level. None: not applicable."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it does not score single clips")

    def score_samples(self, clips: Sequence[Clip], open_clip: Open) -> Mapping[str, Answer]:
        """Samples level: an answer for every clip of one prompt, by id. Clips come in the order of their samples."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it does not score the samples of a prompt")

    def reset(self) -> None:
        """Set level: forget everything seen."""

    def update(self, clip: Clip, features: Features) -> None:
        """Set level: take one clip in."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")

    def merge(self, other: Metric) -> None:
        """Set level: take in another shard's state; the order of shards must not matter."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")

    def compute(self) -> Answer:
        """Set level: the score of all clips taken in."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it has no set state")

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Answer:
        """Summary level: from the rows of `inputs`, by metric name; one that was not evaluated is absent."""
        raise TypeError(f"{self.name} is a {self.level}-level metric; it does not summarise")

    def close(self) -> None:
        """Let go of processes and files; called once when evaluation ends, however it ends."""
