"""The official package as an engine: what is asked of its process, and that its answers are the package's own."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from harness.api import Clip, Score, UserError
from metrics.vbench import official, official_only
from metrics.vbench.dimension import VBenchOptions
from metrics.vbench.official import HERE, OfficialDimension
from metrics.vbench.seeded import write_all
from metrics.vbench.table import files
from metrics.workers.client import WorkerError
from metrics.workers.known import environment
from tests.metrics.vbench.clips import SEED, SHOTS, render, write
from tests.metrics.vbench.native import OUTPUTS

RECORDED: dict[str, Any] = json.loads(OUTPUTS.read_text(encoding="utf-8"))["dimensions"]
ONLY = (official_only.ObjectClass, official_only.MultipleObjects, official_only.Color,
        official_only.SpatialRelationship, official_only.Scene)  # fmt: skip

FAKE = """
import os
def start(arguments):
    def answer(request):
        if request["prompt"] == "skip":
            return {"skip": "too short"}
        if request["prompt"] == "fail":
            raise RuntimeError("CUDA out of memory")
        told = {"arguments": arguments, "request": request, "folder": os.getcwd(),
                "variables": dict(os.environ), "links": {name: os.readlink(name) for name in (
                    "bert-base-uncased", "torch/hub/checkpoints/dino_vitbase16_pretrain.pth")}}
        with open(request["auxiliary"], "w") as file:
            json.dump(told, file)
        return {"value": 0.25, "parts": {"frames": 16.0}}
    return answer
import json
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfficialDimension]:
    (tmp_path / "worker.py").write_text(FAKE)
    monkeypatch.setattr(official, "HERE", tmp_path)
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MUTOSCOPE_WORKER_VBENCH", sys.executable)
    env = environment("vbench")
    env.folder.mkdir(parents=True)
    (env.folder / "sources.json").touch()
    found = OfficialDimension("color", VBenchOptions(weights=str(tmp_path / "weights"), device="cpu"))
    yield found
    found.close()


def clip(tmp_path: Path, prompt: str | None, **meta: Any) -> Clip:
    return Clip("a", tmp_path / 'it\'s a "clip" é.mp4', "0" * 64, prompt, 0, meta)


# ---- our side --------------------------------------------------------------------------------------------------


def test_what_the_process_is_told(fake: OfficialDimension, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    answer = fake.score(clip(tmp_path, "a red bus", auxiliary_info={"color": str(told), "scene": "other"}))
    assert answer == Score(0.25, {"frames": 16.0})
    seen = json.loads(told.read_text())
    assert seen["request"] == {
        "path": str(tmp_path / "it's a \"clip\" é.mp4"), "prompt": "a red bus", "auxiliary": str(told)
    }  # fmt: skip
    assert seen["arguments"] == {
        "dimension": "color", "device": "cpu", "threads": torch.get_num_threads(), "seed": 0, "trusted": True
    }  # fmt: skip
    weights, variables = tmp_path / "weights", seen["variables"]
    assert variables["VBENCH_CACHE_DIR"] == str(weights)
    assert variables["TORCH_HOME"] == seen["folder"] + "/torch"
    assert variables["OMP_NUM_THREADS"] == str(torch.get_num_threads())
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert list(seen["links"].values()) == [
        str(weights / "bert-base-uncased"), str(weights / "dino_model" / "dino_vitbase16_pretrain.pth")
    ]  # fmt: skip
    fake.close()
    assert not Path(seen["folder"]).exists()


def test_unofficial_files_are_not_trusted(fake: OfficialDimension, tmp_path: Path) -> None:
    fake.config = VBenchOptions(weights=str(tmp_path), unofficial_weights=True)
    fake.score(clip(tmp_path, "a red bus", auxiliary_info={"color": str(tmp_path / "told")}))
    assert json.loads((tmp_path / "told").read_text())["arguments"]["trusted"] is False


def test_not_applicable_and_failed_are_told_apart(fake: OfficialDimension, tmp_path: Path) -> None:
    assert fake.score(clip(tmp_path, "skip")) == Score(None, note="official package: too short")
    with pytest.raises(WorkerError, match=r"vbench color \(official\): RuntimeError: CUDA out of memory"):
        fake.score(clip(tmp_path, "fail"))
    with pytest.raises(UserError, match="a: no prompt\ncolor compares a clip with its prompt"):
        fake.score(clip(tmp_path, None))
    assert fake.score(clip(tmp_path, "skip")).value is None


def test_an_environment_that_is_not_built_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path))
    monkeypatch.delenv("MUTOSCOPE_WORKER_VBENCH", raising=False)
    worker = OfficialDimension("color", VBenchOptions())
    with pytest.raises(
        UserError, match="the vbench environment: missing\nbuild it with `mutoscope workers build vbench`"
    ):
        worker.score(clip(tmp_path, "a red bus"))
    env = environment("vbench")
    env.python.parent.mkdir(parents=True)
    env.python.symlink_to(sys.executable)
    (env.folder / "ready.json").touch()
    assert official.require_environment() == env.python


