"""Where the two workers put the official networks; the rest of them is recorded (record.py, record_tables.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metrics import compbench


def worker(which: str) -> Any:
    file = Path(compbench.__file__).parent / which / "worker.py"
    spec = importlib.util.spec_from_file_location(f"compbench_{which}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _whole_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.cuda)
    monkeypatch.setattr(torch.nn.Module, "cuda", torch.nn.Module.cuda)


def test_llava_on_a_cpu_needs_a_torch_that_has_half_precision_there(monkeypatch: pytest.MonkeyPatch) -> None:
    llava = worker("official_env")
    assert llava.place("cpu") == {"device": "cpu"}
    assert torch.ones(2).cuda().device.type == "cpu"

    def refuse(*_: Any) -> None:
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "conv2d", refuse)
    with pytest.raises(RuntimeError, match=r"LLaVA is loaded in half precision: torch 2\.\S+ needs a GPU for it"):
        llava.place("cpu")


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_motion_scripts_stay_on_the_cpu_where_they_ask_for_cuda(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    script = SimpleNamespace(to_device=lambda data, device: {key: value.to(device) for key, value in data.items()})
    assert worker("motion_env").place(device, {"foreground": script}) == "cpu"
    layer = torch.nn.Linear(1, 1).cuda()
    data = script.to_device({"mask": torch.ones(2).cuda()}, "cuda")
    assert {layer.weight.device.type, data["mask"].device.type} == {"cpu"}


def test_motion_scripts_go_to_the_device_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    motion, cuda = worker("motion_env"), torch.Tensor.cuda
    assert [motion.place(device, {}) for device in ("auto", "cuda", "cuda:1")] == ["cuda"] * 3
    assert asked == ["cuda:1"]
    assert torch.Tensor.cuda is cuda
