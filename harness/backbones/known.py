"""What is known of published weights without having them: `models.yaml`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.config import load_yaml, validate


class Known(BaseModel):
    """One published model. `parameters` and `stored` (bytes a parameter in the files) go by component."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: dict[str, int]
    stored: dict[str, int]
    latent_channels: int
    source: str
    get: str | None = None

    @property
    def download(self) -> int:
        """Bytes of the published files, computed."""
        return sum(count * self.stored[component] for component, count in self.parameters.items())


@cache
def known_models() -> Mapping[str, Known]:
    """By hub id, or by the folder name that the shipped suites use."""
    rows = load_yaml(Path(__file__).with_name("models.yaml"))
    return {name: validate(Known, row, name) for name, row in rows.items()}
