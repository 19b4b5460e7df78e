"""Where a reward's checkpoint is, and what is in it. Nothing is ever downloaded; only `read` imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from methods.rewards.base import RewardOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")


class CheckpointOptions(RewardOptions):
    """`path`: a checkpoint file, a folder that holds `file`, or the id of the hub model `file` was downloaded from."""

    path: str
    file: str
    revision: str | None = None
    precision: Literal["float32", "bfloat16"] = "float32"


def need(options: CheckpointOptions, who: str) -> Path:
    """The checkpoint's file.

    Raises:
        UserError: it is not on this machine; with the command that gets it.
    """
    path, file = options.path, options.file
    if os.path.isfile(path):
        return Path(path)
    command = _command(options)
    if os.path.isdir(path):
        if not (Path(path) / file).is_file():
            raise UserError(f"{who}: {Path(path) / file} is missing", f"get it with `{command} --local-dir {path}`")
        return Path(path) / file
    if path.endswith(_ENDINGS):
        raise UserError(f"{who}: {path} is missing", f"get {file} with `{command}` and leave `path` out")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(path, file, revision=options.revision)
    except HFValidationError as error:
        raise UserError(
            f"{who}: {path} is neither a file, a folder nor a hub id", f"give `path` one: {error}"
        ) from error
    if not isinstance(found, str):
        raise UserError(f"{who}: {file} of {path} is not downloaded", f"get it with `{command}`")
    return Path(found)


def read(path: Path, who: str, inside: str) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, read without running any code of the file's.

    Args:
        inside: the key that holds the tensors where the file holds other things as well.

    Raises:
        UserError: the file is damaged or holds something else.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        whole: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(
            f"{who}: {path} is damaged, or holds more than tensors: {str(error).splitlines()[0]}", "download it again"
        ) from error
    state = whole.get(inside, whole) if isinstance(whole, Mapping) else whole
    if not (isinstance(state, Mapping) and state and all(isinstance(v, torch.Tensor) for v in state.values())):
        raise UserError(f"{who}: {path} holds no tensors by name", f"is it the file this reward needs ({inside})?")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def fill(net: torch.nn.Module, state: Mapping[str, Tensor], path: Path, who: str) -> None:
    """Load every tensor into the network, none missing, none left over. UserError when they do not fit."""
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(
            f"{who}: {path} does not fit this network: {' '.join(lines[1:2])[:300]}",
            "is it another model's checkpoint?",
        ) from error


def _command(options: CheckpointOptions) -> str:
    hub = type(options).model_fields["path"].default
    known = options.path if not (os.path.exists(options.path) or options.path.endswith(_ENDINGS)) else hub
    pinned = f" --revision {options.revision}" if options.revision else ""
    return f"hf download {known} {options.file}{pinned}"
