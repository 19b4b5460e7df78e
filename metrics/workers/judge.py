"""The base of metrics whose answer an official tool gives, out of process and a clip at a time.

    class Quality(Judge):
        '''Visual quality as the official tool says it.'''

        name, range = "tool/quality", (0.0, 1.0)
        tool = "tool"  # metrics/tool/official_env/{environment.yaml,worker.py} and metrics/tool/weights.yaml
        purposes = ("quality",)  # rows of weights.yaml it needs; () for all

        def request(self, clip: Clip) -> dict[str, Any]:  # beside the clip's "path"
            return {"prompt": prompt_of(clip)}

        def read(self, answer: Mapping[str, Any]) -> Score:  # of the worker's answer to it
            return Score((answer["quality"] - 1) / 4, {"raw": answer["quality"]}, note=answer["said"])

The worker's `start(arguments)` gets {"weights": folder, "device", "threads", **self.settings()}; it runs the official
code and answers with what that said, unchanged. Parsing and normalisation belong in `read`, which sees nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.api import Clip, Features, Metric, Options, Score, UserError
from harness.cache import cache_folder
from harness.features import sha256_file
from harness.weights import Entry, Shelf, Table, folder, read_table
from metrics.workers.answers import Answers
from metrics.workers.client import Program, Worker, WorkerError
from metrics.workers.environment import Environment
from metrics.workers.known import environment

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "NO_ALBUMENTATIONS_UPDATE")
PRIVATE = ("HF_HOME", "TORCH_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR")


class JudgeOptions(Options):
    """Where an official tool's files lie and how it is run; what can change an answer belongs in a subclass."""

    weights: str | None = Field(None, description="folder of the tool's weights [default: Mutoscope's cache]")
    unofficial_weights: bool = Field(False, description="accept files that are not the published ones")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    timeout: float = Field(3600.0, gt=0, description="seconds one clip may take")
    start_timeout: float = Field(1800.0, gt=0, description="seconds loading the weights may take")


class Judge(Metric):
    """A clip-level metric read from a worker's answer; see the module for an example.

    Metrics of one tool with the same settings share its process. Answers are remembered by all that decides them: the
    environment, the worker's script, the weights, the settings, the clip's bytes and the request; so metrics that read
    one answer cost one pass, and nothing stale comes back. What cannot be read is a failure, never a score.
    """

    Config = JudgeOptions
    runtime = frozenset({"weights", "unofficial_weights", "timeout", "start_timeout"})
    tool: ClassVar[str]  # the environment's name, see `mutoscope workers`
    purposes: ClassVar[tuple[str, ...]] = ()  # of the weights
    layer: ClassVar[str] = ""  # an extra of the environment
    config: JudgeOptions

    def __init__(self, config: JudgeOptions) -> None:
        super().__init__(config)
        self._answers: Answers | None = None
        self._process: _Shared | None = None

    @abstractmethod
    def request(self, clip: Clip) -> dict[str, Any]:
        """What the worker is told beside the clip's path; plain JSON, and nothing that names the clip."""

    @abstractmethod
    def read(self, answer: Mapping[str, Any]) -> Score:
        """The score in an answer: pure. Raises WorkerError, KeyError, TypeError or ValueError if there is none."""

    def settings(self) -> dict[str, Any]:
        """Arguments of the worker that can change its answers; metrics with equal ones share a process."""
        return {}

    @classmethod
    def where(cls) -> Environment:
        """The tool's environment."""
        return environment(cls.tool)

    @classmethod
    def table(cls) -> Table:
        """The weight files of the tool's family."""
        return _table(cls.where().file.parents[1] / "weights.yaml")

    @classmethod
    def entries(cls, config: Any) -> Sequence[Entry]:
        """The weight files this configuration needs."""
        return cls.table().select(cls.purposes)

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """The weight files and those that pin the environment: both decide the answers."""
        where, table = cls.where(), cls.table()
        shelf = Shelf(table, folder(table.group, config.weights))
        paths = shelf.require(cls.entries(config), cls.purposes, config.unofficial_weights)
        where.require(cls.layer)
        return (*paths, *where.files)

    @property
    def alone(self) -> bool:
        return True

    @classmethod
    def warning(cls, config: Any) -> str:
        return "weights may be others than the published ones" if config.unofficial_weights else ""

    def score(self, clip: Clip, features: Features) -> Score:
        """Raises WorkerError: the tool crashed, hung, refused the clip, or said what cannot be read."""
        return self._judge(clip.sha256, {"path": str(clip.path.resolve())}, self.request(clip))

    def score_together(self, clips: Sequence[Clip], request: Mapping[str, Any]) -> Score:
        """One score of several clips, which the worker finds as `paths`; raises as `score` does."""
        key = hashlib.sha256(" ".join(clip.sha256 for clip in clips).encode()).hexdigest()
        return self._judge(key, {"paths": [str(clip.path.resolve()) for clip in clips]}, request)

    def _judge(self, sha256: str, files: Mapping[str, Any], request: Mapping[str, Any]) -> Score:
        if self._answers is None:
            self._answers = Answers(self.tool, self._identity())
        known = self._answers.recall(sha256, request)
        answer = known if known is not None else self._ask({**files, **request})
        try:
            score = self.read(answer)
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            said = json.dumps(answer, ensure_ascii=False)[:300]
            raise WorkerError(f"{self.tool}: cannot read its answer ({problem!r}): {said}", "report it") from problem
        if known is None:
            self._answers.keep(sha256, request, answer)
        return score

    def close(self) -> None:
        if self._process is not None:
            self._process.leave(self)
            self._process = None

    def variables(self, private: Path) -> dict[str, str]:
        """Environment variables of the process; `private` is its working directory, removed when it ends."""
        return {**dict.fromkeys(OFFLINE, "1"), **{name: str(private / name.lower()) for name in PRIVATE}}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = _Shared.of(self)
        return self._process.worker.ask(request)

    def _identity(self) -> dict[str, Any]:
        """All that decides an answer besides the clip and the request."""
        digests = sorted(sha256_file(path) for path in self.weights(self.config))
        ready_made = os.environ.get(self.where().override, "")
        return {"files": digests, "environment": ready_made, "settings": self.settings()}

    def _arguments(self) -> dict[str, Any]:
        weights = folder(self.table().group, self.config.weights).resolve()
        ours = {"weights": str(weights), "device": self.config.device, "threads": threads()}
        return {**ours, **self.settings()}


