"""One decoding of a clip for any number of extractors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.judging import ClipInfo, Extractor, FrameChunk

CHUNK_FRAMES = 16
CHUNK_BYTES = 64 * 2**20  # at 1920x1080 ten frames; what a pass holds of the clip itself

Result = NDArray[Any] | Exception


def extract(path: Path, extractors: Sequence[Extractor], decoded: video.Video | None = None) -> list[Result]:
    """What each extractor makes of a clip, in their order; an exception where one failed. Raises DamagedVideo.

    The header's frame count is believed until the clip has been read; where it was wrong (edit lists), the pass is
    repeated with the true one. A clip is always decoded to its end, so that damage is found whoever looks at it.

    Args:
        decoded: the clip's frames, if they are in memory anyway.
    """
    if decoded is not None:
        return _pass(extractors, _Decoded(decoded), len(decoded.frames))[0]
    with video.reader(path) as reader:
        promised = reader.info.frames
        if promised:
            results, count = _pass(extractors, reader, promised)
        else:
            count = reader.total()
    if count != promised:
        with video.reader(path) as reader:
            results, count = _pass(extractors, reader, count)
    return results


class _Decoded:
    """Frames in memory, with a reader's face."""

    def __init__(self, clip: video.Video) -> None:
        self.frames, self.place = clip.frames, 0
        count, height, width = clip.frames.shape[:3]
        self.info = video.Info(count, height, width, clip.fps)

    def read(self, count: int) -> video.Frames:
        self.place += count
        return self.frames[self.place - count : self.place]

    def total(self) -> int:
        return len(self.frames)


def _pass(extractors: Sequence[Extractor], reader: video.Reader | _Decoded, frames: int) -> tuple[list[Result], int]:
    """Results, and the number of frames there are."""
    info = ClipInfo(frames, reader.info.height, reader.info.width, reader.info.fps)
    failures: dict[int, Exception] = {}
    active = dict(enumerate(extractors))
    for number, extractor in list(active.items()):
        with _noting(number, failures, active):
            extractor.start(info)
    size = max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (info.height * info.width * 3)))
    first = 0
    while active and len(piece := reader.read(size)):
        chunk = FrameChunk(first, piece)
        for number, extractor in list(active.items()):
            with _noting(number, failures, active):
                if extractor.push(chunk):
                    del active[number]
        first += len(piece)
    results: list[Result] = []
    for number, extractor in enumerate(extractors):
        with _noting(number, failures, active):
            if number not in failures:
                results.append(np.asarray(extractor.finish()))
        if number in failures:
            results.append(failures[number])
    return results, reader.total()


@contextmanager
def _noting(number: int, failures: dict[int, Exception], active: dict[int, Extractor]) -> Iterator[None]:
    """What an extractor raises is its own failure; the others go on."""
    try:
        yield
    except Exception as error:
        failures[number] = error
        active.pop(number, None)
