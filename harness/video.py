"""The one decoder and the one encoder of the project (libav through PyAV), and fitting footage to a clip spec.

Decoding equals OpenCV's bit for bit on 8-bit streams; colour tags and rotation are respected, a sample aspect ratio
is not. A file that cannot be decoded to its end raises `DamagedVideo`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from harness.api import ClipSpec

Frames = NDArray[np.uint8]  # [F, H, W, 3] RGB; one frame is [H, W, 3]
MUXER = {"movflags": "+faststart", "fflags": "+bitexact"}  # header first, for browsers; no library version
CRF = 10  # luma within about 1 grey level; chroma is halved by yuv420p, the only layout every browser plays


class DamagedVideo(UserError):  # noqa: N818
    """A file that is not a video or does not hold all the frames it promises."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: damaged video: {reason}", "replace the file or leave it out")
        self.path, self.reason = Path(path), reason

    def __reduce__(self) -> tuple[Any, ...]:  # crosses process borders
        return type(self), (self.path, self.reason)


@dataclass(frozen=True)
class Video:
    """Decoded frames and their rate in frames per second."""

    frames: Frames
    fps: float


@dataclass(frozen=True)
class Info:
    """What a file holds; `frames` is 0 where the container does not say."""

    frames: int
    height: int
    width: int
    fps: float


# ---- reading ---------------------------------------------------------------------------------------------------


def read(path: Path | str, max_frames: int | None = None) -> Video:
    """All frames (or the first `max_frames`; the rest is then not checked). Raises UserError, DamagedVideo."""
    with _open(path) as (container, stream):
        frames = _arrays(path, _decode(path, container, stream))
        first = next(frames)
        rest = islice(frames, None if max_frames is None else max_frames - 1)
        layout = np.dtype((np.uint8, first.shape))  # grown in place: stacking a list would hold the clip twice
        return Video(np.fromiter(chain([first], rest), layout), _rate(path, stream))


def iterate(path: Path | str) -> Iterator[Frames]:
    """Frames one by one, for clips too large to hold."""
    with _open(path) as (container, stream):
        yield from _arrays(path, _decode(path, container, stream))


def probe(path: Path | str) -> Info:
    """Header and first frame only: cheap, and no promise that the rest can be decoded."""
    with _open(path) as (container, stream):
        height, width = next(_arrays(path, _decode(path, container, stream))).shape[:2]
        return Info(stream.frames, height, width, _rate(path, stream))


class Reader:
    """A clip read piece by piece, so that memory does not grow with its length; from `reader`."""

    def __init__(self, path: Path | str, container: InputContainer, stream: VideoStream) -> None:
        self._decoded = _decode(path, container, stream)
        self._arrays = _arrays(path, self._decoded)
        first = next(self._arrays)
        self.info = Info(stream.frames, first.shape[0], first.shape[1], _rate(path, stream))
        self._arrays, self._seen = chain([first], self._arrays), 0

    def read(self, count: int) -> Frames:
        """The next frames, at most `count`; `[0, H, W, 3]` at the end."""
        layout = np.dtype((np.uint8, (self.info.height, self.info.width, 3)))
        frames = np.asarray(np.fromiter(islice(self._arrays, count), layout), np.uint8)
        self._seen += len(frames)
        return frames

    def total(self) -> int:
        """Number of frames in the file: the rest is decoded, so that damage is found, but not converted."""
        head = sum(1 for _ in islice(self._arrays, 1)) if self._seen == 0 else 0  # the first one is decoded already
        self._seen += head + sum(1 for _ in self._decoded)
        return self._seen


@contextmanager
def reader(path: Path | str) -> Iterator[Reader]:
    """Open a clip for reading in pieces. Raises UserError, DamagedVideo, also on the way."""
    with _open(path) as (container, stream):
        yield Reader(path, container, stream)


