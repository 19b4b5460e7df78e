"""The worker's handling of the official functions, on stand-ins; what the real ones said is in `test_transcript.py`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from metrics.vbench2 import dimensions


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its script, on whatever torch is here."""
    file = Path(dimensions.__file__).parent / "official_env" / "worker.py"
    spec = importlib.util.spec_from_file_location("vbench2_worker", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "vbench2_worker", module)
    spec.loader.exec_module(module)
    return module


def official(video_results: list[float]) -> Any:
    """As human_clothes.py ends: a list, then a mean over the clips that are not -1."""

    def judge() -> Any:
        processed_json = [{"video_results": value} for value in video_results]
        valid = [each["video_results"] for each in processed_json if each["video_results"] != -1]
        return sum(valid) / len(valid), processed_json

    return judge


def test_a_clip_that_is_left_out_survives_the_official_division_by_zero(worker: ModuleType) -> None:
    assert worker.results_of(official([1.0])) == [{"video_results": 1.0}]
    assert worker.results_of(official([-1])) == [{"video_results": -1}]
    with pytest.raises(ZeroDivisionError):
        worker.results_of(lambda: 1 / 0)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_the_official_cuda_calls_mean_the_cpu(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    torch = worker.torch
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.cuda)
    assert worker.place(device) == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("" if device == "cpu" else "0")
    assert torch.ones(2).cuda().device.type == "cpu"


