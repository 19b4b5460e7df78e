"""The file that a killed training of a shipped network goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import UserError
from harness.networks.state_file import load_state, save_state

RUN = {"seed": 0, "batch": 4}


def parts(fill: float) -> dict[str, Any]:
    net = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(net.weight, fill)
    return {"net": net}


def test_it_gives_back_what_it_was_given(tmp_path: Path) -> None:
    path, other = tmp_path / "a.pt", parts(0.0)
    assert load_state(path, RUN, other) == {"step": 0}
    save_state(path, 7, RUN, parts(0.25), end=(10, 3))
    found = load_state(path, RUN, other)
    assert (found["step"], found["end"]) == (7, (10, 3))
    assert other["net"].weight.tolist() == [[0.25, 0.25]]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    save_state(path, 1, RUN, parts(1.0))
    before = path.read_bytes()

    def torn(_: Any, place: Path) -> None:
        place.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, 2, RUN, parts(2.0))
    assert path.read_bytes() == before


def test_another_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    save_state(tmp_path / "a.pt", 1, RUN, parts(1.0))
    mine = parts(3.0)
    with pytest.raises(UserError, match=r"a\.pt is of another run: .*'seed': 0"):
        load_state(tmp_path / "a.pt", {**RUN, "seed": 1}, mine)
    assert mine["net"].weight.tolist() == [[3.0, 3.0]]