def check(path: Path | str) -> Info:
    """Decode everything, keep nothing: the true frame count, or DamagedVideo."""
    info = probe(path)
    with _open(path) as (container, stream):
        return replace(info, frames=sum(1 for _ in _decode(path, container, stream)))


@contextmanager
def _open(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    import av

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file", "check the path")
    _check_whole(path)
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise DamagedVideo(path, f"not a readable video file ({error.strerror})") from error
    with container:
        if not container.streams.video:
            raise DamagedVideo(path, "it has no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # workers are processes; threads here would only contend
        yield container, stream


def _check_whole(path: Path) -> None:
    """Empty files, and MP4/MOV files whose last box reaches beyond the end of the file."""
    size, position = path.stat().st_size, 0
    if size == 0:
        raise DamagedVideo(path, "the file is empty")
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length == 0 or (position == 0 and head[4:8] != b"ftyp"):  # 0: to the end of the file
                return
            position += max(length, 8)
    if position > size:
        raise DamagedVideo(path, f"the file is cut off: {size} of at least {position} bytes")


def _decode(path: Path | str, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Frames in order. Packets, not frames, are held against the container's count: edit lists hide frames by right."""
    import av

    packets = shown = 0
    try:
        for packet in container.demux(stream):
            packets += packet.size > 0
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise DamagedVideo(path, f"frame {shown + 1} is corrupt")
                shown += 1
                yield frame
    except av.FFmpegError as error:
        raise DamagedVideo(path, f"decoding stops after frame {shown} ({error.strerror})") from error
    if packets < stream.frames:
        raise DamagedVideo(path, f"it holds {packets} of the {stream.frames} frames it promises")
    if not shown:
        raise DamagedVideo(path, "it holds no frame")


def _arrays(path: Path | str, decoded: Iterable[av.VideoFrame]) -> Iterator[Frames]:
    from av.video.reformatter import VideoReformatter

    shape, to_rgb = tuple[int, ...](), VideoReformatter()  # one for all frames: its set-up costs more than a small one
    for frame in decoded:
        # bicubic is what OpenCV asks of swscale; only 10-bit streams differ between the choices
        array = np.asarray(to_rgb.reformat(frame, format="rgb24", interpolation="BICUBIC").to_ndarray(), np.uint8)
        if frame.rotation % 90:
            raise UserError(f"{path}: rotated by {frame.rotation} degrees", "re-encode it upright")
        array = np.ascontiguousarray(np.rot90(array, frame.rotation // 90))
        shape = shape or array.shape
        if array.shape != shape:
            raise DamagedVideo(path, f"the frame size changes from {shape[1]}x{shape[0]} on the way")
        yield array


def _rate(path: Path | str, stream: VideoStream) -> float:
    """Frames per second; the average where the rate varies."""
    if not (rate := stream.average_rate or stream.guessed_rate):
        raise DamagedVideo(path, "it states no frame rate")
    return float(rate)


# ---- writing ---------------------------------------------------------------------------------------------------


def write(path: Path | str, frames: Frames, fps: float) -> None:
    """H.264 yuv420p mp4 that browsers play; the same frames give the same bytes (one thread, no time stamps).

    `path` itself is written; odd heights and widths are made even by repeating the last row or column.
    Raises UserError: frames are not uint8 `[F, H, W, 3]`, or the file cannot be written.
    """
    import av

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise UserError(f"cannot write {frames.dtype} {list(frames.shape)} as video", "frames are uint8 [F, H, W, 3]")
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"cannot write video at {fps} frames per second", "give a positive rate")
    even = ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0))
    frames = np.ascontiguousarray(np.pad(frames, even, mode="edge"))
    try:
        with av.open(str(path), "w", format="mp4", options=MUXER) as container:
            stream = _h264(container, frames.shape[1], frames.shape[2], fps)
            for frame in _yuv420(frames):
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}", "is there space left?") from error


def _h264(container: av.container.OutputContainer, height: int, width: int, fps: float) -> VideoStream:
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    # mbtree: its assembly gives other bits on other CPUs, and on AVX-512 from run to run
    options = {"crf": str(CRF), "preset": "medium", "flags": "+bitexact", "x264-params": "mbtree=0"}
    stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001), options=options)
    stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, "yuv420p", 1
    context = stream.codec_context
    context.colorspace, context.color_range = 6, ColorRange.MPEG  # 6: SMPTE 170M, the matrix untagged readers assume
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1  # sRGB
    return stream


