"""Names to plugins: entry points, decorators, `--plugin` files. Loading is lazy; listing never imports a plugin."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """One kind of plugin. Duplicate names are errors; a name is loaded when it is asked for."""

    def __init__(self, kind: str, base: str) -> None:
        self.kind, self.base, self.group = kind, base, f"mutoscope.{kind}s"
        self._classes: dict[str, type[T]] = {}

    @property
    def _points(self) -> dict[str, EntryPoint]:
        return _entry_points(self.group)

    def names(self) -> list[str]:
        return sorted({*self._points, *self._classes})

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator. The class must derive from the kind's base and carry a unique `name`."""
        base = getattr(importlib.import_module("harness.api"), self.base)
        name = getattr(cls, "name", None)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise UserError(f"{cls!r} is not a {self.kind}", f"derive it from harness.api.{self.base}")
        if not name:
            raise UserError(f"{self.kind} {cls.__qualname__} has no name", 'give it one: name = "..."')
        known = self._classes.get(name)
        if known is not None and _where(known) != _where(cls):
            raise UserError(f'two {self.kind}s are called "{name}": {_where(known)} and {_where(cls)}', "rename one")
        point = self._points.get(name)
        if point is not None and not _names(point, cls):
            raise UserError(f'two {self.kind}s are called "{name}": {point.value} and {_where(cls)}', "rename one")
        self._classes[name] = cls
        return cls

    def get(self, name: str, where: str = "") -> type[T]:
        """The class called `name`; UserError with a suggestion, or with the reason why it cannot be imported.

        Args:
            where: dotted path of the name in a suite file, for the message.
        """
        if name not in self._classes:
            if name not in self._points:
                prefix = f"{where}: " if where else ""
                raise UserError(f'{prefix}no {self.kind} is called "{name}"', did_you_mean(name, self.names()))
            try:
                cls = self._points[name].load()
            except UserError:
                raise
            except Exception as error:
                raise UserError(
                    f'{self.kind} "{name}" cannot be imported: {type(error).__name__}: {error}',
                    f"it comes from {self._points[name].value}",
                ) from error
            if getattr(cls, "name", None) != name:
                raise UserError(f'{self.kind} "{name}" calls itself "{getattr(cls, "name", None)}"', "make them agree")
            self.register(cls)
        return self._classes[name]

    def describe(self) -> Iterator[tuple[str, str, str]]:
        """(name, first docstring line, origin) of every plugin, read from source text: nothing is imported."""
        for name in self.names():
            if name in self._classes:
                cls = self._classes[name]
                yield name, (cls.__doc__ or "").strip().split("\n")[0], cls.__module__.split(".")[0]
            else:
                point = self._points[name]
                yield name, _docline(point), point.dist.name if point.dist else point.module


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise UserError(f'two plugins are called "{point.name}": {other.value} and {point.value}', "uninstall one")
    return found


def _where(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _names(point: EntryPoint, cls: type) -> bool:
    """Whether the entry point means this class, defined where it says or re-exported from a submodule."""
    inside = cls.__module__ == point.module or cls.__module__.startswith(f"{point.module}.")
    return inside and point.attr == cls.__qualname__


def _docline(point: EntryPoint) -> str:
    """First docstring line of the class an entry point names, following one re-export, without executing it."""
    module, attr = point.module, point.attr
    for _ in range(3):
        try:
            source = _source(module)
            tree = ast.parse(source.read_text(encoding="utf-8")) if source else ast.Module([], [])
        except (ImportError, OSError, SyntaxError) as error:
            return f"(cannot be read: {error})"
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == attr:
                return (ast.get_docstring(node) or "").split("\n")[0]
            if isinstance(node, ast.ImportFrom) and node.module and attr in {a.name for a in node.names}:
                module = node.module
                break
        else:
            return ""
    return ""


def _source(module: str) -> Path | None:
    """The file of a dotted module; only the top package is looked up, because finding a submodule runs its parents."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not rest:
        return Path(spec.origin) if spec and spec.origin else None
    for root in spec.submodule_search_locations or ():
        place = Path(root, *rest)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.exists():
                return file
    return None


methods: Registry[Any] = Registry("method", "Method")
metrics: Registry[Any] = Registry("metric", "Metric")
backbones: Registry[Any] = Registry("backbone", "Backbone")
datasets: Registry[Any] = Registry("dataset", "Dataset")
trackers: Registry[Any] = Registry("tracker", "Tracker")
register_method, register_metric = methods.register, metrics.register
register_backbone, register_dataset = backbones.register, datasets.register
register_tracker = trackers.register

# ---- parts: the small exchangeable pieces methods are composed from --------------------------------------------

_parts: dict[tuple[str, str], type[Any]] = {}


def register_part(kind: str, name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator for a part, e.g. `@register_part("time_law", "uniform")`; its `Config` holds its options."""

    def add(cls: type[T]) -> type[T]:
        known = _parts.setdefault((kind, name), cls)
        if _where(known) != _where(cls):
            raise UserError(f'two {kind} parts are called "{name}": {_where(known)} and {_where(cls)}', "rename one")
        return cls

    return add


def find_part(kind: str, name: str) -> type[Any]:
    """The part's class."""
    if (kind, name) not in _parts:
        for method in methods.names():  # parts live beside the methods that brought them
            methods.get(method)
    if (kind, name) not in _parts:
        raise UserError(f'no {kind} is called "{name}"', did_you_mean(name, (n for k, n in _parts if k == kind)))
    return _parts[kind, name]


def check_part(kind: str, spec: Mapping[str, Any]) -> Any:
    """Validate `{"name": ..., **options}`; returns the part's Config."""
    from harness.config import validate

    name = str(spec.get("name", ""))
    return validate(find_part(kind, name).Config, {k: v for k, v in spec.items() if k != "name"}, name)


def make_part(kind: str, spec: Mapping[str, Any], *args: Any) -> Any:
    """Build the part: `cls(config, *args)`."""
    return find_part(kind, str(spec.get("name", "")))(check_part(kind, spec), *args)


# ---- features: computed once per clip, shared by metrics -------------------------------------------------------

_features: dict[str, tuple[int, Callable[[Any], Any]]] = {}


def register_feature(name: str, version: int) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Function decorator: `frames uint8 [F, H, W, 3] -> array`. Raise the version when its numbers change."""

    def add(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _features[name] = (version, function)
        return function

    return add


def feature(name: str) -> tuple[int, Callable[[Any], Any]]:
    """(version, function) of a registered feature."""
    if name not in _features:
        raise UserError(f'no feature is called "{name}"', did_you_mean(name, _features))
    return _features[name]


# ---- plugins outside any distribution --------------------------------------------------------------------------


def load_plugin(target: str) -> None:
    """`--plugin path/to/file.py` or `--plugin package.module`: importing it runs its register_* decorators, once."""
    path = Path(target).resolve()
    name = f"mutoscope_plugin_{path.stem}"
    try:
        if target.endswith(".py"):
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None or not path.is_file():
                raise UserError(f"--plugin {target}: no such file", "give the path of a Python file or a module name")
            loaded = sys.modules.get(name)
            if loaded is not None and loaded.__file__ == str(path):
                return
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        else:
            importlib.import_module(target)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--plugin {target} cannot be imported: {type(error).__name__}: {error}") from error
