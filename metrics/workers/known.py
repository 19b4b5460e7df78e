"""The environments that ship: `metrics/<family>/official_env/environment.yaml`, further ones in `<which>_env`."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError, did_you_mean
from metrics.workers.environment import Environment

_METRICS = Path(__file__).resolve().parents[1]


def known() -> dict[str, Environment]:
    """All of them, by name."""
    return {name: Environment(name, file) for name, file in _files().items()}


def environment(name: str) -> Environment:
    """The one called `name`, or described by the yaml file of that path. UserError with the nearest name."""
    if name.endswith((".yaml", ".yml")):
        file = Path(name).resolve()
        return Environment(_name(file), file)
    files = _files()
    if name not in files:
        raise UserError(f'no worker environment is called "{name}"', did_you_mean(name, files))
    return Environment(name, files[name])


def _files() -> dict[str, Path]:
    files = sorted(_METRICS.glob("*/*_env/environment.yaml"))
    return {_name(file): file for file in files}


def _name(file: Path) -> str:
    """The family's, if its folder is `official_env`; `<family>-<which>` in `<which>_env`; elsewhere the file's own."""
    family, which = file.parents[1].name, file.parent.name.removesuffix("_env")
    if file.parent.name == which:
        return file.stem
    return family if which == "official" else f"{family}-{which}"
