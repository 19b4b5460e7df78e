"""Names to plugins: entry points, decorators, `--plugin` files. Loading is lazy; listing never imports a plugin."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from harness.entries import Declared, declared, first_line, package_of, shared, trouble
from harness.errors import UserError, did_you_mean
from harness.plugin_files import file_of, load_plugin, reason

__all__ = [
    "Entry",
    "Registry",
    "backbones",
    "check_part",
    "datasets",
    "feature",
    "find_part",
    "load_plugin",
    "make_part",
    "methods",
    "metrics",
    "register_backbone",
    "register_dataset",
    "register_feature",
    "register_method",
    "register_metric",
    "register_part",
    "register_tracker",
    "trackers",
]

T = TypeVar("T")


class Entry(NamedTuple):
    """A line of `mutoscope list`."""

    name: str
    about: str  # the first docstring line
    origin: str  # the package or file it comes from
    trouble: str = ""  # why it cannot be imported, as far as that is known without doing it


class Registry(Generic[T]):
    """One kind of plugin. Duplicate names are errors; a name is loaded when it is asked for.

    A package's plugin whose name another package declares too is called PACKAGE:NAME; only what comes with Mutoscope
    keeps the plain one. Two of one name in a package or in `--plugin` files are an error.
    """

    def __init__(self, kind: str, base: str) -> None:
        self.kind, self.base = kind, base
        self._classes: dict[str, type[T]] = {}
        self._broken: dict[str, UserError] = {}

    @property
    def _declared(self) -> Mapping[str, Declared]:
        return declared(self.kind)

    def names(self) -> list[str]:
        return sorted({*self._declared, *self._classes})

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator. The class must derive from the kind's base and carry a unique `name`."""
        base = getattr(importlib.import_module("harness.api"), self.base)
        name = getattr(cls, "name", None)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise UserError(f"{cls!r} is not a {self.kind}", f"derive it from harness.api.{self.base}")
        if not name:
            raise UserError(f"{self.kind} {cls.__qualname__} has no name", 'give it one: name = "..."')
        own = (
            found for found in self._declared.values() if found.means(cls) and name in {found.name, found.point.name}
        )
        entry = next(own, None)
        asked = entry.name if entry else name
        known, other = self._classes.get(asked), None if entry else self._declared.get(asked)
        if known is not None and _where(known) != _where(cls):
            raise _twins(self.kind, asked, _label(known), _label(cls))
        if other is not None:
            raise _twins(self.kind, asked, f"{other.point.value} ({other.package})", _label(cls))
        cls.name = asked  # type: ignore[attr-defined]  # what its results are kept under, apart from a namesake's
        self._classes[asked] = cls
        return cls

    def knows(self, name: str) -> bool:
        """Whether there is one of that name, or several between which `get` asks to choose."""
        return name in self._classes or name in self._declared or bool(shared(self.kind, name))

    def get(self, name: str, where: str = "") -> type[T]:
        """The class called `name`; UserError with a suggestion, or with the reason why it cannot be imported.

        Args:
            where: dotted path of the name in a suite file, for the message.
        """
        if name not in self._classes:
            if name not in self._declared:
                prefix = f"{where}: " if where else ""
                if choice := " or ".join(shared(self.kind, name)):
                    raise UserError(f'{prefix}several packages have a {self.kind} "{name}"', f"say {choice}")
                raise UserError(f'{prefix}no {self.kind} is called "{name}"', did_you_mean(name, self.names()))
            if name not in self._broken:
                try:
                    self._load(name)
                except UserError as error:
                    self._broken[name] = error
            if name in self._broken:
                raise self._broken[name]
        return self._classes[name]

    def importable(self) -> tuple[list[str], dict[str, str]]:
        """All names, imported, and those that cannot be with the reason; UserError only for one of ours."""
        sound, broken = [], {}
        for name in self.names():
            try:
                self.get(name)
                sound.append(name)
            except UserError as error:
                if self._declared[name].ours:
                    raise
                broken[name] = error.problem
        return sound, broken

    def _load(self, name: str) -> None:
        entry = self._declared[name]
        origin = f"it comes from {entry.point.value}" + ("" if entry.ours else f" of package {entry.package}")
        if entry.twin:
            raise _twins(self.kind, entry.point.name, f"{entry.point.value}, {entry.twin}", f"package {entry.package}")
        failed = f'{self.kind} "{name}" cannot be imported'
        try:
            cls = entry.point.load()
        except UserError as error:
            raise UserError(f"{failed}: {error.problem}", error.remedy or origin) from error
        except (Exception, SystemExit) as error:
            raise UserError(f"{failed}: {reason(error)}", origin) from error
        called = getattr(cls, "name", None)
        if called not in {name, entry.point.name}:
            raise UserError(f'{self.kind} "{name}" calls itself "{called}"', f"{origin}; make them agree")
        self.register(cls)

    def describe(self) -> Iterator[Entry]:
        """Every plugin, read from metadata and source text: nothing is imported."""
        for name in self.names():
            entry, cls = self._declared.get(name), self._classes.get(name)
            if cls is not None:
                about = (cls.__doc__ or "").strip().split("\n")[0]
                yield Entry(name, about, entry.package if entry else _label(cls).split(":")[0])
            elif entry is not None:
                yield Entry(name, first_line(entry.point), entry.package, trouble(entry))


def _where(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _label(cls: type) -> str:
    """Where a class is defined, as its author calls it: the file for a `--plugin`, else the module."""
    file = file_of(cls.__module__)
    return f"{file.name if file else cls.__module__}:{cls.__qualname__}"


def _twins(kind: str, name: str, one: str, other: str) -> UserError:
    return UserError(f'two {kind}s are called "{name}": {one} and {other}', "rename one")


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
    """Class decorator for a part, e.g. `@register_part("time_law", "uniform")`; its `Config` holds its options.

    That of an installed package is also called PACKAGE:NAME, and only so where another part has the plain name.
    """

    def add(cls: type[T]) -> type[T]:
        package = package_of(cls.__module__)
        key = kind, f"{package}:{name}" if package else name
        known = _parts.setdefault(key, cls)
        if _where(known) != _where(cls):
            raise _twins(f"{kind} part", name, _label(known), _label(cls))
        return cls

    return add


def find_part(kind: str, name: str) -> type[Any]:
    """The part's class."""
    broken = {} if (kind, name) in _parts else methods.importable()[1]  # parts live beside methods that brought them
    if (kind, name) in _parts:
        return _parts[kind, name]
    known = [asked for other, asked in _parts if other == kind]
    choice = sorted(asked for asked in known if asked.endswith(f":{name}"))
    if len(choice) > 1:
        raise UserError(f'several packages have a {kind} "{name}"', f"say {' or '.join(choice)}")
    if not choice:
        hint = f" (not looked into, since they cannot be imported: {', '.join(broken)})" if broken else ""
        raise UserError(f'no {kind} is called "{name}"{hint}', did_you_mean(name, known))
    return _parts[kind, choice[0]]


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
        known = _features.get(name)
        if known is not None and known[1].__module__ != function.__module__:
            raise _twins("feature", name, known[1].__module__, function.__module__)
        _features[name] = (version, function)
        return function

    return add


def feature(name: str) -> tuple[int, Callable[[Any], Any]]:
    """(version, function) of a registered feature."""
    if name not in _features:
        raise UserError(f'no feature is called "{name}"', did_you_mean(name, _features))
    return _features[name]
