"""`--plugin path/to/file.py`: plugins outside any package; what a plugin that cannot be imported is told."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from hashlib import sha256
from pathlib import Path

from harness.entries import module_of
from harness.errors import UserError

OUR_PACKAGES = frozenset({"harness", "methods", "metrics", "leaderboards"})
_PREFIX = "mutoscope_plugin_"


def load_plugin(target: str) -> None:
    """`--plugin path/to/file.py` or `--plugin package.module`: importing it runs its register_* decorators, once.

    A file that an installed package declares as a plugin, in place, is imported as that package's module.
    """
    try:
        if target.endswith(".py"):
            _load_file(target)
        else:
            importlib.import_module(target)
    except UserError as error:
        problem = error.problem.removeprefix(f"--plugin {target}: ")
        raise UserError(f"--plugin {target}: {problem}", error.remedy) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"--plugin {target} cannot be imported: {reason(error)}") from error


def _load_file(target: str) -> None:
    path = Path(target).resolve()
    if not path.is_file():
        raise UserError(f"--plugin {target}: no such file", "give the path of a Python file or a module name")
    if installed := module_of(path):
        importlib.import_module(installed)
        return
    name = (
        f"{_PREFIX}{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"  # files of one name in two folders differ
    )
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half a plugin must not pass for a loaded one
        raise


def file_of(module: str) -> Path | None:
    """The file of a module that `--plugin` loaded; None for any other."""
    loaded = sys.modules.get(module) if module.startswith(_PREFIX) else None
    return Path(str(loaded.__file__)) if loaded else None


def source_digest(cls: type) -> str:
    """sha256 of the files in which a class and what it derives from are written, ours left out; "" if all are ours."""
    modules = {base.__module__ for base in cls.__mro__}
    known = OUR_PACKAGES | sys.stdlib_module_names
    files = {getattr(sys.modules.get(name), "__file__", None) for name in modules if name.split(".")[0] not in known}
    texts = [Path(file).read_bytes() for file in sorted(filter(None, files))]
    return sha256(b"".join(texts)).hexdigest() if texts else ""


def reason(error: BaseException) -> str:
    """`TypeError: text (file.py, line 3)`: what was raised, and where in the plugin."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):  # names file and line itself
        return text
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and file.parent != Path(__file__).parent and "importlib" not in file.parts:
            return f"{text} ({file.name}, line {frame.lineno})"
    return text
