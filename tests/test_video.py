"""The decoder, the encoder, and fitting footage to a clip spec."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from harness import video
from harness.api import ClipSpec
from harness.errors import UserError
from harness.video import DamagedVideo, Info
from tests.footage import REAL, drifting, needs_real_clips


def colourful(frames: int = 6, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth colours that move: chroma that survives being halved."""
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 90 * np.sin((x * a + y * b) / 14 + 0.4 * t) for t in range(frames) for a, b in [(1, 0), (0, 1), (1, 1)]
    ]
    return np.stack(waves).reshape(frames, 3, height, width).transpose(0, 2, 3, 1).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def remux(source: Path, target: Path, rotation: int = 0, keep: slice = slice(None), cut: float = 0.0) -> None:
    """Copy packets, marked as rotated, `keep` of them only, or with the first `cut` seconds hidden by an edit list."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        if rotation:
            copy.set_display_rotation(rotation)
        offset = int(cut / stream.time_base)
        for packet in [packet for packet in reader.demux(stream) if packet.dts is not None][keep]:
            packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
            writer.mux(packet)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    video.write(tmp_path / "clip.mp4", colourful(), 8)
    return tmp_path / "clip.mp4"


# ---- writing and reading back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [8, 30000 / 1001, 24, 12.5])
def test_what_is_written_is_read_back(tmp_path: Path, fps: float) -> None:
    frames = colourful()
    video.write(tmp_path / "a.mp4", frames, fps)
    back = video.read(tmp_path / "a.mp4")
    assert back.frames.shape == frames.shape
    assert back.frames.dtype == np.uint8
    assert back.fps == pytest.approx(fps, rel=1e-9)
    assert psnr(back.frames, frames) > 38
    assert np.abs(back.frames.astype(float).mean((0, 1, 2)) - frames.mean((0, 1, 2))).max() < 1.5  # channels in order


def test_grey_is_near_lossless(tmp_path: Path) -> None:
    frames = drifting(8, 64, 64, 1.5, 0)
    video.write(tmp_path / "a.mp4", frames, 8)
    assert np.abs(video.read(tmp_path / "a.mp4").frames.astype(int) - frames).mean() < 1.0


def test_colours_of_flat_fields(tmp_path: Path) -> None:
    for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)]:
        frames = np.tile(np.array(colour, np.uint8), (3, 32, 32, 1))
        video.write(tmp_path / "a.mp4", frames, 8)
        assert np.abs(video.read(tmp_path / "a.mp4").frames.astype(int) - frames).max() <= 3, colour


def test_file_is_what_browsers_play(clip: Path) -> None:
    with av.open(str(clip)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, container.streams.video[0].frames) == ("h264", "yuv420p", 6)
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is loaded


@pytest.mark.parametrize("size", [(64, 64), (240, 416)])
def test_same_frames_give_the_same_bytes(tmp_path: Path, size: tuple[int, int]) -> None:
    # slow, smooth, self-similar: where x264's mbtree, had it not been switched off, decides differently every time
    frames = np.tile(drifting(24, size[0], size[1] // 2, 0.3, 0.1, sigma=5), (1, 1, 2, 1))
    files = []
    for index in range(6):
        video.write(tmp_path / f"{index}.mp4", frames, 8)
        video.read(tmp_path / f"{index}.mp4")  # memory that the next encoder gets is not clean
        files.append((tmp_path / f"{index}.mp4").read_bytes())
    assert all(data == files[0] for data in files)
    frames[0, 0, 0, 0] ^= 128
    video.write(tmp_path / "other.mp4", frames, 8)
    assert (tmp_path / "other.mp4").read_bytes() != files[0]


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    frames = colourful(3, 47, 63)
    video.write(tmp_path / "a.mp4", frames, 8)
    back = video.read(tmp_path / "a.mp4").frames
    assert back.shape == (3, 48, 64, 3)
    assert psnr(back[:, :47, :63], frames) > 35
    assert np.abs(back[:, 47].astype(int) - back[:, 46]).mean() < 3


@pytest.mark.parametrize(
    "frames",
    [np.zeros((3, 8, 8, 3), np.float32), np.zeros((3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)],
)
def test_refuses_what_is_not_frames(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(UserError, match="cannot write"):
        video.write(tmp_path / "a.mp4", frames, 8)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_what_is_not_a_rate(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UserError, match="frames per second"):
        video.write(tmp_path / "a.mp4", colourful(), fps)


def test_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.mp4: cannot be written: No such file"):
        video.write(tmp_path / "missing" / "a.mp4", colourful(), 8)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk() -> None:
    with pytest.raises(UserError, match="No space left"):
        video.write("/dev/full", colourful(), 8)


def test_partial_and_streamed_reading(clip: Path) -> None:
    whole = video.read(clip).frames
    np.testing.assert_array_equal(video.read(clip, max_frames=2).frames, whole[:2])
    np.testing.assert_array_equal(np.stack(list(video.iterate(clip))), whole)
    assert video.probe(clip) == video.check(clip) == Info(6, 48, 64, 8.0)


def test_variable_rate_is_averaged(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for time, array in zip([0, 1, 2, 10, 11, 12, 20, 21, 22], colourful(9), strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert video.read(tmp_path / "a.mp4").fps == pytest.approx(9 / (23 / 30), rel=0.05)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_respected(clip: Path, tmp_path: Path, rotation: int) -> None:
    remux(clip, tmp_path / "turned.mp4", rotation)
    turned = video.read(tmp_path / "turned.mp4").frames
    np.testing.assert_array_equal(turned, np.rot90(video.read(clip).frames, rotation // 90, axes=(1, 2)))
    opencv = cv2.VideoCapture(str(tmp_path / "turned.mp4")).read()[1][..., ::-1]
    np.testing.assert_array_equal(turned[0], opencv)
    assert video.probe(tmp_path / "turned.mp4").height == turned.shape[1]


def test_rotation_by_other_angles_is_refused(clip: Path, tmp_path: Path) -> None:
    remux(clip, tmp_path / "turned.mp4", 45)
    with pytest.raises(UserError, match="45 degrees"):
        video.read(tmp_path / "turned.mp4")


@needs_real_clips
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_decodes_real_clips_as_opencv_does(path: Path) -> None:
    capture = cv2.VideoCapture(str(path))
    for index, frame in enumerate(video.iterate(path)):
        np.testing.assert_array_equal(frame, capture.read()[1][..., ::-1], err_msg=f"frame {index}")
        if index == 5:
            break


# ---- damage ----------------------------------------------------------------------------------------------------


def damage(clip: Path) -> dict[str, tuple[bytes, str]]:
    data = clip.read_bytes()
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    return {
        "half": (data[: len(data) // 2], "cut off"),
        "last byte": (data[:-1], "cut off"),
        "text": (b"this is not a video\n" * 50, "not a readable video"),
        "empty": (b"", "empty"),
        "overwritten": (data[:middle] + bytes(len(data) - middle), "decoding stops after frame"),
    }


@pytest.mark.parametrize("how", ["half", "last byte", "text", "empty", "overwritten"])
@pytest.mark.parametrize("action", [video.read, video.check, lambda path: list(video.iterate(path))])
def test_damage_is_reported_by_name(clip: Path, how: str, action: object) -> None:
    data, reason = damage(clip)[how]
    bad = clip.with_name("bad.mp4")
    bad.write_bytes(data)
    with pytest.raises(DamagedVideo, match=reason) as caught:
        action(bad)  # type: ignore[operator]
    assert caught.value.problem.startswith(f"{bad}: damaged video: ")
    assert "\n" not in caught.value.problem
    assert pickle.loads(pickle.dumps(caught.value)).problem == caught.value.problem  # comes back from a worker


def test_fewer_frames_than_promised(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]

        class Promise:
            frames = 9

        with pytest.raises(DamagedVideo, match="6 of the 9 frames"):
            list(video._decode(clip, _Container(container, stream), Promise()))  # type: ignore[arg-type]


class _Container:
    def __init__(self, container: object, stream: object) -> None:
        self.container, self.stream = container, stream

    def demux(self, _: object) -> object:
        return self.container.demux(self.stream)  # type: ignore[attr-defined]


def test_frames_hidden_by_an_edit_list_are_no_damage(tmp_path: Path) -> None:
    video.write(tmp_path / "a.mp4", colourful(16), 8)
    remux(tmp_path / "a.mp4", tmp_path / "trimmed.mp4", cut=1.0)
    shown = len(video.read(tmp_path / "trimmed.mp4").frames)
    assert 6 <= shown <= 8
    assert video.probe(tmp_path / "trimmed.mp4").frames == 16


def test_no_file_and_no_video_stream(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        video.read(tmp_path / "none.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", 44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DamagedVideo, match="no video stream"):
        video.read(tmp_path / "sound.mp4")


@needs_real_clips
def test_truncated_real_clips(tmp_path: Path) -> None:
    for path in REAL:
        for share in (0.3, 0.9, 0.9999):
            data = path.read_bytes()
            (tmp_path / path.name).write_bytes(data[: int(len(data) * share)])
            with pytest.raises(DamagedVideo):
                video.check(tmp_path / path.name)


# ---- fitting ---------------------------------------------------------------------------------------------------


def spec(frames: int = 4, height: int = 32, width: int = 32, fps: float = 8.0) -> ClipSpec:
    return ClipSpec(frames=frames, height=height, width=width, fps=fps)


def test_footage_that_fits_is_untouched() -> None:
    frames = colourful(4, 32, 32)
    out, plan = video.resample(frames, 8.0, spec())
    np.testing.assert_array_equal(out, frames)
    assert (plan.frames, plan.speed, plan.repeated, plan.scaled) == ((0, 1, 2, 3), 1.0, 0, (32, 32))


def test_nearest_in_time_from_the_middle() -> None:
    # 32 frames at 24 fps are 4/3 s; the middle half second at 8 fps is every third frame, shown at its middle
    plan = video.plan_resample(Info(32, 32, 32, 24.0), spec())
    assert plan.frames == (11, 14, 17, 20)
    assert plan.speed == 1.0


def test_low_rate_footage_repeats_frames() -> None:
    plan = video.plan_resample(Info(20, 32, 32, 4.0), spec())
    assert plan.frames == (9, 9, 10, 10)
    assert plan.repeated == 2


def test_short_footage_is_spread() -> None:
    plan = video.plan_resample(Info(6, 32, 32, 24.0), spec())
    assert plan.frames == (0, 2, 3, 5)
    assert plan.speed == pytest.approx(0.5)


def test_too_few_frames() -> None:
    with pytest.raises(UserError, match="3 frames, a clip needs 4"):
        video.plan_resample(Info(3, 32, 32, 1.0), spec())


@pytest.mark.parametrize(("height", "width"), [(480, 368), (752, 1360), (31, 33), (32, 200), (20, 20)])
def test_scaled_and_cropped_about_the_middle(height: int, width: int) -> None:
    plan = video.plan_resample(Info(4, height, width, 8.0), spec())
    scale = 32 / min(height, width)
    assert min(plan.scaled) == 32
    assert plan.scaled == (round(height * scale), round(width * scale))
    ramp = np.broadcast_to(np.linspace(0, 250, width).astype(np.uint8)[None, :, None], (height, width, 3))
    out = plan.fit(np.ascontiguousarray(ramp))
    assert out.shape == (32, 32, 3)
    span = min(250, 250 * 31 / scale / (width - 1))  # 31 steps of 1 / scale source pixels
    assert out[:, :, 0].mean() == pytest.approx(125, abs=4)
    assert float(out[16, -1, 0]) - float(out[16, 0, 0]) == pytest.approx(span, abs=5)


def test_shrinking_averages() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    plan = video.plan_resample(Info(4, 64, 64, 8.0), spec())
    assert np.abs(plan.fit(board).astype(float) - 127.5).max() <= 0.5


# ---- pictures --------------------------------------------------------------------------------------------------


def test_contact_sheet() -> None:
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 10, 12, 3), np.uint8)
    sheet = video.contact_sheet(frames, 3)
    assert sheet.shape == (10, 3 * 12 + 2 * 2, 3)
    assert [int(sheet[5, x, 0]) for x in (0, 13, 14, 28)] == [0, 255, 4, 8]
    assert video.contact_sheet(frames[:2], 8).shape == (10, 2 * 12 + 2, 3)


def test_png_keeps_colours() -> None:
    image = colourful(1)[0]
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(video.png(image), np.uint8), 1)[..., ::-1], image)
