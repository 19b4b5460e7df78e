"""Where cells run: this process or worker processes. A Ray executor would be a third class with the same `run`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from harness.errors import UserError
from harness.plan import Cell, Plan

Tell = Callable[[int, str, int, int], None]  # cell number, stage, units done, units wanted


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `problems` is empty when it is complete (or as complete as a limit allows)."""

    cell: Cell
    problems: tuple[str, ...] = ()
    trace: str = ""


class Executor(Protocol):
    """Runs every cell of a plan; a cell that fails never takes another with it."""

    def run(self, plan: Plan, device: str, tell: Tell) -> list[Outcome]: ...


def _attempt(plan: Plan, cell: Cell, device: str, report: Callable[[str, int, int], None]) -> Outcome:
    from harness.run import run_cell

    try:
        return Outcome(cell, tuple(run_cell(plan, cell, device, report)))
    except UserError as error:
        return Outcome(cell, (" ".join(str(error).split("\n")),))
    except Exception as error:
        return Outcome(cell, (f"{type(error).__name__}: {error}",), traceback.format_exc())


class InProcess:
    """One cell after the other, here."""

    def run(self, plan: Plan, device: str, tell: Tell) -> list[Outcome]:
        outcomes = []
        for number, cell in enumerate(plan.cells):
            report = _Numbered(tell, number)
            outcomes.append(_attempt(plan, cell, device, report))
        return outcomes


@dataclass(frozen=True)
class _Numbered:
    tell: Tell
    number: int

    def __call__(self, stage: str, done: int, of: int) -> None:
        self.tell(self.number, stage, done, of)


class Processes:
    """`count` worker processes, each taking the next cell. One that dies costs its cell, which a re-run resumes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.context = multiprocessing.get_context("spawn")

    def run(self, plan: Plan, device: str, tell: Tell) -> list[Outcome]:
        todo = list(range(len(plan.cells)))[::-1]
        outcomes: dict[int, Outcome] = {}
        busy: dict[Connection, tuple[SpawnProcess, int]] = {}
        with _environment(OMP_NUM_THREADS=str(plan.suite.threads)):
            try:
                for _ in range(min(self.count, len(todo))):
                    self._give(self._start(plan, device), todo.pop(), busy)
                while busy:
                    for pipe in wait(list(busy)):
                        assert isinstance(pipe, Connection)
                        number = busy[pipe][1]
                        message = self._hear(pipe, busy)
                        if not isinstance(message, str | Outcome):
                            tell(number, *message)
                            continue
                        lost = isinstance(message, str)
                        outcomes[number] = (
                            Outcome(plan.cells[number], (message,)) if isinstance(message, str) else message
                        )
                        process, _ = busy.pop(pipe)
                        if todo:
                            worker = self._start(plan, device) if lost else (process, pipe)
                            self._give(worker, todo.pop(), busy)
                        elif not lost:
                            pipe.send(None)
                            process.join()
            finally:
                for process, _ in busy.values():  # only after an interrupt or an error of our own
                    process.kill()
                    process.join()
        return [outcomes[number] for number in sorted(outcomes)]

    def _hear(self, pipe: Connection, busy: Mapping[Connection, tuple[SpawnProcess, int]]) -> Any:
        """A worker's next message: an event, an Outcome, or, if it died, why (str)."""
        try:
            return pipe.recv()
        except (EOFError, ConnectionResetError):
            process = busy[pipe][0]
            process.join()
            return _epitaph(process)

    def _start(self, plan: Plan, device: str) -> tuple[SpawnProcess, Connection]:
        here, there = self.context.Pipe()
        process = self.context.Process(target=_work, args=(there, plan, device), daemon=True)
        process.start()
        there.close()
        return process, here

    def _give(self, worker: tuple[SpawnProcess, Any], number: int, busy: dict[Any, tuple[SpawnProcess, int]]) -> None:
        process, pipe = worker
        pipe.send(number)
        busy[pipe] = process, number


def _work(pipe: Connection, plan: Plan, device: str) -> None:
    """A worker's life: cells until told to stop, or until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        while (number := pipe.recv()) is not None:
            pipe.send(_attempt(plan, plan.cells[number], device, lambda *event: _send(pipe, event)))
    except (EOFError, OSError):
        os._exit(1)


def _send(pipe: Connection, event: tuple[str, int, int]) -> None:
    """Report progress; nobody left to report to ends the worker, in silence."""
    try:
        pipe.send(event)
    except OSError:
        os._exit(1)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # an orphan must not keep writing beside the next run


def _epitaph(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"its worker process {how}{hint}; run the same command again to resume"


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables that a spawned interpreter must see before it imports anything."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def choose(workers: int | None, plan: Plan, pending: Sequence[Cell]) -> Executor:
    """Worker processes by `--workers`; by default as many as cores and unfinished cells allow. One runs in-process."""
    if workers is None:
        workers = max(1, (os.cpu_count() or 1) // plan.suite.threads)
    count = min(workers, max(1, len(pending)))
    return InProcess() if count == 1 else Processes(count)
