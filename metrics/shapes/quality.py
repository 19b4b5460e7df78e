"""How good are motion and looks of a clip of the embedded world? Judged from its pixels, on VideoAlign's raw scale.

Fixed measurements (`quality_marks`) and two small regressors on them, whose weights ship (`weights/QUALITY.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.api import Clip, ClipInfo, Extractor, Features, FrameChunk, Metric, Score, UserError, register_metric
from metrics.shapes.colours import SIZE, Array, resized
from metrics.shapes.quality_marks import FEWEST, VERSION, chosen, looks, motion

WEIGHTS = Path(__file__).parent / "weights" / "quality.safetensors"
TRAIN_COMMAND = "python -m metrics.shapes.train_quality"
LOWEST, SPAN = {"mq": 0.8, "vq": 1.2}, 3.0  # raw = LOWEST + SPAN * quality, as in the embedded world
CLIP = 5.0  # standard deviations beyond which a mark says no more
LOOKS = 142  # of the marks; those of motion follow

Which = Literal["mq", "vq"]


class QualityMarks(Extractor):
    """Marks of looks and motion, `[247]`, in one pass that holds 17 frames of 64x64; empty below five frames."""

    name = "shapes/quality-marks"
    version = VERSION

    def start(self, info: ClipInfo) -> None:
        self._wanted = chosen(info.frames)
        self._frames: list[NDArray[np.uint8]] = []

    def push(self, chunk: FrameChunk) -> bool:
        for index in self._wanted[len(self._frames) :]:
            if index >= chunk.first + len(chunk):
                break
            self._frames.append(resized(chunk.frames[index - chunk.first][None], SIZE, SIZE)[0])
        return len(self._frames) == len(self._wanted)

    def finish(self) -> Array:
        return marks(np.stack(self._frames)) if len(self._frames) >= FEWEST else np.empty(0, np.float32)


MARKS = QualityMarks()


class Quality(Metric):
    """What both judges share."""

    which: ClassVar[Which]
    unit: ClassVar[str] = "raw"

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        return (WEIGHTS,)

    def extractors(self) -> Sequence[Extractor]:
        return (MARKS,)

    def score(self, clip: Clip, features: Features) -> Score:
        found = features.of(MARKS)
        if not len(found):
            return Score(None, note=f"fewer than {FEWEST} frames")
        return Score(raw(found, self.which))


@register_metric
class MotionQuality(Quality):
    """Motion quality: high where things move at a natural pace, low where they stand still, freeze, jump or mix up.

    A small regressor on the distances between all pairs of frames, fitted to the motion quality of the embedded
    world's damaged clips: pace (saturating), less what is frozen, less most of what is shuffled. On the raw scale of
    VideoAlign's MQ; 2.5 and above is high for TQD. It sees no caption: a scene that is meant to stand still scores low.
    Not applicable: fewer than five frames.
    """

    name: ClassVar[str] = "shapes/mq"
    which = "mq"
    range: ClassVar[tuple[float, float]] = (0.8, 3.8)
    moves = {
        "freeze": "down", "shuffle": "down", "teleport": "down", "jitter": "down",
        "reverse": "same", "blur": "same", "compression": "same",
    }  # fmt: skip


@register_metric
class VisualQuality(Quality):
    """Visual quality: high where frames are sharp and clean, low where they are blurred, noisy or blocky.

    A small regressor on the detail of blocks, the steepness of edges and the grain between frames, fitted to the
    visual quality of the embedded world's damaged clips. On the raw scale of VideoAlign's VQ; 2.7 and above is high for
    TQD. Clips are brought to 64x64 first: damage finer than that is not seen. Not applicable: fewer than five frames.
    """

    name: ClassVar[str] = "shapes/vq"
    which = "vq"
    range: ClassVar[tuple[float, float]] = (1.2, 4.2)
    moves = {
        "blur": "down", "noise": "down", "compression": "down",
        "freeze": "same", "shuffle": "same", "reverse": "same", "speed_up": "same", "object_swap": "same",
    }  # fmt: skip


def marks(frames: NDArray[np.uint8]) -> Array:
    """All marks of frames `[F, 64, 64, 3]`, F >= 5: looks, then motion."""
    return np.concatenate([looks(frames), motion(frames)])


def raw(found: Array, which: Which, path: Path = WEIGHTS) -> float:
    """The score that belongs to marks `[247]`."""
    return LOWEST[which] + SPAN * float(quality(found, load(path), which))


def quality(found: NDArray[Any], parts: Mapping[str, NDArray[Any]], which: Which) -> NDArray[np.float64]:
    """Quality in (0, 1) of marks `[..., 247]`: three layers, SiLU in between, a logistic at the end; float64."""
    own = found[..., LOOKS:] if which == "mq" else found[..., :LOOKS]
    mean, scale = (parts[f"{which}.{name}"].astype(np.float64) for name in ("mean", "scale"))
    x = np.clip((own - mean) / scale, -CLIP, CLIP)
    for layer in range(3):
        x = x @ parts[f"{which}.{2 * layer}.weight"].astype(np.float64).T + parts[f"{which}.{2 * layer}.bias"]
        x = x / (1 + np.exp(-x)) if layer < 2 else 1 / (1 + np.exp(-x))
    return np.asarray(x[..., 0])


@cache
def load(path: Path = WEIGHTS) -> dict[str, NDArray[Any]]:
    """The regressors. Raises UserError when the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise UserError(f"the weights of shapes' quality judges are missing: {path}", f"make them: {TRAIN_COMMAND}")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise UserError(f"{path} holds no quality judges", f"make it anew with: {TRAIN_COMMAND}") from error