class _Shared:
    """A process with a private folder that lives as long as one of the metrics that use it."""

    running: ClassVar[dict[str, _Shared]] = {}

    @classmethod
    def of(cls, judge: Judge) -> _Shared:
        """The process of this tool with these arguments, started if it is not there."""
        timeouts = (judge.config.start_timeout, judge.config.timeout)
        key = json.dumps([judge.tool, judge.layer, judge._arguments(), timeouts], sort_keys=True)
        if key not in cls.running:
            cls.running[key] = cls(key, judge)
        cls.running[key].users.append(judge)
        return cls.running[key]

    def __init__(self, key: str, judge: Judge) -> None:
        where = judge.where()
        python = where.require(judge.layer)
        self.key, self.users = key, list[Judge]()
        self.private = Path(tempfile.mkdtemp(prefix=f"{judge.tool}-"))
        name = hashlib.sha256(key.encode()).hexdigest()[:8]
        program = Program(
            name=f"{judge.tool} (official)",
            python=python,
            script=where.file.parent / "worker.py",
            arguments=judge._arguments(),
            variables={**judge.variables(self.private), **where.description.variables},
            paths=where.paths,
            folder=self.private,
            log=cache_folder() / "workers" / "logs" / f"{judge.tool}-{name}.log",
            threads=threads(),
            start_timeout=judge.config.start_timeout,
            timeout=judge.config.timeout,
        )
        self.worker = Worker(program)

    def leave(self, judge: Judge) -> None:
        self.users.remove(judge)
        if not self.users:
            self.running.pop(self.key, None)
            self.worker.close()
            shutil.rmtree(self.private, ignore_errors=True)


def threads() -> int:
    """As many as this process's own networks use."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else len(os.sched_getaffinity(0))


@cache
def _table(path: Path) -> Table:
    return read_table(path)


def prompt_of(clip: Clip) -> str:
    """The clip's prompt. Raises UserError if it has none."""
    if not clip.prompt:
        raise UserError(f"{clip.id}: no prompt", "this judge compares a clip with its prompt: give prompts.jsonl")
    return clip.prompt
