"""Reading TRAJAN's checkpoint files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from harness.errors import UserError
from metrics.trajan.checkpoint import arrays_of, layout, load
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.sizes import OFFICIAL, SMALL
from tests.metrics.trajan import seeded

KERNEL = "track_readout_attn/layer_0/self_att/dense_query/kernel"


def arrays() -> dict[str, np.ndarray]:
    torch.manual_seed(4)
    return arrays_of(TrackAutoEncoder(SMALL))


def test_the_layout_is_that_of_the_published_file() -> None:
    """As written down in `seeded.shapes` from the official source; 252 arrays and 68,333,080 values."""
    found = {place.name: place.shape for place in layout(TrackAutoEncoder(OFFICIAL)).values()}
    assert found == seeded.shapes(seeded.DEFAULT)
    assert (len(found), sum(int(np.prod(shape)) for shape in found.values())) == (252, 68_333_080)


@pytest.mark.parametrize("prefix", ["", "params/"])
def test_files_with_and_without_a_prefix_give_the_network_back(tmp_path: Path, prefix: str) -> None:
    given = arrays()
    np.savez(tmp_path / "a.npz", **{prefix + name: array for name, array in given.items()})
    back = arrays_of(load(tmp_path / "a.npz", SMALL))
    assert all(np.array_equal(back[name], given[name]) for name in given)


def test_safetensors_hold_the_same_names(tmp_path: Path) -> None:
    given = arrays()
    save_file(given, tmp_path / "a.safetensors")
    back = arrays_of(load(tmp_path / "a.safetensors", SMALL))
    assert all(np.array_equal(back[name], given[name]) for name in given)


def test_an_array_that_is_missing_left_over_or_misshaped_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    whole = arrays()
    np.savez(path, **{name: array for name, array in whole.items() if name != KERNEL})
    with pytest.raises(UserError, match=f"1 array is missing: {KERNEL}"):
        load(path, SMALL)
    np.savez(path, **whole, **{"video_encoder/kernel": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match="1 array is of no use: video_encoder/kernel"):
        load(path, SMALL)
    np.savez(path, **{**whole, KERNEL: whole[KERNEL][:, :2]})
    with pytest.raises(UserError, match=rf"misshaped: {KERNEL} is \(128, 2, 32\), expected \(128, 3, 32\)"):
        load(path, SMALL)
    np.savez(path, **whole)
    with pytest.raises(UserError, match=r"arrays are .* and \d+ more"):
        load(path, OFFICIAL)
    np.savez(path, **{name: array for name, array in whole.items() if name != "query_encoder/bias"})
    with pytest.raises(UserError, match="query_encoder/bias is missing"):
        load(path)


def test_what_is_no_archive_of_floats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UserError, match="damaged, or no archive"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "code.npz", params=np.array({"a": 1}, dtype=object))
    with pytest.raises(UserError, match="plain arrays"):
        load(tmp_path / "code.npz")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(UserError, match="plain arrays"):
        load(tmp_path / "bare.npy")
    np.savez(tmp_path / "whole.npz", a=np.arange(3))
    with pytest.raises(UserError, match="a holds int64"):
        load(tmp_path / "whole.npz")
