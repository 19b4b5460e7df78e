"""Published checkpoints: tensors by name out of a file, without running code of the file's, and into a network whole.

torch is imported only inside the functions.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def read(path: Path, who: str, inside: str | None = None) -> dict[str, Tensor]:
    """Tensors by name, on the CPU: of a safetensors file, a torch.save file or a TorchScript archive.

    Args:
        who: what needs the file, for messages.
        inside: the key that holds the tensors where the file may hold other things as well.

    Returns:
        Names are without the `module.` of data-parallel training. A torch.save file of the present format is mapped,
        not copied, into memory: copy what must outlive the file.

    Raises:
        UserError: the file is missing or damaged, holds code or something else than tensors by name.
    """
    import pickle

    import torch
    from safetensors import SafetensorError

    try:
        whole = _load(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _unreadable(path, who, error) from error
    state = whole.get(inside, whole) if inside is not None and isinstance(whole, Mapping) else whole
    if not (isinstance(state, Mapping) and state and all(isinstance(v, torch.Tensor) for v in state.values())):
        wanted = f', under "{inside}" or by themselves' if inside is not None else ""
        raise UserError(f"{who}: {path} holds no tensors by name{wanted}", "is it another model's checkpoint?")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def fill(net: torch.nn.Module, state: Mapping[str, Tensor], path: Path, who: str) -> None:
    """Copy every tensor into the network, none missing, none left over.

    A network made under `torch.device("meta")`, all of whose buffers are in its state, gets memory on the CPU here:
    nothing is initialised in vain.

    Raises:
        UserError: the names or shapes are not those of this network; names the first that differ.
    """
    if any(parameter.is_meta for parameter in net.parameters()):
        net.to_empty(device="cpu")
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(
            f"{who}: {path} does not fit this network: {' '.join(lines[1:2])[:300]}",
            "is it another model's checkpoint?",
        ) from error


def _load(path: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if scripted:  # its code is parsed, never called
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # "torch.jit.load is deprecated": its only reader
                return torch.jit.load(path, map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _unreadable(path: Path, who: str, error: Exception) -> UserError:
    if not path.is_file():
        return UserError(f"{who}: {path} is missing", "give the path of its checkpoint")
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code is not None:
        return UserError(
            f"{who}: {path} holds more than tensors: {code[1]}, code that is never run",
            "get the file from where its authors published it",
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(f"{who}: {path} is damaged, or holds more than tensors: {reason}", "download it again")
