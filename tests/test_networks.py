"""Checkpoints of others: every container that is read, and what becomes of a file that is none."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.errors import UserError
from harness.networks.checkpoints import fill, read


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


class Shell:
    """What a hostile pickle holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def same(found: dict[str, Tensor], net: nn.Module) -> None:
    state = net.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_every_container_gives_the_same_tensors(net: nn.Module, tmp_path: Path) -> None:
    state = net.state_dict()
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"model": state, "epoch": 3, "args": {"lr": 0.1}}, tmp_path / "inside.pth")
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "parallel.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "x.safetensors")
    torch.jit.script(net).save(tmp_path / "scripted.pt")
    for name in ("bare.pth", "parallel.pth", "old.pth", "x.safetensors", "scripted.pt"):
        same(read(tmp_path / name, "the test"), net)
    same(read(tmp_path / "inside.pth", "the test", "model"), net)
    with pytest.raises(UserError, match="holds no tensors by name\n"):
        read(tmp_path / "inside.pth", "the test")


def test_a_network_is_filled_whole_or_not_at_all(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "a.pth")
    state = read(tmp_path / "a.pth", "the test")
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    fill(empty, state, tmp_path / "a.pth", "the test")
    same(dict(empty.state_dict()), net)
    torch.save({name: torch.zeros_like(value) for name, value in state.items()}, tmp_path / "a.pth")
    same(dict(empty.state_dict()), net)  # the file may change afterwards
    x = torch.randn(2, 3)
    torch.testing.assert_close(empty(x), net(x))
    for wrong, named in (
        ({k: v for k, v in state.items() if k != "1.bias"}, "1.bias"),
        ({**state, "2.weight": torch.zeros(1)}, "2.weight"),
        ({**state, "0.weight": torch.zeros(4, 2)}, "0.weight"),
    ):
        with pytest.raises(UserError, match=rf"the test: .*a\.pth does not fit this network: .*{named}"):
            fill(empty, wrong, tmp_path / "a.pth", "the test")


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_checkpoint_is_named_and_never_run(new: bool, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"model": Shell(made)}, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match=r"a\.pth holds more than tensors: \S*mkdir, code that is never run"):
        read(tmp_path / "a.pth", "the test")
    assert not made.exists()


def test_what_is_no_checkpoint_is_said_in_two_lines(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10_000)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in {
        "empty.pth": b"",
        "cut.pth": whole[: len(whole) // 2],
        "page.pth": b"<!DOCTYPE html><html>not found</html>",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "page.safetensors": b"<html>",
        "list.pth": pickle.dumps([1, 2], protocol=2),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            read(tmp_path / name, "the test")
        assert str(caught.value).count("\n") == 1, caught.value
        assert caught.value.problem.startswith(f"the test: {tmp_path / name} "), caught.value
    with pytest.raises(UserError, match="missing"):
        read(tmp_path / "none.pth", "the test")