@pytest.mark.parametrize(("device", "used", "current"), [("auto", "cuda", 0), ("cuda:1", "cuda:1", "cuda:1")])
def test_with_a_gpu_the_official_cuda_calls_mean_that_one(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, device: str, used: str, current: Any
) -> None:
    chosen: list[Any] = []
    untouched = worker.torch.Tensor.cuda
    monkeypatch.setattr(worker.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(worker.torch.cuda, "set_device", chosen.append)
    assert worker.place(device) == used
    assert chosen == [current]
    assert worker.torch.Tensor.cuda is untouched


def test_files_are_read_without_pickles_and_without_a_gpu(worker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(worker.torch, "load", lambda *words, **options: asked.append((*words, options)))
    worker.load_safely()
    worker.torch.load("arcface.pth")
    worker.torch.load("vgg.pth", map_location=None, weights_only=False)
    worker.torch.load("raft.pth", "meta")
    safe = {"weights_only": True}
    assert asked == [("arcface.pth", "cpu", safe), ("vgg.pth", "cpu", safe), ("raft.pth", "meta", safe)]


def test_a_plot_of_six_parts_follows_one_of_five(worker: ModuleType) -> None:
    entry = {"video_list": ["a.mp4"], "auxiliary_info": ["a", "b", "c", "d", "e", "f"]}
    before = {"video_list": ["a.mp4"], "auxiliary_info": ["a", "b", "c", "d", "e"]}
    assert worker.led_in(entry, "complex_plot") == [before, entry]
    assert worker.led_in(before, "complex_plot") == [before]
    assert worker.led_in(entry, "composition") == [entry]


PLOT = """
import json
def load_video(path):
    return path
def load_pretrained_model(place, *words, **options):
    class Tokenizer:
        def batch_decode(self, texts):
            return texts
    return Tokenizer(), "model"
def compute_complex_plot(json_dir, device, submodules_dict):
    tokenizer, _ = load_pretrained_model(submodules_dict["llava"])
    results = []
    for entry in json.load(open(json_dir)):
        for path in entry["video_list"]:
            load_video(path)
            length = len(entry["auxiliary_info"])
            if length == 5:
                template = "five"
            tokenizer.batch_decode([f"{entry['prompt_en']}: {length} parts, template of {template}, on {device}"])
            results.append({"video_path": path, "video_results": 1 / length})
    return 0.0, results
"""


def test_an_answer_is_that_of_the_clips_own_entry(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "vbench2"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "utils.py").write_text(
        "def init_submodules(names, local): return {name: {'llava': '/l'} for name in names}"
    )
    (package / "complex_plot.py").write_text(PLOT)
    (tmp_path / "hubconf.py").write_text("")
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.chdir(private)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("vbench2", "vbench2.utils", "vbench2.complex_plot"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # put back as it was afterwards
        del sys.modules[name]
    for name in ("VBENCH2_CACHE_DIR", "TORCH_HOME", "HF_HOME", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, str(private / name.lower()))
    torch = worker.torch
    monkeypatch.setattr(torch, "load", torch.load)
    monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.cuda)
    threads = {"threads": torch.get_num_threads(), "device": "cpu", "weights": str(tmp_path)}
    answer = worker.start({**threads, "module": "complex_plot", "dimension": "Complex_Plot"})
    request = {"path": "a.mp4", "prompt": "A match.", "auxiliary_info": list("abcdef")}
    for _ in range(2):
        assert answer(request) == {"value": 1 / 6, "said": ["A match.: 6 parts, template of five, on cpu"]}
    assert answer({**request, "auxiliary_info": list("abcde")})["value"] == 1 / 5


def test_the_official_code_finds_its_files(worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights, private = tmp_path / "weights", tmp_path / "private"
    for name in ("torch/hub/checkpoints/cotracker2.pth", "google/siglip-so400m-patch14-384/config.json"):
        (weights / name).parent.mkdir(parents=True)
        (weights / name).write_text(name)
    private.mkdir()
    monkeypatch.chdir(private)
    monkeypatch.setattr(worker, "folder_of", lambda name: tmp_path)
    for name in ("VBENCH2_CACHE_DIR", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(private / name.lower()))
    worker.arrange(weights)
    worker.arrange(weights)  # by the process that follows a crashed one, in the same folder
    assert (private / "torch_home/hub/checkpoints/cotracker2.pth").read_text().endswith("cotracker2.pth")
    assert (private / "torch_home/hub/facebookresearch_co-tracker_main").resolve() == tmp_path
    siglip = private / "hf_home/hub/models--google--siglip-so400m-patch14-384"
    revision = (siglip / "refs" / "main").read_text()
    assert (siglip / "snapshots" / revision / "config.json").read_text().startswith("google/siglip")
    assert not (private / "google").exists()  # LLaVA's builder takes what exists under its name for a CLIP
    assert os.environ["VBENCH2_CACHE_DIR"] == str(weights)


def test_models_are_loaded_once_and_what_they_say_is_kept(worker: ModuleType) -> None:
    loads: list[str] = []

    class Tokenizer:
        def batch_decode(self, ids: list[str]) -> list[str]:
            return ids

    def load(place: str, *words: Any, **options: Any) -> Any:
        loads.append(f"{place} {options['attn_implementation']}")
        return Tokenizer(), "model", "images", 1

    module, said = ModuleType("dimension"), list[str]()
    module.load_pretrained_model = load  # type: ignore[attr-defined]
    worker.remember_what_loads(module, said)
    for _ in range(2):
        tokenizer, *rest = module.load_pretrained_model("llava", None, "llava_qwen", device_map="auto")
        assert tokenizer.batch_decode(["Yes"]) == ["Yes"]
    assert loads == ["llava sdpa"]
    assert rest == ["model", "images", 1]
    assert said == ["Yes", "Yes"]


def test_what_was_said_belongs_to_the_last_clip_that_was_read(worker: ModuleType) -> None:
    module, said = ModuleType("dimension"), ["of the clip before"]
    module.load_video = lambda path, frames: (path, frames)  # type: ignore[attr-defined]
    worker.remember_what_loads(module, said)
    assert module.load_video("a.mp4", 64) == ("a.mp4", 64)
    assert said == []


def test_a_model_that_does_not_load_is_told_by_its_own_failure(worker: ModuleType) -> None:
    """Upstream then tries the hub's name, and would fail of that."""

    def load(place: str, *words: Any, **options: Any) -> Any:
        raise MemoryError("too large") if place == "/weights/llava" else ConnectionError("no hub")

    module = ModuleType("dimension")
    module.load_pretrained_model = load  # type: ignore[attr-defined]
    worker.remember_what_loads(module, [])

    def official() -> None:
        try:
            module.load_pretrained_model("/weights/llava")
        except MemoryError:
            module.load_pretrained_model("lmms-lab/LLaVA-Video-7B-Qwen2")

    with pytest.raises(MemoryError, match="too large"):
        official()


def test_networks_are_built_once_and_the_official_classes_stay_classes(worker: ModuleType) -> None:
    """diversity.py's VGG calls super(VGG, self)."""
    module = ModuleType("dimension")
    exec(  # a module's own namespace, as the official file has it
        "class CameraPredict:\n    pass\n"
        "def vgg19(pretrained):\n    return CameraPredict()\n"
        "class VGG:\n    def __init__(self):\n        super(VGG, self).__init__()\n"
        "        self.features = vgg19(pretrained=True)\n",
        module.__dict__,
    )
    worker.remember_what_loads(module, [])
    assert module.CameraPredict() is module.CameraPredict()
    first, second = module.VGG(), module.VGG()
    assert first is not second
    assert first.features is second.features


def test_mmcv_passes_the_gate_with_its_operators_loaded_first(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").write_text('__version__ = "2.2.0"')
    (tmp_path / "mmcv" / "_ext.py").write_text("")
    for name in ("mmdet", "mmyolo"):
        (tmp_path / f"{name}.py").write_text(
            "import sys, mmcv\nassert mmcv.__version__ == '2.0.1'\nassert 'mmcv._ext' in sys.modules"
        )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mmcv", "mmcv._ext", "mmdet", "mmyolo"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # put back as it was afterwards
        del sys.modules[name]
    worker.pass_the_gate()
    assert sys.modules["mmcv"].__version__ == "2.2.0"


def test_detectors_are_at_the_device_and_name_a_public_text_network(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    texts = SimpleNamespace(model_name="/home/authors/clip")
    described = SimpleNamespace(model=SimpleNamespace(backbone=SimpleNamespace(text_model=texts)))
    engine: Any = ModuleType("mmengine.config")
    engine.Config = SimpleNamespace(fromfile=lambda file: described)
    monkeypatch.setitem(sys.modules, "mmengine.config", engine)
    detect = SimpleNamespace(init_detector=lambda *words, **options: built.append((*words, options)))
    detect.Detector = lambda config, weights: detect.init_detector(config, weights, device="cuda")
    detect.Analyzer = lambda configs: object()
    worker.ready(detect, "cpu")
    for _ in range(2):
        detect.Detector("config.py", "weights.pth")
    assert built == [(described, "weights.pth", {"palette": "random", "device": "cpu"})]
    assert texts.model_name == "openai/clip-vit-base-patch32"
    assert detect.Analyzer({}) is detect.Analyzer({})