def test_five_dimensions_are_official_only() -> None:
    assert [kind.dimension for kind in ONLY] == [
        "object_class", "multiple_objects", "color", "spatial_relationship", "scene"
    ]  # fmt: skip
    for kind in ONLY:
        assert kind.name == f"vbench/{kind.dimension}"
        assert kind.engine(VBenchOptions()) == "official"
        assert kind.excluded(VBenchOptions()) == "VBench defines it for its own prompts only"
        assert kind.excluded(VBenchOptions(protocol="standard")) == ""
        assert kind.excluded(VBenchOptions(protocol="standard", backend="native")) == "it has no native engine"


def test_the_environment_is_pinned_to_the_last_package() -> None:
    lines = [line for line in (HERE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 110
    assert all(re.fullmatch(r'[a-z0-9-]+==[0-9][0-9a-z.]*( ; sys_platform == "linux")?', line) for line in lines)
    assert {"vbench==0.1.5", "torch==2.14.1", "torchvision==0.29.1", "numpy==1.26.4"} <= set(lines)
    (source,) = environment("vbench").description.sources.values()
    assert source.url == "https://github.com/facebookresearch/detectron2"
    assert source.commit == "02b5c4e295e990042a714712c21dc79b731e8833"


# ---- the worker script, as far as it goes without the package -----------------------------------------------------


@pytest.fixture
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("vbench_worker", HERE / "worker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    load = torch.load
    spec.loader.exec_module(module)
    yield module
    torch.load = load


def test_it_knows_all_sixteen(script: ModuleType) -> None:
    assert len(script.LOADERS) == 16
    assert {kind.dimension for kind in ONLY} <= set(script.LOADERS)
    assert set(RECORDED) <= set(script.LOADERS)


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("A person is riding a bike", "riding a bike"),
        ("a person is Tai-Chi", "tai"),
        ("A person is yoga_outside", "yoga"),
        ("somebody sings", "somebody sings"),
        ("A person is " + "walking " * 60, ("walking " * 60)[:150]),
        ("a person is in/out", "in out"),
        ("", ""),
    ],
)
def test_labels_reach_the_package_through_the_file_name(script: ModuleType, prompt: str, label: str) -> None:
    path = f"/folder/{script.name('human_action', prompt)}.mp4"
    heard = path.split("/")[-1].lower().split("-")[0].split("person is ")[-1].split("_")[0]  # human_action.py
    assert heard == label
    assert script.name("scene", prompt) == "clip"


def test_a_pickle_with_code_runs_only_if_its_digest_was_right(script: ModuleType, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Code()}, tmp_path / "weights.pth")
    script.read_pickles(trusted=False)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "weights.pth", weights_only=False)
    assert not (tmp_path / "ran").exists()


# ---- with the package: needs its environment -----------------------------------------------------------------------


def needs_the_package() -> None:
    try:
        official.require_environment()
    except UserError as error:
        pytest.skip(error.problem)


