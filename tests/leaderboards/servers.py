"""Tracking servers for tests: `mlflow server` on SQLite, and on a PostgreSQL cluster of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 400.0  # seconds; a busy machine takes its time to import mlflow and make the tables
NOBODY = 65534


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them off the PATH."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((path for path in found if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


@contextmanager
def postgres() -> Iterator[str]:
    """A new cluster that listens on a socket in its own folder; its address. PostgreSQL does not run as root."""
    programs = postgres_folder()
    assert programs, "no PostgreSQL here"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    unprivileged: list[str] = []
    if os.geteuid() == 0:
        unprivileged = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        os.chown(folder, NOBODY, NOBODY)

    def run(program: str, *words: str) -> None:
        command = [*unprivileged, str(programs / program), "-D", str(folder / "data"), *words]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, f"{program}: {done.stderr}"

    run("initdb", "--username=mutoscope", "--auth=trust", "--encoding=UTF8", "--no-sync")
    settings = f"-k {folder} -c listen_addresses= -c fsync=off"
    run("pg_ctl", "start", "-w", "-t", str(int(PATIENCE)), "-o", settings, "-l", str(folder / "log"))
    try:
        yield f"postgresql+psycopg2://mutoscope@/postgres?host={folder}"
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate")
        shutil.rmtree(folder)


class Server:
    """`mlflow server` on a store. `with Server(store, folder) as server: server.address`; `kill()` as a crash would."""

    def __init__(self, store: str, folder: Path, port: int = 0) -> None:
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        command = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "2",
            "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._log = open(folder / "server.log", "ab")  # noqa: SIM115  # closed by kill
        self._process = subprocess.Popen(
            command, env=os.environ | quiet, cwd=folder, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self._told = folder / "server.log"

    def __enter__(self) -> Server:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self._process.poll() is None, self._told.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                    return self
            except OSError:
                time.sleep(0.2)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self._told.read_text()[-3000:]}")

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """It and its workers."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
