"""What trackers share that are run by their official code, in a process and environment of their own."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.api import Options, Tracker, UserError
from harness.cache import cache_folder
from harness.weights import Shelf, Table, folder, read_table
from metrics.workers.client import Program, Worker
from metrics.workers.environment import Environment
from metrics.workers.judge import OFFLINE, PRIVATE, threads
from metrics.workers.known import environment

if TYPE_CHECKING:
    from harness.tracking import Tracked


class OfficialOptions(Options):
    """Where an official tracker's files lie and how it is run; what can change a track belongs in a subclass."""

    weights: str | None = Field(None, description="folder of its weights [default: Mutoscope's cache]")
    unofficial_weights: bool = Field(False, description="accept files that are not the published ones")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    timeout: float = Field(3600.0, gt=0, description="seconds one clip may take")
    start_timeout: float = Field(900.0, gt=0, description="seconds loading the weights may take")


class OfficialTracker(Tracker):
    """One process from the first clip to `close`; clips, queries and tracks go through npy files.

    Its checkpoint is the row of weights.yaml that is for its name, its environment `trackers-<name>`.
    """

    Config = OfficialOptions
    runtime = frozenset({"weights", "unofficial_weights", "timeout", "start_timeout"})
    resolution: ClassVar[tuple[int, int]]
    config: OfficialOptions

    def __init__(self, config: OfficialOptions) -> None:
        super().__init__(config)
        self._worker: Worker | None = None
        self._private: Path | None = None

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """The checkpoint, and the files that pin the environment: both decide the tracks."""
        checkpoint = cls.checkpoint(config)
        where = cls.where()
        where.require()
        return (checkpoint, *where.files)

    @classmethod
    def checkpoint(cls, config: Any) -> Path:
        """Raises UserError, with the command that fetches it, if it is not there or not the published one."""
        shelf = Shelf(_table(), folder(_table().group, config.weights))
        return shelf.require(_table().select([cls.name]), [cls.name], config.unofficial_weights)[0]

    @classmethod
    def where(cls) -> Environment:
        return environment(f"{_table().group}-{cls.name}")

    def settings(self) -> dict[str, Any]:
        """What the worker is told with every clip."""
        return {}

    def follow(self, video: NDArray[np.uint8], queries: NDArray[np.float32]) -> Tracked:
        """Raises WorkerError: the official code crashed, hung or refused the clip."""
        if self._worker is None or self._private is None:
            self._private = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
            self._worker = Worker(self._program(self._private))
        files = {name: self._private / f"{name}.npy" for name in ("video", "queries", "tracks", "visible")}
        for name in ("tracks", "visible"):
            files[name].unlink(missing_ok=True)  # an earlier clip's answer is not this one's
        np.save(files["video"], video)
        np.save(files["queries"], queries)
        self._worker.ask({**{name: str(path) for name, path in files.items()}, **self.settings()})
        try:
            tracks, visible = (np.load(files[name], allow_pickle=False) for name in ("tracks", "visible"))
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{self.name}: its worker left no tracks: {error}", "report it") from error
        return tracks, visible

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def _program(self, private: Path) -> Program:
        where = self.where()
        offline = {**dict.fromkeys(OFFLINE, "1"), **{name: str(private / name.lower()) for name in PRIVATE}}
        return Program(
            name=f"{self.name} (official)",
            python=where.require(),
            script=where.file.with_name("worker.py"),
            arguments={
                "checkpoint": str(self.checkpoint(self.config).resolve()),
                "resolution": list(self.resolution),
                "device": self.config.device,
                "threads": threads(),
            },
            variables={**offline, **where.description.variables},
            paths=where.paths,
            folder=private,
            log=cache_folder() / "workers" / "logs" / f"{self.name}.log",
            threads=threads(),
            start_timeout=self.config.start_timeout,
            timeout=self.config.timeout,
        )


@cache
def _table() -> Table:
    return read_table(Path(__file__).with_name("weights.yaml"))
