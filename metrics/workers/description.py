"""The content of an `environment.yaml`, which describes an official tool's environment.

about: the official VBench package          # one line, for `mutoscope workers`
python: "3.11"
requirements: requirements.txt              # pinned; relative to the yaml
smoke: import vbench                        # must run in the finished environment
variables: {NAME: value}                    # set in the worker's process
gigabytes: 7                                # free space a build needs
overrides: [iopath==0.1.10]                 # versions forced on dependencies that forbid them
sources:                                    # official code that is not a package; importable in the worker
  vbench: {url: https://github.com/Vchitect/VBench, commit: 45e79ec1..., paths: [VBench-2.0]}
extras:                                     # optional layers on top
  more: {about: ..., requirements: more.txt, flags: [--no-deps], smoke: import more}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError
from metrics.workers.sources import Source


class Extra(BaseModel):
    """Further packages on top of the base, for those parts of the tool that need them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str
    requirements: str
    smoke: str
    flags: tuple[str, ...] = ()


class Description(BaseModel):
    """The content of an `environment.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str
    python: str
    requirements: str
    smoke: str
    variables: dict[str, str] = Field(default_factory=dict)
    gigabytes: float = 1.0
    overrides: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    sources: dict[str, Source] = Field(default_factory=dict)
    extras: dict[str, Extra] = Field(default_factory=dict)


def content(file: Path) -> bytes:
    """A file's bytes. Raises UserError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}", "check the path") from error


def read(file: Path) -> Description:
    """The description in a file. Raises UserError that names the key that is wrong."""
    try:
        found: Any = yaml.safe_load(content(file))
        return Description.model_validate(found)
    except yaml.YAMLError as error:
        raise UserError(f"{file}: is not YAML: {' '.join(str(error).split())}", "correct it") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "its content"
        raise UserError(
            f"{file}: {where}: {wrong['msg']}", "what may stand there: metrics/workers/description.py"
        ) from error
