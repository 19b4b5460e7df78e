"""What a maker is: asked for a prompt's clip, it answers with frames or a file. Re-exported by `harness.api`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.samples import ClipSpec
    from harness.video import Info

ELSEWHERE = "not generated here"


@dataclass(frozen=True)
class Asked:
    """A clip that is asked for: `id` names its file, `meta` is the prompt's, with `sample` where it has several."""

    id: str
    prompt: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """The answer: frames uint8 `[F, H, W, 3]` RGB of the clip spec, or an .mp4 file of it, which is copied as it is."""

    clip: NDArray[np.uint8] | Path
    source: Mapping[str, Any] = field(default_factory=dict)  # where it comes from, kept with the clip; JSON-able


@dataclass(frozen=True)
class Offer:
    """What a maker has for a suite: its seeds (None: any), and a digest of what decides its clips beside options."""

    seeds: tuple[int, ...] | None = None
    digest: str = ""


class Maker(ABC):
    """Makes clips of one clip spec. Cheap to build: it is built while a run is planned, and again in every worker."""

    here: ClassVar[bool] = False  # clips are computed on this machine, so that their seconds and memory mean something
    places: ClassVar[tuple[str, ...]] = ()  # options that say where things are, not what: no part of the row's key

    def __init__(self, config: Any, spec: ClipSpec) -> None:
        self.config, self.spec = config, spec

    @property
    def marks(self) -> tuple[str, ...]:
        """What the leaderboard says of the row."""
        return () if self.here else (ELSEWHERE,)

    def offer(self, asked: Sequence[Asked], first: int) -> Offer:
        """Called while a run is planned, with all prompts. Default: any seed.

        Args:
            first: the suite's first seed, which clips without a seed of their own stand for.
        """
        return Offer()

    def check(self, asked: Sequence[Asked], seed: int) -> None:
        """Raises UserError, naming every clip that could not be made. Called while a run is planned."""

    @abstractmethod
    def make(self, asked: Sequence[Asked], seed: int) -> Sequence[Made]:
        """One answer each, in order. Only what a run lacks is asked for, a generation batch at a time."""


def mismatch(info: Info, spec: ClipSpec) -> str:
    """How a file differs from the clip spec; "" if it does not."""
    found, wanted = (info.frames, info.width, info.height), (spec.frames, spec.width, spec.height)
    if found == wanted and math.isclose(info.fps, spec.fps, rel_tol=1e-3):
        return ""
    return "{} frames {}x{} at {:g} fps, the suite's clips have {} frames {}x{} at {:g} fps".format(
        *found, info.fps, *wanted, spec.fps
    )
