"""What installed packages declare under `mutoscope.*` entry points, from metadata and source text alone."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

OURS = "mutoscope"
KINDS = ("method", "metric", "backbone", "dataset", "tracker")
_FOLLOWED = 200  # files of a package that are looked through for what it imports


@dataclass(frozen=True)
class Declared:
    """One plugin that an installed package declares."""

    name: str  # what it is asked for by: as declared, or PACKAGE:NAME where another package declares the same name
    point: EntryPoint
    package: str  # the distribution
    twin: str = ""  # what else the same package declares under this name, which makes it unusable

    @property
    def ours(self) -> bool:
        return self.package == OURS

    def means(self, cls: type) -> bool:
        """Whether it declares this class, defined where it says or re-exported from a submodule."""
        inside = cls.__module__ == self.point.module or cls.__module__.startswith(f"{self.point.module}.")
        return inside and self.point.attr == cls.__qualname__


def group(kind: str) -> str:
    """The entry-point group of a kind: `mutoscope.methods`."""
    return f"{OURS}.{kind}s"


@cache
def declared(kind: str) -> Mapping[str, Declared]:
    """Everything declared, by the name it is asked for; a shared name is plain only for what comes with Mutoscope."""
    by_name: dict[str, dict[str, list[EntryPoint]]] = {}
    for point in entry_points(group=group(kind)):
        points = by_name.setdefault(point.name, {}).setdefault(_package(point), [])
        if point.value not in (other.value for other in points):
            points.append(point)
    found = {}
    for name, packages in by_name.items():
        for package, points in packages.items():
            plain = package == OURS or len(packages) == 1
            asked = name if plain else f"{package}:{name}"
            found[asked] = Declared(asked, points[0], package, ", ".join(point.value for point in points[1:]))
    return found


def shared(kind: str, name: str) -> list[str]:
    """The names to choose from where several packages, none of them ours, declare `name`."""
    return sorted(asked for asked, entry in declared(kind).items() if asked != name and entry.point.name == name)


def package_of(module: str) -> str | None:
    """The installed package whose plugins live in the top-level package of `module`; None for files and our own."""
    top = module.split(".")[0]
    known = {entry.point.module.split(".")[0]: entry.package for kind in KINDS for entry in declared(kind).values()}
    return None if known.get(top) == OURS else known.get(top)


def module_of(file: Path) -> str | None:
    """The module name under which an installed package (in place: `pip install -e`) declares plugins of this file."""
    for kind in KINDS:
        for entry in declared(kind).values():
            source = None if entry.ours else find_source(entry.point.module)
            if source is not None and source.resolve() == file:
                return entry.point.module
    return None


def _package(point: EntryPoint) -> str:
    name = point.dist.name if point.dist else point.module.split(".")[0]
    return re.sub(r"[-_.]+", "-", name).lower()  # the normal form of a distribution's name (PEP 503)


# ---- source text -----------------------------------------------------------------------------------------------


def find_source(module: str) -> Path | None:
    """The file of a dotted module; only the top package is looked up, because finding a submodule runs its parents."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not rest:
        return Path(spec.origin) if spec and spec.origin else None
    for root in spec.submodule_search_locations or ():
        place = Path(root, *rest)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.exists():
                return file
    return None


def first_line(point: EntryPoint) -> str:
    """First docstring line of the class an entry point names, following re-exports."""
    module, attr = point.module, point.attr
    for _ in range(3):
        tree = _parse(module)
        for node in tree.body if isinstance(tree, ast.Module) else ():
            if isinstance(node, ast.ClassDef) and node.name == attr:
                return (ast.get_docstring(node) or "").split("\n")[0]
            if isinstance(node, ast.ImportFrom) and attr in {a.name for a in node.names}:
                module = _absolute(node, module)
                break
        else:
            return ""
    return ""


def _parse(module: str) -> ast.Module | str | None:
    """The syntax tree of a module; why it has none; None where there is no source text to read."""
    source = find_source(module)
    if source is None and not _exists(module):
        return f"there is no module {module}"
    if source is None or source.suffix != ".py":
        return None
    try:
        return ast.parse(source.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"{source.name}, line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{source.name}: {error}"


def _exists(module: str) -> bool:
    """Whether a dotted module, a folder or compiled code of that name is there."""
    top, *rest = module.split(".")
    if module in sys.modules or top in sys.builtin_module_names:
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None or not rest:
        return spec is not None
    places = [Path(root, *rest) for root in spec.submodule_search_locations or ()]
    return any(place.is_dir() or any(place.parent.glob(f"{place.name}.*")) for place in places)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """The dotted module that `from X import ...` inside `module` means."""
    if not node.level:
        return node.module or ""
    source = find_source(module)
    inside = source is not None and source.name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + inside]
    return ".".join([*base, *((node.module,) if node.module else ())])


# ---- what would go wrong ---------------------------------------------------------------------------------------


def trouble(entry: Declared) -> str:
    """Why importing a plugin would certainly fail, as far as source text tells; "" where nothing speaks against it.

    Looked at: the syntax of the modules it imports of its own package, and whether what they import without condition
    exists. What happens only when code runs, such as an exception, shows when the plugin is named.
    """
    if entry.twin:
        return f"{entry.package} declares it twice: {entry.point.value}, {entry.twin}"
    if entry.ours:
        return ""
    parts = entry.point.module.split(".")
    queue = [".".join(parts[: i + 1]) for i in range(len(parts))]
    seen: set[str] = set()
    while queue and len(seen) < _FOLLOWED:
        module = queue.pop(0)
        if module in seen:
            continue
        seen.add(module)
        tree = _parse(module)
        if isinstance(tree, str):
            return tree
        for node in tree.body if tree else ():
            reason, more = _follow(node, module, parts[0])
            if reason:
                return f"{module}: {reason}"
            queue += more
    return _lacks(entry.point)


def _follow(node: ast.stmt, module: str, top: str) -> tuple[str, list[str]]:
    """(what is wrong with one statement of a module, the modules of its own package that it imports)."""
    if isinstance(node, ast.Raise):
        return f"line {node.lineno} raises an exception", []
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        wanted = [_absolute(node, module)]
    else:
        return "", []
    own = []
    for name in wanted:
        if name.split(".")[0] == top:
            own.append(name)
        elif not _exists(name.split(".")[0]):
            return f'it needs the package "{name.split(".")[0]}", which is not installed', []
        elif isinstance(node, ast.ImportFrom) and (absent := _absent(name, node)):
            return f"{name} has no {absent}", []
    if own and isinstance(node, ast.ImportFrom):
        own += [name for alias in node.names if find_source(name := f"{own[0]}.{alias.name}")]
    return "", own


def _absent(module: str, node: ast.ImportFrom) -> str:
    """The first imported name that a module which is loaded already, such as `harness.api`, does not have."""
    loaded = sys.modules.get(module)
    if loaded is None or not hasattr(loaded, "__all__"):
        return ""
    return next((alias.name for alias in node.names if alias.name != "*" and not hasattr(loaded, alias.name)), "")


def _lacks(point: EntryPoint) -> str:
    """The attribute that an entry point names, if its module neither defines nor imports it."""
    tree = _parse(point.module)
    names = set(_bound(tree)) if isinstance(tree, ast.Module) else {"*"}
    certain = not names & {"*", "__getattr__", point.attr.split(".")[0]}
    return f"{point.module} has no {point.attr}" if certain else ""


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a module may bind, "*" for any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