def scores(dimension: str, weights: Path, paths: dict[str, Path]) -> dict[str, Score]:
    found = OfficialDimension(dimension, VBenchOptions(weights=str(weights), unofficial_weights=True, device="cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as recorded
    try:
        answers = {}
        for name, path in paths.items():
            shot = SHOTS.get(name, SHOTS["slow"])
            prompt = {"human_action": f"A person is {shot.action}", "color": f"a {shot.colour} dog"}.get(
                dimension, shot.prompt
            )
            answers[name] = found.score(Clip(name, path, "", prompt, meta={"auxiliary_info": shot.auxiliary}))
        return answers
    finally:
        torch.set_num_threads(threads)
        found.close()


@pytest.mark.slow
@pytest.mark.parametrize("dimension", sorted(set(RECORDED) - {kind.dimension for kind in ONLY}))
def test_rows_are_those_of_one_whole_evaluation(dimension: str, tmp_path: Path) -> None:
    """`VBench.evaluate` on all clips at once was recorded; here each is asked for by itself."""
    needs_the_package()
    if files(dimension):
        write_all(tmp_path / "weights", [dimension], SEED, small=True)
    support(tmp_path / "weights")
    recorded = RECORDED[dimension]["values"]
    answers = scores(dimension, tmp_path / "weights", write(tmp_path, *recorded))
    scale = 100 if dimension == "imaging_quality" else 1
    for name, row in recorded.items():
        value = answers[name].value
        assert value is not None, (name, answers[name].note)
        assert abs(value - row["video_results"] / scale) <= 1e-7, name


@pytest.mark.slow
def test_odd_files(tmp_path: Path) -> None:
    needs_the_package()
    strange = tmp_path / 'it\'s a "clip"; $(rm) é 東京\n.MP4'
    write(tmp_path, "slow")
    shutil.copy(tmp_path / "slow.mp4", strange)
    gif(tmp_path / "moving.gif", render("slow"))
    paths = {"slow": tmp_path / "slow.mp4", "strange": strange, "gif": tmp_path / "moving.gif"}
    flickering = scores("temporal_flickering", tmp_path, paths)
    assert flickering["strange"] == flickering["slow"]
    assert abs((flickering["gif"].value or 0) - (flickering["slow"].value or 0)) < 0.05
    write_all(tmp_path, ["motion_smoothness"], SEED, small=True)
    smoothness = scores("motion_smoothness", tmp_path, {**paths, **write(tmp_path, "pair")})
    assert smoothness["gif"] == Score(None, note="official package: the official package reads only mp4 here")
    assert smoothness["pair"] == Score(None, note="official package: 2 frames are too few")
    assert smoothness["strange"] == smoothness["slow"]
    assert smoothness["slow"].value == RECORDED["motion_smoothness"]["values"]["slow"]["video_results"]


@pytest.mark.slow
def test_a_missing_file_is_not_fetched(tmp_path: Path) -> None:
    needs_the_package()
    with pytest.raises(WorkerError, match=r"a file is missing: the tool would now run wget .*musiq_spaq_ckpt-358bb6af"):
        scores("imaging_quality", tmp_path, write(tmp_path, "pair"))


def support(weights: Path) -> None:
    """The vocabulary the package reads; DINO's code must be in the folder `$VBENCH_DINO_CODE`."""
    import os

    import open_clip

    (weights / "ViCLIP").mkdir(parents=True, exist_ok=True)
    name = "bpe_simple_vocab_16e6.txt.gz"
    shutil.copy(Path(open_clip.__file__).parent / name, weights / "ViCLIP" / name)
    code = os.environ.get("VBENCH_DINO_CODE")
    if (weights / "dino_model").exists():
        if code is None:
            pytest.skip("VBENCH_DINO_CODE names no checkout of facebookresearch/dino")
        (weights / "dino_model" / "facebookresearch_dino_main").symlink_to(Path(code).resolve())


def gif(path: Path, frames: np.ndarray) -> None:
    from PIL import Image

    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=125)
