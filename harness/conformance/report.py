"""What a conformance run found, as data: one `Check` a question, in the order they were asked."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from harness.errors import UserError
from harness.samples import Options

Verdict = Literal["passed", "failed", "not applicable"]
S = TypeVar("S")


ONE_FRAME = "clips of one frame"


class Fault(Exception):  # noqa: N818
    """The plugin breaks a promise; the message says which, and what keeps it."""


class NotApplicable(Exception):  # noqa: N818
    """The question has no meaning for this plugin, or cannot be asked on this machine; the message says why."""


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    verdict: Verdict
    message: str
    seconds: float


@dataclass(frozen=True)
class Question(Generic[S]):
    """`ask(subject)` returns what it measured, or raises Fault or NotApplicable.

    `after`: questions whose failure would make this one's answer worthless; it is then not asked.
    """

    name: str
    ask: Callable[[S], str]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All answers about one plugin."""

    kind: str
    name: str
    checks: tuple[Check, ...]
    seconds: float

    def of(self, verdict: Verdict) -> list[Check]:
        return [check for check in self.checks if check.verdict == verdict]

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return not self.of("failed")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "passed": self.passed}

    def demand(self) -> Report:
        """Itself; AssertionError listing what failed, a line each, if anything did."""
        if self.passed:
            return self
        lines = [f"  {check.name}: {check.message}" for check in self.of("failed")]
        raise AssertionError("\n".join([f'{self.kind} "{self.name}" fails {len(lines)} of its checks:', *lines]))


def demand(true: object, problem: str) -> None:
    """Fault unless `true`."""
    if not true:
        raise Fault(problem)


def works_or_refuses(attempt: Callable[[], object], what: str) -> str:
    """What became of `attempt`: "works with ...", or the words of a UserError; any other exception is a Fault."""
    try:
        attempt()
    except UserError as error:
        return f"refuses {what}: {error.problem}"
    except Fault as fault:
        raise Fault(f"with {what} {fault}") from None
    except Exception as error:
        raise Fault(f"crashes on {what}: {told(error)}; make it work, or raise UserError(problem, remedy)") from error
    return f"works with {what}"


def described(kind: Any, base: type) -> None:
    """What every plugin class must have."""
    demand(isinstance(kind, type) and issubclass(kind, base), f"{kind!r} does not derive from {base.__name__}")
    demand(issubclass(kind.Config, Options), "its Config does not derive from harness.api.Options")
    demand(bool((kind.__dict__.get("__doc__") or "").strip()), "it has no docstring; list and describe show it")
    version = getattr(kind, "version", 1)
    demand(type(version) is int and version >= 1, f"version is {version!r}; it counts from 1")
    demand(not inspect.isabstract(kind), f"it leaves out {', '.join(sorted(getattr(kind, '__abstractmethods__', ())))}")


def examine(kind: str, name: str, subject: S, questions: Sequence[Question[S]]) -> Report:
    """Ask every question in turn. Whatever the plugin raises, UserError too, is a failed check with the place."""
    started, checks, causes = time.monotonic(), dict[str, Check](), dict[str, str]()
    for question in questions:
        begun = time.monotonic()
        cause = next((causes[name] for name in question.after if name in causes), "")
        verdict, message = _ask(question, subject) if not cause else _not_tried(cause)
        if cause or verdict == "failed":
            causes[question.name] = cause or question.name
        checks[question.name] = Check(question.name, verdict, message, time.monotonic() - begun)
    return Report(kind, name, tuple(checks.values()), time.monotonic() - started)


def _not_tried(cause: str) -> tuple[Verdict, str]:
    return "not applicable", f"not tried: {cause} failed"


def _ask(question: Question[S], subject: S) -> tuple[Verdict, str]:
    try:
        return "passed", question.ask(subject)
    except NotApplicable as reason:
        return "not applicable", str(reason)
    except Fault as fault:
        return "failed", str(fault)
    except Exception as error:
        return "failed", told(error)


def told(error: BaseException) -> str:
    """An exception in one line, with the last place outside this package where it passed."""
    text = error.problem if isinstance(error, UserError) else " ".join(str(error).split())
    own = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text[:400]}{place}"
