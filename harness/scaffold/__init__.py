"""`mutoscope new`: a small installable package from the files in `templates/`.

They are valid as they lie there; `my-plugin`, `my_plugin` and `MyPlugin` stand for a name, capitals for other words.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.config import load_yaml
from harness.errors import UserError, did_you_mean

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 40  # letters of a name: lines of the templates stay within 120
PATTERNS = {"method": r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", "metric": r"[a-z][a-z0-9]*([-_/][a-z0-9]+)*"}


@dataclass(frozen=True)
class Package:
    """What is to be written."""

    name: str  # the plugin's, as suites and commands say it
    edit: str  # the function to edit
    files: Mapping[str, str]

    @property
    def module(self) -> str:
        return module_name(self.name)

    @property
    def folder(self) -> str:
        """Where it goes by default: not the module's name, since Python may take such a folder for the module."""
        distribution = self.module.replace("_", "-")
        return distribution if distribution != self.module else f"{distribution}-plugin"

    @property
    def commands(self) -> list[str]:
        """What to type next, as its README says."""
        return self.files["README.md"].split("```")[1].splitlines()[1:]


def module_name(name: str) -> str:
    """`my/brightness` and `my-brightness` to `my_brightness`."""
    return re.sub(r"[-/]", "_", name)


def templates(kind: str) -> dict[str, dict[str, Any]]:
    """What can be started from, for a kind: name to its settings in `templates.yaml`."""
    return {name: facts for name, facts in load_yaml(TEMPLATES / "templates.yaml").items() if facts["kind"] == kind}


def package(kind: str, name: str, template: str, taken: list[str]) -> Package:
    """The files of a new package, by name.

    Raises:
        UserError: the name does not suit, or is taken by one of `taken` or by a Python module; no such template.
    """
    known = templates(kind)
    if template not in known:
        raise UserError(f'no {kind} template is called "{template}"', did_you_mean(template, known))
    _check_name(kind, name, taken)
    facts, module = known[template], module_name(name)
    body = _read(f"{template.replace('-', '_')}.py")
    cls = "".join(part.capitalize() for part in module.split("_"))
    if re.search(rf"\b{cls}\b", body):  # a name that the template imports
        cls += kind.capitalize()
    words = {
        "MY-RUN": _run(facts, name),
        "MY-EDIT": f"{facts['edit']}()",
        "MY-KIND": kind,
        "MY-OPTIONS": yaml.safe_dump(facts.get("options", {}), default_flow_style=True).strip(),
        "my-control": facts.get("control", ""),
        "my-distribution": module.replace("_", "-"),
        "my-plugin": name,
        "my_plugin": module,
        "MyPlugin": cls,
    }
    texts = {
        f"{module}.py": body,
        f"test_{module}.py": _read(f"test_{kind}.py"),
        "suite.yaml": _read(f"suite_{kind}.yaml"),
        "README.md": _read(f"readme_{kind}.md"),
        "pyproject.toml": _read("pyproject.toml"),
    }
    return Package(name, facts["edit"], {file: _fill(text, words) for file, text in texts.items()})


def write(new: Package, folder: Path) -> None:
    """Write the files. UserError if something is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already", "choose another folder with --out, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in new.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _read(template: str) -> str:
    return (TEMPLATES / template).read_text(encoding="utf-8")


def _run(facts: Mapping[str, Any], name: str) -> str:
    """What follows `mutoscope run` to compare the method with its control."""
    if facts.get("run") == "quick":
        return f"quick --methods {facts['control']},{name}"
    return str(facts.get("run", ""))


def _fill(text: str, words: Mapping[str, str]) -> str:
    """Every placeholder in one pass, so that a name that contains one stays as it is."""
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _check_name(kind: str, name: str, taken: list[str]) -> None:
    """UserError unless the name can be a plugin's, a module's and a package's."""
    module = module_name(name)
    if not re.fullmatch(PATTERNS[kind], name) or len(name) > LONGEST:
        plain = re.sub(r"[^a-z0-9/]+" if kind == "metric" else r"[^a-z0-9]+", "-", name.lower()).strip("-/0123456789")
        rule = f"letters a-z first, then letters, digits and single - or _{' or /' * (kind == 'metric')}"
        say = f'; for example "{plain[:LONGEST]}"' if plain else ""
        raise UserError(f'"{name}" cannot name a {kind}', f"{rule}, at most {LONGEST} in all{say}")
    if name in taken:
        raise UserError(f'a {kind} is called "{name}" already', "choose another name")
    if keyword.iskeyword(module) or module in sys.builtin_module_names or importlib.util.find_spec(module) is not None:
        raise UserError(f'"{name}" would hide the Python module {module}', f'choose another name, e.g. "my-{name}"')