def _yuv420(frames: Frames) -> Iterator[av.VideoFrame]:
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    exact = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT  # the same on every CPU
    to_yuv = VideoReformatter()
    for frame in frames:
        rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
        yield to_yuv.reformat(rgb, format="yuv420p", interpolation=int(exact))


# ---- fitting footage to a clip spec ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Resampling:
    """How one piece of footage becomes one clip: which frames, how scaled, what is cut off."""

    frames: tuple[int, ...]  # source frame shown by each frame of the clip
    speed: float  # seconds of footage per second of clip; below 1 the footage was too short and is slowed down
    scaled: tuple[int, int]  # height, width before the crop
    crop: tuple[int, int, int, int]  # top, left, height, width

    @property
    def repeated(self) -> int:
        """Frames shown more than once because the footage has a lower rate."""
        return len(self.frames) - len(set(self.frames))

    def fit(self, frame: Frames) -> Frames:
        """One source frame `[h, w, 3]`, scaled (area when shrinking, bicubic when enlarging) and cropped."""
        import cv2

        (height, width), (top, left, rows, columns) = self.scaled, self.crop
        if frame.shape[:2] != self.scaled:
            how = cv2.INTER_AREA if height < frame.shape[0] else cv2.INTER_CUBIC
            frame = np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.uint8)
        return frame[top : top + rows, left : left + columns]


def plan_resample(info: Info, spec: ClipSpec) -> Resampling:
    """Nearest frames in time over the middle of the footage; shorter side scaled to fit, centre crop.

    Footage shorter than the clip in time is spread over the whole clip. Raises UserError when it has fewer frames
    than the clip needs.
    """
    if info.frames < spec.frames:
        problem = f"it has {info.frames} frames, a clip needs {spec.frames}"
        raise UserError(problem, "leave it out or ask for fewer frames")
    seconds, wanted = info.frames / info.fps, spec.frames / spec.fps
    window = min(seconds, wanted)
    times = (seconds - window) / 2 + (np.arange(spec.frames) + 0.5) * window / spec.frames
    scale = max(spec.height / info.height, spec.width / info.width)
    height, width = max(spec.height, round(info.height * scale)), max(spec.width, round(info.width * scale))
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    return Resampling(
        frames=tuple(np.minimum((times * info.fps).astype(int), info.frames - 1).tolist()),
        speed=window / wanted,
        scaled=(height, width),
        crop=(top, left, spec.height, spec.width),
    )


def resample(frames: Frames, fps: float, spec: ClipSpec) -> tuple[Frames, Resampling]:
    """Frames `[F, H, W, 3]` at `fps` as a clip of exactly `spec`, with what was done."""
    plan = plan_resample(Info(len(frames), frames.shape[1], frames.shape[2], fps), spec)
    return np.stack([plan.fit(frames[index]) for index in plan.frames]), plan


def contact_sheet(frames: Frames, n: int = 8, gap: int = 2) -> Frames:
    """A filmstrip `[H, ~n W, 3]`: `n` evenly spaced frames, first and last included, with white gaps."""
    shown = np.unique(np.linspace(0, len(frames) - 1, n).round().astype(int))
    bar = np.full((frames.shape[1], gap, 3), 255, np.uint8)
    strip = [piece for index in shown for piece in (bar, frames[index])]
    return np.concatenate(strip[1:], axis=1)


def png(image: Frames) -> bytes:
    """`[H, W, 3]` RGB as a PNG file."""
    import cv2

    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()
