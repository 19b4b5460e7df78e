"""Packages that are not there: modules and a dist-info in a folder on sys.path, as `pip install` would leave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.entries import declared
from tests import guides


class Site:
    """A site-packages folder of its own, until `close`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.syspath_prepend(folder)
        declared.cache_clear()

    def install(self, package: str, files: Mapping[str, str], **points: Mapping[str, str]) -> None:
        """Files by path; `methods={"name": "module:Class"}` and the like become entry points."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        info = self.folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [
            f"[mutoscope.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in known.items())
            for group, known in points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        declared.cache_clear()

    def close(self) -> None:
        """What it held is unknown again."""
        guides.forget(self.folder)
        declared.cache_clear()
