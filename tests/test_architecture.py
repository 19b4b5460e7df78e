"""Who may import whom, and who may know a name: read from the syntax tree, so that a shortcut fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "methods", "metrics", "leaderboards")
ALLOWED = {
    "methods": {"harness.api", "harness.video", "harness.stats", "harness.errors", "harness.networks", "methods"},
    "metrics": {
        "harness.api", "harness.video", "harness.features", "harness.stats", "harness.errors", "harness.networks",
        "harness.weights", "harness.cache", "harness.corruptions", "harness.tracking", "metrics",
    },
    "leaderboards": {
        "harness.store", "harness.stats", "harness.suite", "harness.video", "harness.errors", "leaderboards",
    },
    "harness": {"harness"},
}  # fmt: skip
EXCEPTIONS = {
    "harness/cli.py": {"methods", "metrics", "leaderboards"},
    "harness/commands": {"methods", "metrics", "leaderboards"},
    "harness/scaffold/templates": {"methods"},  # other people's code, copied by `mutoscope new`
    "metrics/shapes/train_reader.py": {"harness.registry"},  # a training script: it renders the world it learns from
    "metrics/shapes/train_quality.py": {"harness.registry", "harness.data"},  # the same
    "metrics/shapes/measure_quality.py": {"harness.registry", "harness.data"},  # the same
    "metrics/shapes/measure_judges.py": {"harness.registry", "harness.data"},  # the same
    "metrics/trajan/world.py": {"harness.registry"},  # the same
    "metrics/cdfvd/train_shapes.py": {"harness.registry"},  # the same
    "methods/rewards/train.py": {"harness.registry"},  # the same
}


def sources(package: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / package).rglob("*.py")))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(dotted module, is it at module top) of every import of ours, `from package import name` spelled out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = node.module in PACKAGES
            names = [f"{node.module}.{alias.name}" for alias in node.names] if whole else [node.module]
        else:
            continue
        yield from ((name, id(node) in top) for name in names if name.split(".")[0] in PACKAGES)


def extra(path: Path) -> set[str]:
    name = path.relative_to(ROOT).as_posix()
    return set().union(*(names for prefix, names in EXCEPTIONS.items() if name.startswith(prefix)), set())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_rules(package: str) -> None:
    broken = []
    for path in sources(package):
        allowed = ALLOWED[package] | extra(path)
        for name, _ in imports(path):
            if not any(name == rule or name.startswith(rule + ".") for rule in allowed):
                broken.append(f"{path.relative_to(ROOT)} imports {name}")
    assert broken == []


def test_the_command_line_reaches_siblings_only_inside_functions() -> None:
    paths = [ROOT / "harness" / "cli.py", *sorted((ROOT / "harness" / "commands").glob("*.py"))]
    early = [
        (path.name, name) for path in paths for name, top in imports(path) if top and not name.startswith("harness")
    ]
    assert early == []


def test_only_the_publisher_imports_mlflow() -> None:
    found = set()
    for package in PACKAGES:
        for path in sources(package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "mlflow" for name in names):
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == {"leaderboards/publish.py"}


def test_no_file_knows_a_plugin_by_name() -> None:
    """A method's or metric's name is a string constant only in its own folder."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    entries = groups["mutoscope.methods"] | groups["mutoscope.metrics"]
    broken = []
    for package in PACKAGES:
        for path in sources(package):
            folder = ".".join(path.relative_to(ROOT).parts[:2])
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                value = node.value if isinstance(node, ast.Constant) else None
                known = isinstance(value, str) and value in entries and value != "base"
                if known and not entries[value].startswith(folder):
                    broken.append(f"{path.relative_to(ROOT)}:{node.lineno} knows {value}")
    assert broken == []


@pytest.mark.parametrize("words", [["--help"], ["list"], ["run", "--help"]])
def test_cheap_commands_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, harness.cli as c; sys.argv = ['mutoscope', *sys.argv[1:]]\n"
        "try: c.main()\n"
        "except SystemExit: pass\n"
        "heavy = [m for m in ('torch', 'mlflow', 'diffusers', 'pandas', 'cv2') if m in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_nothing_is_over_long() -> None:
    """Split by idea before a file outgrows a reader."""
    long = {
        str(path.relative_to(ROOT)): count
        for package in PACKAGES
        for path in sources(package)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
