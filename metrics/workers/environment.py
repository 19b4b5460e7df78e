"""Environments for official tools: described by an `environment.yaml`, built once with uv, found by their digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from harness.cache import cache_folder
from harness.errors import UserError, did_you_mean
from metrics.workers.description import content, read
from metrics.workers.sources import export

ERROR = re.compile(r"(error|fatal): |\s*×")  # how git's and uv's begin
ORNAMENTS = str.maketrans(dict.fromkeys("×├╰─▶│", " "))
LONGEST = 400  # characters of a tool's words in an error
Say = Callable[[str], None]


class Environment:
    """One tool's environment. Another Python version or other requirements are another folder."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, file
        self.description = read(file)
        self.root = cache_folder() / "workers"
        self.folder = self.root / f"{name}@{self._digest()[:8]}"
        self.log = self.folder.with_name(f"{self.folder.name}.log")
        self.override = f"MUTOSCOPE_WORKER_{name.upper().replace('-', '_')}"

    @property
    def python(self) -> Path:
        """The interpreter: that of a ready-made environment if `$MUTOSCOPE_WORKER_<NAME>` names one, else our own."""
        if own := os.environ.get(self.override):
            return Path(own)
        return self.folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Folders of the sources that the worker imports from."""
        sources = self.description.sources.items()
        return tuple(path for name, source in sources for path in source.folders(self.source(name)))

    def source(self, name: str) -> Path:
        """Where the repository called `name` in `sources` lies."""
        return self.folder / "sources" / name

    @property
    def files(self) -> tuple[Path, ...]:
        """What pins the tool: the description, all requirements, and the worker's script."""
        extras = (extra.requirements for extra in self.description.extras.values())
        names = (self.description.requirements, *extras, "worker.py")
        return self.file, *(self.file.parent / name for name in names)

    def status(self, extra: str = "") -> Literal["ready", "missing", "broken"]:
        """Of the base or an extra. Broken: half-built, or its Python is gone. Sources are ours in a ready-made one."""
        if os.environ.get(self.override):
            if not os.access(self.python, os.X_OK):
                return "broken"
            return "ready" if self._sources_marker().is_file() or not self.description.sources else "missing"
        if not self.folder.exists():
            return "missing"
        if not (self._marker("").is_file() and os.access(self.python, os.X_OK)):
            return "broken"
        return "ready" if self._marker(extra).is_file() else "missing"

    def require(self, extra: str = "") -> Path:
        """The interpreter. Raises UserError, with the command that builds it, unless base and extra are ready."""
        for layer in dict.fromkeys(("", extra)):
            if (status := self.status(layer)) != "ready":
                what = f"the {self.name} environment" + (f"'s {layer} packages" if layer else "")
                whose = f" ({self.override}={self.python})" if os.environ.get(self.override) else ""
                raise UserError(
                    f"{what}: {status}{whose}",
                    "build it with `mutoscope workers build "
                    + " ".join([self.name, *([layer] if layer else [])])
                    + "`",
                )
        return self.python

    def build(self, extras: Sequence[str] = (), say: Say = print) -> None:
        """Build what is not there yet; a second builder waits for the first.

        Raises:
            UserError: uv, git or space is missing, or a step failed; with what it said.
        """
        for extra in extras:
            if extra not in self.description.extras:
                raise UserError(f'{self.name} has no extra "{extra}"', did_you_mean(extra, self.description.extras))
        try:
            uv = find_uv()
            with self._alone(say):
                if self.status() != "ready":
                    self._check_space()
                    shutil.rmtree(self.folder, ignore_errors=True)
                    self.log.unlink(missing_ok=True)
                    self._build_base(uv, say)
                if not os.environ.get(self.override):
                    self._build_extras(uv, extras, say)
        except OSError as error:
            space = "free some space, or set MUTOSCOPE_CACHE to a folder that can be written"
            raise UserError(
                f"building {self.name} failed: {error.filename or self.root}: {error.strerror}",
                "install git" if error.filename == "git" else space,
            ) from error

    def remove(self) -> int:
        """Delete every environment of this name, also of earlier requirements; how many there were."""
        folders = [path for path in self.root.glob(f"{self.name}@*") if path.is_dir()]
        with self._alone(lambda _: None):
            for folder in folders:
                shutil.rmtree(folder)
                folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
        return len(folders)

    # ---- building ------------------------------------------------------------------------------------------------

    def _build_base(self, uv: Sequence[str], say: Say) -> None:
        self.folder.mkdir(parents=True)
        for name, source in self.description.sources.items():
            export(source, self.source(name), lambda words: self._run(words, say))
        self._sources_marker().write_text(json.dumps({name: s.commit for name, s in self.description.sources.items()}))
        if os.environ.get(self.override):
            return
        self._run([*uv, "venv", "--no-project", "--python", self.description.python, str(self.folder / "env")], say)
        self._layer(uv, "", self.description.requirements, self.description.smoke, (), say)

    def _build_extras(self, uv: Sequence[str], extras: Sequence[str], say: Say) -> None:
        for extra in extras:
            if self.status(extra) != "ready":
                layer = self.description.extras[extra]
                flags = ("--reinstall", *layer.flags)  # an interrupted installation looks complete to uv
                self._layer(uv, extra, layer.requirements, layer.smoke, flags, say)

    def _layer(self, uv: Sequence[str], layer: str, pins: str, smoke: str, flags: Sequence[str], say: Say) -> None:
        """Install, try, and only then mark as ready."""
        install = [*uv, "pip", "install", "--python", str(self.python), "-r", str(self.file.parent / pins), *flags]
        bounds = {"--overrides": self.description.overrides, "--build-constraints": self.description.build}
        for flag, lines in bounds.items():
            if lines:
                file = self.folder / f"{flag.strip('-')}.txt"
                file.write_text("\n".join(lines) + "\n")
                install += [flag, str(file)]
        self._run(install, say)
        search = f"import sys; sys.path[:0] = {list(map(str, self.paths))}\n" if self.paths else ""
        self._run([str(self.python), "-I", "-c", search + smoke], say)
        marker = self._marker(layer)
        marker.with_suffix(".tmp").write_text(json.dumps({"smoke": smoke}) + "\n")
        os.replace(marker.with_suffix(".tmp"), marker)

    def _run(self, words: Sequence[str], say: Say) -> None:
        """Run with all output in the log, line by line through `say` as well."""
        say("$ " + " ".join(words))
        variables = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
        variables |= self.description.variables
        said: list[str] = []
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("$ " + " ".join(words) + "\n")
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=variables,
                cwd=self.folder,
            )
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    said.append(line)
                    say(line.rstrip())
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if code:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            words = ": ".join(filter(None, (f"building {self.name} {how}", last_words(said))))
            raise UserError(words, f"the whole log: {self.log}")

    @contextmanager
    def _alone(self, say: Say) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / f"{self.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another build of {self.name}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.root).free / 1e9
        if free < self.description.gigabytes:
            raise UserError(
                f"{self.root}: {free:.1f} GB free, the {self.name} environment needs {self.description.gigabytes:g}",
                "free some space, or set MUTOSCOPE_CACHE to a folder on a larger disk",
            )

    def _marker(self, layer: str) -> Path:
        """Of the base, or of an extra with exactly these requirements."""
        if not layer:
            return self.folder / "ready.json"
        extra = self.description.extras[layer]
        requirements = (
            extra.smoke.encode() if extra.requirements is None else content(self.file.parent / extra.requirements)
        )
        return self.folder / f"ready-{layer}-{hashlib.sha256(requirements).hexdigest()[:8]}.json"

    def _sources_marker(self) -> Path:
        return self.folder / "sources.json"

    def _digest(self) -> str:
        """Of what the base is made of. Extras only add to it, so that one more does not mean building anew."""
        requirements = content(self.file.parent / self.description.requirements)
        identity = [self.description.python, *self.description.overrides, *self.description.build]
        identity += [f"{name} {source.model_dump_json()}" for name, source in sorted(self.description.sources.items())]
        return hashlib.sha256(json.dumps(identity).encode() + requirements).hexdigest()


def last_words(said: Sequence[str]) -> str:
    """What a step that failed has printed, in one line: all from its first error on, of a traceback the last line."""
    lines = [line.rstrip() for line in said if line.strip()]
    starts = [number for number, line in enumerate(lines) if ERROR.match(line)]
    traceback = any(line.startswith("Traceback (most") for line in lines)
    first = starts[0] if starts and not traceback else -1
    words = re.sub(r":? cause:", ":", " ".join(" ".join(lines[first:]).translate(ORNAMENTS).split()))
    return words if len(words) <= LONGEST else f"{words[: LONGEST * 3 // 4]} ... {words[-LONGEST // 4 :]}"


def find_uv() -> list[str]:
    """The command words of uv. Raises UserError where there is none."""
    if found := shutil.which("uv"):
        return [found]
    if not subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True).returncode:
        return [sys.executable, "-m", "uv"]
    raise UserError("uv, which builds environments for official tools, is not installed", "pip install uv")
