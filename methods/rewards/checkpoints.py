"""Where a reward's checkpoint is. Nothing is ever downloaded, and torch is not imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from harness.errors import UserError
from methods.rewards.base import RewardOptions

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


def _command(options: CheckpointOptions) -> str:
    hub = type(options).model_fields["path"].default
    known = options.path if not (os.path.exists(options.path) or options.path.endswith(_ENDINGS)) else hub
    pinned = f" --revision {options.revision}" if options.revision else ""
    return f"hf download {known} {options.file}{pinned}"
