"""Runs a guide: ```python title="file.py" (or yaml, csv ...) writes a file, `mutoscope ...` lines of ```sh are run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import cli, registry
from harness.plugin_files import file_of

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
SHORT = (
    "train.steps=2",
    "train.batch=2",
    "generate.steps=2",
)  # what a test sets in every `run`, with the first 4 prompts
_SHORTER = ("--limit", "4", "--workers", "1", "--no-publish", *(word for key in SHORT for word in ("--set", key)))


@pytest.fixture(name="folder")
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, with runs in it; pictures are not drawn, and what a guide registers is forgotten."""
    forget(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUTOSCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.diagnostics.draw", lambda *_: None)
    yield tmp_path
    forget(tmp_path)


@dataclass(frozen=True)
class Guide:
    """The fenced code of a README."""

    files: dict[str, str]  # by their title
    commands: list[list[str]]  # words after `mutoscope`, line by line

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def read(path: str) -> Guide:
    """The guide at a path from the repository's root."""
    blocks = FENCE.findall((ROOT / path).read_text(encoding="utf-8"))
    lines = [line for language, _, text in blocks if language == "sh" for line in text.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    files = {title: text for _, title, text in blocks if title}
    return Guide(files, [line[1:] for line in words if line[:1] == ["mutoscope"]])


def call(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line in this process, `run` cut short."""
    monkeypatch.setattr("sys.argv", ["mutoscope", *words, *(_SHORTER if words[0] == "run" else ())])
    monkeypatch.setenv("COLUMNS", "220")
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def forget(folder: Path) -> None:
    """Plugins of `--plugin` files and of modules under a folder become unknown again; what is ours stays loaded."""
    gone = {
        name
        for name, module in list(sys.modules.items())
        if file_of(name) is not None or Path(getattr(module, "__file__", None) or ROOT).is_relative_to(folder)
    }
    for kind in (registry.methods, registry.metrics, registry.backbones, registry.datasets, registry.trackers):
        kind._broken.clear()
        for name in [name for name, cls in kind._classes.items() if cls.__module__ in gone]:
            del kind._classes[name]
    for key in [key for key, part in registry._parts.items() if part.__module__ in gone]:
        del registry._parts[key]
    for name in gone:
        del sys.modules[name]
