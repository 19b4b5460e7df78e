"""A worker process seen from our side: requests and answers as JSON lines, every failure named and bounded."""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from harness.errors import UserError

SERVE = Path(__file__).with_name("serve.py")
LONGEST = 4 << 20  # characters of an answer
LOGGED = 8 << 20  # bytes of stderr kept in the log file; the tool goes on, only its words are dropped
TAIL = 12  # lines of stderr shown with a failure
GRACE = 5.0  # seconds between asking a process to end and killing it
_UNWANTED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

Json = dict[str, Any]


class WorkerError(UserError):
    """A worker could not be started, died, hung, or answered with an error or with nonsense."""


@dataclass(frozen=True)
class Program:
    """What to run: a worker script (see `serve`) in the environment of `python`.

    Times are in seconds. `restarts`: how often a new process is tried after failures in a row, before it is given up.
    """

    name: str
    python: Path
    script: Path
    arguments: Mapping[str, Any]
    log: Path  # gets what the tool prints
    variables: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()  # put before the environment's own on the worker's sys.path
    folder: Path | None = None  # working directory
    threads: int = 1
    start_timeout: float = 900.0  # importing an old stack from a cold disk and loading gigabytes of weights
    timeout: float = 3600.0  # one request: a long clip on a slow CPU
    restarts: int = 2


class Worker:
    """One process, started by the first request, restarted after a failure, given up after too many in a row."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.versions: dict[str, str] = {}
        self._process: _Process | None = None
        self._failures, self._last = 0, ""
        self._requests = 0

    def ask(self, request: Mapping[str, Any]) -> Json:
        """The answer to one request. Raises WorkerError; the next request then finds a new process or a closed door."""
        if self._failures > self.program.restarts:
            raise WorkerError(f"{self.program.name}: given up: {self._last}", f"its output is in {self.program.log}")
        process = self._running()
        self._requests += 1
        try:
            answer = process.exchange({"id": self._requests, **request}, self.program.timeout)
            result = _result(answer, self._requests)
        except _Broken as problem:
            self._fail(str(problem))
        self._failures = 0
        if "error" in answer:  # the process is sound, this request was not
            raise WorkerError(f"{self.program.name}: {answer['error']}", f"its output is in {self.program.log}")
        return result

    def close(self) -> None:
        """End the process and its children; never takes longer than a few seconds."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _running(self) -> _Process:
        if self._process is None:
            try:
                self._process = _Process(self.program)
                self.versions = self._process.greet(self.program)
            except (_Broken, OSError) as problem:
                self._fail(f"it did not start: {problem}")
        return self._process

    def _fail(self, problem: str) -> NoReturn:
        self._failures += 1
        said = ""
        if self._process is not None:
            said = self._process.last_words()
            self._process.end(patience=0)  # it does not deserve any
            self._process = None
        self._last = problem
        raise WorkerError(f"{self.program.name}: {problem}{said}", f"its output is in {self.program.log}")


class _Broken(Exception):  # noqa: N818
    """The process cannot be trusted any more."""


class _Process:
    """Pipes, the threads that drain them, and an end that cannot hang."""

    def __init__(self, program: Program) -> None:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key not in _UNWANTED}
        environment |= dict.fromkeys(_THREADS, str(program.threads)) | dict(program.variables)
        self.process = subprocess.Popen(
            [str(program.python), "-I", str(SERVE), str(program.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=program.folder,
            env=environment,
            start_new_session=True,  # its children end with it, and Ctrl-C reaches us first
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._tail: deque[str] = deque(maxlen=TAIL)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._keep, args=(self.process.stderr, program.log), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def greet(self, program: Program) -> dict[str, str]:
        first = {"arguments": dict(program.arguments), "paths": list(map(str, program.paths))}
        hello = self.exchange(first, program.start_timeout)
        if "error" in hello:
            raise _Broken(str(hello["error"]))
        if not isinstance(hello.get("hello"), dict):
            raise _Broken(f"its first line is not a greeting: {_short(hello)}")
        return {str(key): str(value) for key, value in hello["hello"].items()}

    def exchange(self, message: Json, timeout: float) -> Json:
        """Send one line, read one line."""
        line = json.dumps(message, allow_nan=False) + "\n"
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError:
            raise _Broken(self._death()) from None
        try:
            answer = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise _Broken(f"no answer within {timeout:g} s") from None
        if answer is None:
            raise _Broken(self._death())
        return _parse(answer)

    def last_words(self) -> str:
        """The end of what it printed, on lines of its own; empty if it printed nothing."""
        with suppress(subprocess.TimeoutExpired):
            if self.process.poll() is not None:
                self._threads[1].join(GRACE)
        return "".join(f"\n  | {line}" for line in self._tail)

    def end(self, patience: float = GRACE) -> None:
        """Close its input (it then ends by itself), then terminate, then kill: the whole process group."""
        process = self.process
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        if process.poll() is None and patience:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        self._signal(signal.SIGKILL)  # its children too
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)  # one stuck in the kernel is left to it
        for thread, pipe in zip(self._threads, (process.stdout, process.stderr), strict=True):
            thread.join(GRACE)
            if pipe is not None and not thread.is_alive():
                pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _death(self) -> str:
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if code < 0:
            return f"the process was killed by {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}"

    def _read(self, pipe: IO[bytes]) -> None:
        while line := pipe.readline(LONGEST):
            self._lines.put(line)
        self._lines.put(None)

    def _keep(self, pipe: IO[bytes], log: Path) -> None:
        with open(log, "ab") as file:
            if file.tell() > LOGGED:
                file.truncate(0)
            while line := pipe.readline(LONGEST):
                if file.tell() < LOGGED:
                    file.write(line[:LOGGED])
                    file.flush()
                if text := line.decode("utf-8", "replace").strip().rsplit("\r", 1)[-1]:  # progress bars
                    self._tail.append(text[-300:])


def _parse(line: bytes) -> Json:
    """A JSON object with finite numbers only."""

    def number(word: str) -> float:
        if not math.isfinite(value := float(word)):
            raise _Broken(f"it answered {word} for a number")
        return value

    try:
        message = json.loads(line, parse_constant=number, parse_float=number)
    except ValueError:
        raise _Broken(f"it answered nonsense: {_short(line.decode('utf-8', 'replace'))}") from None
    if not isinstance(message, dict):
        raise _Broken(f"it answered nonsense: {_short(message)}")
    return message


def _result(answer: Json, number: int) -> Json:
    if answer.get("id") != number:
        raise _Broken(f"it answered request {answer.get('id')!r} instead of {number}")
    result = answer.get("ok", {})
    if ("error" in answer) == ("ok" in answer) or not isinstance(result, dict):
        raise _Broken(f"it answered nonsense: {_short(answer)}")
    return result


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text.strip()[:80])
