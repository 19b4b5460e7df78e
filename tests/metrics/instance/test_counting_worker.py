"""The counting worker around a stand-in of the official module: the same functions, called in the same order.

For the worker's own steps; what the true module says is recorded (`transcript_counting.json`). The stand-in "detects"
as many boxes as a frame's number plus the label's length modulo two, and dies of an empty clip.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metrics.instance.counting import InstancePreservationCounting
from metrics.workers.client import Program, Worker, WorkerError
from metrics.workers.judge import JudgeOptions

WORKER = Path(InstancePreservationCounting.where().file.parent / "worker.py")
TORCH = """class cuda:
    is_available = staticmethod(lambda: False)
def set_num_threads(count): pass
def load(file, weights_only=False): return weights_only
"""
OFFICIAL = """import os, torch
from pathlib import Path
loads = []
def init_detector(config, checkpoint, device):
    assert torch.load(checkpoint) is True
    loads.append(checkpoint)
    return "detector"
def inference_detector(model, image, texts, pipeline, most, threshold, use_amp=False):
    assert (model, most, threshold, texts[1]) == ("detector", 100, 0.28, [" "])
    return int(Path(image).read_text()) + len(texts[0][0]) % 2
def load_dimension_info(file, dimension, lang): raise AssertionError("the worker brings its own")
def compute_instance_preservation(file, device, submodules):
    model = init_detector("config", checkpoint=submodules["model"], device=device)
    assert len(loads) == 1 and os.path.isdir("vbench2") and device == "cpu"
    _, (entry,) = load_dimension_info(file, dimension="instance_preservation", lang="en")
    labels, total = entry["auxiliary_info"].split("and"), 0.0
    video, = entry["video_list"]
    frames = int(Path(video).read_text() or os._exit(1))
    for frame in range(frames):
        image = os.path.join(os.path.dirname(video), "division_used.png")
        Path(image).write_text(str(frame))
        right = 0
        for label in labels:
            number, name = label.split(".")
            found = inference_detector(model, image, [[name.strip()], [" "]], None, 100, 0.28, use_amp=False)
            right += found == int(number)
        total += right / len(labels)
    return total / frames, []
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    source, private = tmp_path / "source", tmp_path / "private"
    (source / "vbench2").mkdir(parents=True)
    (source / "mmcv").mkdir()
    private.mkdir()
    for name, text in {
        "torch.py": TORCH,
        "mmcv/__init__.py": "__version__ = '2.2.0'",
        "mmcv/_ext.py": "",
        "mmdet.py": "import mmcv; assert mmcv.__version__ == '2.0.1'",
        "mmyolo.py": "import mmcv; assert mmcv.__version__ == '2.0.1'",
        "vbench2/__init__.py": "import mmcv, sys; assert mmcv.__version__ == '2.2.0' and 'mmcv._ext' in sys.modules",
        "vbench2/instance_preservation.py": OFFICIAL,
    }.items():
        (source / name).write_text(text)
    script = tmp_path / "worker.py"
    script.write_text(WORKER.read_text().replace('PACKAGES = ("torch",', "PACKAGES = ()\nREAL = ("))  # none installed
    arguments = {"weights": str(tmp_path), "device": "auto", "threads": 1}
    python = Path(sys.executable)
    return Program("toy", python, script, arguments, tmp_path / "log", paths=(source,), folder=private, timeout=60)


def test_counts_come_by_frame_and_label_and_give_the_official_value(program: Program, tmp_path: Path) -> None:
    worker, judge = Worker(program), InstancePreservationCounting(JudgeOptions())
    clip = tmp_path / "clip.mp4"
    try:
        clip.write_text("3")
        two = worker.ask({"path": str(clip), "targets": "1.cat and 1.goat"})
        assert two["counts"] == [[1, 0], [2, 1], [3, 2]]
        assert judge.read(two).value == two["official"] == pytest.approx((0.5 + 0.5 + 0) / 3)
        clip.write_text("4")
        one = worker.ask({"path": str(clip), "targets": "2.goat"})
        assert one["counts"] == [[0], [1], [2], [3]]
        assert judge.read(one).value == one["official"] == 0.25
        clip.write_text("0")
        with pytest.raises(WorkerError, match="ZeroDivisionError"):
            worker.ask({"path": str(clip), "targets": "2.goat"})
        assert sorted(path.name for path in (tmp_path / "private").iterdir()) == ["openai", "vbench2"]
        assert [path.name for path in tmp_path.glob("*.png")] == []
        clip.write_text("")
        with pytest.raises(WorkerError, match="exit code 1"):
            worker.ask({"path": str(clip), "targets": "2.goat"})
        clip.write_text("1")
        assert worker.ask({"path": str(clip), "targets": "2.goat"})["counts"] == [[0]]  # a new process, the old links
    finally:
        worker.close()
