"""The worker's own steps, without the official scripts."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from metrics.vmbench.metrics import ObjectIntegrity


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worker", ObjectIntegrity.where().file.parent / "worker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_published_pose_checkpoint_is_read_without_running_pickles(worker: ModuleType, tmp_path: Path) -> None:
    """Of what it was trained on mmpose keeps arrays (mmpose/datasets/datasets/utils.py, `parse_pose_metainfo`)."""
    joints = {"sigmas": np.float32([0.026, 0.107]), "keypoint_colors": np.uint8([[51, 153, 255]])}
    torch.save({"meta": {"dataset_meta": joints}, "state_dict": {"a": torch.ones(2)}}, tmp_path / "pose.pth")
    with pytest.raises(pickle.UnpicklingError, match="_reconstruct"):
        torch.load(tmp_path / "pose.pth", weights_only=True)
    with torch.serialization.safe_globals(list(worker.ARRAYS)):
        read = torch.load(tmp_path / "pose.pth", weights_only=True)
    assert read["meta"]["dataset_meta"]["sigmas"].tolist() == pytest.approx([0.026, 0.107])
    assert read["meta"]["dataset_meta"]["keypoint_colors"].tolist() == [[51, 153, 255]]


def test_a_second_process_finds_the_links_of_the_first(
    worker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir()
    monkeypatch.chdir(tmp_path / "private")
    monkeypatch.setattr("sys.path", [])
    for weights in ("first", "second"):
        worker.arrange(tmp_path / "repository", tmp_path / weights)
    assert Path(".cache").readlink() == tmp_path / "second"
    assert {name: Path(name).readlink() for name in worker.FOLDERS} == {
        name: tmp_path / "repository" / name for name in worker.FOLDERS
    }
