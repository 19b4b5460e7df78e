"""The environments that ship: one `official_env/environment.yaml` in the folder of each metric family."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError, did_you_mean
from metrics.workers.environment import Environment

_METRICS = Path(__file__).resolve().parents[1]


def known() -> dict[str, Environment]:
    """All of them, by the name of their family's folder."""
    files = sorted(_METRICS.glob("*/official_env/environment.yaml"))
    return {file.parents[1].name: Environment(file.parents[1].name, file) for file in files}


def environment(name: str) -> Environment:
    """The one called `name`, or described by the yaml file of that path. UserError with the nearest name."""
    if name.endswith((".yaml", ".yml")):
        file = Path(name).resolve()
        return Environment(file.parents[1].name if file.parent.name == "official_env" else file.stem, file)
    environments = known()
    if name not in environments:
        raise UserError(f'no worker environment is called "{name}"', did_you_mean(name, environments))
    return environments[name]
